//! The bulkhead command line.

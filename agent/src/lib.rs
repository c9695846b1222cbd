//! The node agent: applies node graphs to the kernel and reads them back.

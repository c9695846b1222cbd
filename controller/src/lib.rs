//! The controller: intent in, node graphs out, status back.

//! Node-graph types by content id, digest and delta. Pure.

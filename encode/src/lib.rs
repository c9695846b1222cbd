//! Node graph to table words: numbers, capacity arithmetic, in-memory tables. Pure.

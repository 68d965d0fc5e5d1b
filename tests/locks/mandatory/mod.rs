//! Mandatory locks (semantics 5).

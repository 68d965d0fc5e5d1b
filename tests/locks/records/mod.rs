//! Record locks and flock(2) (semantics 4).

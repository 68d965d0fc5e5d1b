//! Record locks and flock(2) (semantics 4).

mod crew;
mod fuzz;
mod model;
mod rules;

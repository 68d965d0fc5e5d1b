//! Record locks and flock(2) (semantics 4).

mod close;
mod close_race;
mod crew;
mod deadlock;
mod fuzz;
mod model;
mod rules;
mod signals;
mod way;

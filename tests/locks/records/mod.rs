//! Record locks and flock(2) (semantics 4).

mod answers;
mod close;
mod close_race;
mod crew;
mod deadlock;
mod files;
mod fuzz;
mod limits;
mod model;
mod order;
mod programs;
mod rules;
mod signals;
mod way;

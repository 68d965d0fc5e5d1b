//! Record locks against naive models, and under many threads (semantics 4 and 5).

mod bytes;
mod circles;
mod exhaustive;
mod files;
mod model;
mod random;
mod scale;
mod threads;
mod waits;

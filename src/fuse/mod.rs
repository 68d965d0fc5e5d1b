//! The conversation with the kernel: wire structs, decode, encode, session and worker loop, interrupts, notifications.
//! Decides nothing about meaning: a request becomes a call of `ops`, its result a reply.

mod arguments;
mod background;
pub mod decode;
mod device;
mod dispatch;
mod encode;
pub mod features;
mod hung;
mod names;
mod near;
mod pages;
mod parked;
mod reply;
pub mod session;
pub mod statistics;
mod telling;
mod top;
mod waiting;
mod watch;
pub mod wire;
mod worker;

pub use parked::{GiveUp, MAX_PARKED, MAX_PARKED_OF_ONE, Parked, Parking};
pub use reply::{Delivery, Reply};
pub use session::{
    Agreement, Connection, Negotiator, Server, Wishes, Workers, connect, filesystem_handler, serve, serve_with,
};
pub use statistics::Statistics;
pub use top::NAME as ROOT_NAME;
pub use worker::Handler;

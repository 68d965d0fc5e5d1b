//! The duty to answer one request. Whoever holds it answers once; forgotten, it answers EIO by itself.

use std::io;
use std::sync::Arc;

use log::{debug, error};
use zerocopy::{Immutable, IntoBytes};

use super::device::Device;
use super::parked::{GiveUp, Origin, Parked, Parking};
use crate::types::{Errno, Unique};

/// Whether the kernel took an answer. Not where the caller is gone: then what the answer handed over (a reference, an open
/// file) must be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// The kernel has it.
    Taken,
    /// The kernel does not want it any more.
    Refused,
}

/// The duty to answer one request now.
#[derive(Debug)]
pub struct Reply<'a> {
    device: &'a Arc<Device>,
    parking: &'a Arc<Parking>,
    origin: Origin,
    answered: bool,
}

impl<'a> Reply<'a> {
    pub(super) fn new(device: &'a Arc<Device>, parking: &'a Arc<Parking>, origin: Origin) -> Reply<'a> {
        Reply {
            device,
            parking,
            origin,
            answered: false,
        }
    }

    /// Answers with an errno.
    pub fn error(self, errno: Errno) {
        let _nothing_handed_over = self.send(Err(errno));
    }

    /// Answers with nothing but success.
    pub fn done(self) {
        let _nothing_handed_over = self.send(Ok(&[]));
    }

    /// Answers with a struct.
    pub fn value<T: IntoBytes + Immutable>(self, value: &T) -> Delivery {
        self.send(Ok(&[value.as_bytes()]))
    }

    /// Answers with two structs.
    pub fn values<T: IntoBytes + Immutable, U: IntoBytes + Immutable>(self, first: &T, second: &U) -> Delivery {
        self.send(Ok(&[first.as_bytes(), second.as_bytes()]))
    }

    /// Answers with bytes.
    pub fn bytes(self, bytes: &[u8]) -> Delivery {
        self.send(Ok(&[bytes]))
    }

    fn send(mut self, result: Result<&[&[u8]], Errno>) -> Delivery {
        self.answered = true;
        deliver(self.device, self.origin.unique, result)
    }

    /// Leaves the request unanswered for now: whoever holds the result answers it, from any thread. An INTERRUPT runs `give_up`
    /// and, where that says so, answers it EINTR. Errors: EAGAIN where too many wait already, in all or of the user, or EINTR where the INTERRUPT was
    /// faster; the request is answered then.
    pub fn park(mut self, give_up: GiveUp) -> Result<Parked, Errno> {
        self.answered = true;
        let parked = Parking::park(self.parking, self.device, self.origin, give_up);
        if let Err(errno) = &parked {
            let _nothing_handed_over = deliver(self.device, self.origin.unique, Err(*errno));
        }
        parked
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        if !self.answered {
            error!("request {} was left without an answer: EIO", self.origin.unique.0);
            let _nothing_handed_over = deliver(self.device, self.origin.unique, Err(Errno::EIO));
        }
    }
}

/// Sends an answer and tells whether it arrived.
pub(super) fn deliver(device: &Device, unique: Unique, result: Result<&[&[u8]], Errno>) -> Delivery {
    let sent = device.send(unique, result);
    match &sent {
        Ok(()) => return Delivery::Taken,
        Err(error) if is_expected(error) => debug!("answer {} came too late: {error}", unique.0),
        Err(error) => error!("the kernel refused answer {}: {error}", unique.0),
    }
    Delivery::Refused
}

/// ENOENT: the caller is gone. ENODEV, ECONNABORTED: so is the mount.
fn is_expected(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENODEV | libc::ECONNABORTED | libc::ENOTCONN)
    )
}

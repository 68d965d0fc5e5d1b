//! A session whose kernel is the test: sockets that keep messages apart in place of the device, one for each worker.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;

use nix::sys::socket::sockopt::SndBufForce;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair};
use owltmp::fuse::decode::Layout;
use owltmp::fuse::wire::{InHeader, OutHeader};
use owltmp::fuse::{Handler, Parking, Workers};
use zerocopy::{FromBytes, IntoBytes};

pub const LAYOUT: Layout = Layout { setxattr_ext: true };
pub const LOOKUP: u32 = 1;
pub const FORGET: u32 = 2;
pub const INTERRUPT: u32 = 36;

/// The session and the kernel's ends of its sockets.
pub struct Fake {
    kernel: Vec<File>,
    workers: Workers,
}

impl Fake {
    /// A session with so many workers.
    pub fn start(workers: usize, handler: Arc<dyn Handler>) -> Fake {
        /// Room for the largest reply in one message.
        const ROOM: usize = 4 << 20;
        let pair = |_| {
            let kind = SockType::SeqPacket;
            let (kernel, device) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap();
            setsockopt(&device, SndBufForce, &ROOM).unwrap();
            (File::from(kernel), File::from(device))
        };
        let (kernel, devices) = (0..workers).map(pair).unzip();
        Fake {
            kernel,
            workers: Workers::start(devices, LAYOUT, &handler).unwrap(),
        }
    }

    /// Sends a request to a worker.
    pub fn ask(&mut self, worker: usize, bytes: &[u8]) {
        self.kernel[worker].write_all(bytes).unwrap();
    }

    /// The next answer from a worker's device.
    pub fn answer(&mut self, worker: usize) -> OutHeader {
        let mut buf = vec![0; 1 << 21];
        let count = self.kernel[worker].read(&mut buf).unwrap();
        let (header, _) = OutHeader::read_from_prefix(&buf[..count]).unwrap();
        assert_eq!(header.len as usize, count, "a reply says how long it is");
        header
    }

    /// The requests that wait.
    pub fn parking(&self) -> &Arc<Parking> {
        self.workers.parking()
    }

    /// Ends the conversation; the workers must end without an error.
    pub fn end(self) {
        drop(self.kernel);
        self.workers.join().unwrap();
    }
}

/// The bytes of a request.
pub fn request(opcode: u32, unique: u64, nodeid: u64, body: &[u8]) -> Vec<u8> {
    let header = InHeader {
        len: (size_of::<InHeader>() + body.len()) as u32,
        opcode,
        unique,
        nodeid,
        ..InHeader::default()
    };
    [header.as_bytes(), body].concat()
}

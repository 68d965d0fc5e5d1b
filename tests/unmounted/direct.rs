//! Requests without an open file: nothing makes them wait.

use owltmp::lock::Wake;
use owltmp::ops::Filesystem;
use owltmp::ops::attr::{AttrCall, SetAttr};
use owltmp::ops::hoard::Kept;
use owltmp::ops::io::{IoCall, LongWork, Privileges};
use owltmp::ops::transfer::Io;
use owltmp::ops::wait::{Again, Outcome, Park, Wait};
use owltmp::types::{Attr, Caller, Errno, Fh, NodeId, OpenFlags};

/// Lets nobody wait.
struct Never;

impl Park for Never {
    fn wait(&mut self, _wait: Wait, _io: Option<Io<Kept>>) -> Result<Box<dyn Wake>, Errno> {
        panic!("nothing is locked")
    }

    fn again(&mut self, _again: Again) -> Result<(), Errno> {
        panic!("nothing is locked")
    }
}

fn done<T>(outcome: Outcome<T>) -> T {
    match outcome {
        Outcome::Done(done) => done,
        Outcome::Waiting => unreachable!("nobody waits"),
    }
}

fn call(node: NodeId) -> IoCall {
    IoCall {
        caller: Caller { uid: 0, gid: 0, tid: 0 },
        node,
        fh: Fh(0),
        owner: None,
        flags: Some(OpenFlags(2)),
    }
}

pub trait Direct {
    fn read_now(&self, node: NodeId, offset: u64, buf: &mut [u8]) -> Result<usize, Errno>;
    fn write_now(&self, node: NodeId, offset: u64, data: &[u8], privileges: Privileges) -> Result<usize, Errno>;
    fn allocate_now(&self, node: NodeId, mode: u32, offset: u64, len: u64) -> Result<Option<LongWork>, Errno>;
    fn setattr_now(&self, caller: Caller, node: NodeId, change: &SetAttr) -> Result<Attr, Errno>;
}

impl Direct for Filesystem {
    fn read_now(&self, node: NodeId, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        self.read(&call(node), offset, buf, &mut Never)
            .map(|read| done(read).count)
    }

    fn write_now(&self, node: NodeId, offset: u64, data: &[u8], privileges: Privileges) -> Result<usize, Errno> {
        self.write(&call(node), offset, data, privileges, &mut Never).map(done)
    }

    fn allocate_now(&self, node: NodeId, mode: u32, offset: u64, len: u64) -> Result<Option<LongWork>, Errno> {
        self.fallocate(&call(node), mode, offset, len, &mut Never).map(done)
    }

    fn setattr_now(&self, caller: Caller, node: NodeId, change: &SetAttr) -> Result<Attr, Errno> {
        let call = AttrCall {
            caller,
            node,
            fh: None,
            owner: None,
        };
        let changed = self.setattr(&call, change, &mut Never).map(done)?;
        Ok(changed.attr)
    }
}

//! A FUSE server that answers everything at once with constants and keeps nothing: what it takes is the floor under every
//! FUSE filesystem on this machine. One thread, one read(2) and one write(2) for a request.
//!
//! It has nothing of owltmp's in it but the structs of the protocol, so it stays what it is when owltmp changes. It is a
//! process of its own: this program, started again by itself.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use owltmp::fuse::wire::{AttrOut, EntryOut, InHeader, Opcode, OpenOut, OutHeader, WireAttr};
use zerocopy::{FromBytes, IntoBytes};

use super::row::Outcome;

/// Its argument, followed by a directory, makes this program the server.
pub const ARGUMENT: &str = "serve-empty-at";

const ROOT: u64 = 1;
const MAX_WRITE: u32 = 1 << 17;
/// Names are known for a day, attributes not at all.
const DAY: u64 = 86_400;

/// The directory to serve, if that is what this process was started for.
pub fn called_to_serve() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == ARGUMENT).then(|| arguments.next().map(PathBuf::from))?
}

struct Handshake;

impl fuser::Filesystem for Handshake {
    fn init(&mut self, _request: &fuser::Request, config: &mut fuser::KernelConfig) -> std::io::Result<()> {
        let _accepted = config.set_max_write(MAX_WRITE);
        Ok(())
    }
}

/// Mounts and serves until it is unmounted.
pub fn serve(place: &Path) -> Outcome<()> {
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let fd = device.as_raw_fd();
    let data = format!("fd={fd},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("empty"), place, Some("fuse.empty"), flags, Some(data.as_str()))?;
    let session = fuser::Session::from_fd(
        Handshake,
        device.into(),
        fuser::SessionACL::All,
        fuser::Config::default(),
    )?;
    let mut device = File::from(session.as_fd().try_clone_to_owned()?);
    let mut request = vec![0; MAX_WRITE as usize + 4096];
    let mut next_node = ROOT;
    loop {
        match device.read(&mut request) {
            Ok(length) => {
                if let Some(answer) = answer(&request[..length], &mut next_node) {
                    // Errors where the caller is gone: nothing was handed over.
                    let _late = device.write(&answer);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted || error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn answer(request: &[u8], next_node: &mut u64) -> Option<Vec<u8>> {
    let (header, _) = InHeader::read_from_prefix(request).ok()?;
    let body: Result<Vec<u8>, i32> = match Opcode::from_number(header.opcode) {
        Some(Opcode::Forget | Opcode::BatchForget | Opcode::Interrupt) => return None,
        Some(Opcode::Lookup) => Err(libc::ENOENT),
        Some(Opcode::GetAttr) => Ok(AttrOut {
            attr: attr(header.nodeid),
            ..AttrOut::default()
        }
        .as_bytes()
        .to_vec()),
        Some(Opcode::Create) => {
            *next_node += 1;
            let entry = EntryOut {
                nodeid: *next_node,
                entry_valid: DAY,
                attr: attr(*next_node),
                ..EntryOut::default()
            };
            Ok([entry.as_bytes(), OpenOut::default().as_bytes()].concat())
        }
        Some(Opcode::Open | Opcode::OpenDir) => Ok(OpenOut::default().as_bytes().to_vec()),
        Some(Opcode::Unlink | Opcode::Release | Opcode::ReleaseDir) => Ok(Vec::new()),
        _ => Err(libc::ENOSYS),
    };
    let (error, body) = match body {
        Ok(body) => (0, body),
        Err(errno) => (-errno, Vec::new()),
    };
    let head = OutHeader {
        len: u32::try_from(size_of::<OutHeader>() + body.len()).ok()?,
        error,
        unique: header.unique,
    };
    Some([head.as_bytes(), &body].concat())
}

fn attr(node: u64) -> WireAttr {
    WireAttr {
        ino: node,
        mode: if node == ROOT { 0o40_755 } else { 0o100_644 },
        nlink: 1,
        ..WireAttr::default()
    }
}

//! One worker: reads a request into its buffer, decodes it in place, has it handled, reads the next.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use log::{error, warn};

use super::decode::{Layout, Malformed, Operation, Request, decode};
use super::device::Device;
use super::near::{Near, Place, Waiting};
use super::parked::{Origin, Parking};
use super::reply::{Reply, deliver};
use super::session::MAX_WRITE;
use super::statistics::{Kind, Statistics};
use super::wire::FATTR_SIZE;
use crate::sys::memory;
use crate::types::{Errno, NodeId, Unique};

/// Room for the header and arguments of a request before the data of the largest WRITE.
const HEADROOM: usize = 4096;

/// Bytes that take longer to copy than to ask for.
const MUCH_DATA: u32 = 64 << 10;

/// What handles the requests of a session. Called by all workers at once.
pub trait Handler: Send + Sync {
    /// Handles a request: answers it, or parks it. `out` is a buffer for the reply, of 1 MiB. A request that is neither
    /// answered nor parked is answered EIO, also when the handler panics.
    fn handle(&self, request: &Request<'_>, reply: Reply<'_>, out: &mut [u8]);

    /// The kernel gives up `count` references to a node. Takes no answer.
    fn forget(&self, node: NodeId, count: u64);
}

pub(super) struct Worker {
    pub(super) number: usize,
    /// Those of all workers; ours is the one of our number.
    pub(super) devices: Arc<[Arc<Device>]>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) parking: Arc<Parking>,
    pub(super) layout: Layout,
    pub(super) near: Arc<Near>,
    pub(super) statistics: Arc<Statistics>,
}

impl Worker {
    /// Serves until the conversation is over. Both buffers are as large as the largest request and reply; what is never
    /// used of them never becomes resident.
    pub(super) fn run(&self) -> io::Result<()> {
        let mut request = vec![0; HEADROOM + MAX_WRITE as usize];
        let mut out = vec![0; MAX_WRITE as usize];
        let mut place = self.near.join(self.number);
        while let Some(length) = self.device().receive(&mut request)? {
            if let Some(place) = &mut place {
                place.asked();
            }
            self.serve(&request[..length], &mut out, place.as_mut());
            if let Some(place) = &mut place {
                place.served();
            }
            // Now that nothing is locked and the answer is on its way.
            memory::give_back_if_shrunk();
        }
        Ok(())
    }

    fn device(&self) -> &Arc<Device> {
        &self.devices[self.number]
    }

    fn serve(&self, bytes: &[u8], out: &mut [u8], mut place: Option<&mut Place>) {
        let request = match decode(bytes, self.layout) {
            Ok(request) => request,
            Err(Malformed::NoHeader) => {
                warn!("a request of {} bytes has no header", bytes.len());
                return;
            }
            Err(Malformed::Body(unique)) => {
                warn!("request {} cannot be read", unique.0);
                let _nothing_handed_over = deliver(self.device(), unique, Err(Errno::EINVAL));
                return;
            }
        };
        if let Some(place) = &mut place
            && let Some(waiting) = is_waiting(&request.operation)
        {
            place.asks(request.caller.tid, waiting);
        }
        let start = Instant::now();
        let _shared = place
            .as_ref()
            .filter(|_| takes_long(&request.operation))
            .and_then(|place| place.share());
        // A panic is a fault of ours in one request: that one gets EIO (its Reply is dropped), the others go on
        // (semantics 6.4). Locks are not poisoned; what they guard is changed in whole steps.
        let served = catch_unwind(AssertUnwindSafe(|| self.serve_decoded(&request, out)));
        if served.is_err() {
            let what = request.operation.in_a_message();
            error!("request {} ({what}) panicked: EIO", request.unique.0);
        }
        let counters = self.statistics.of_worker(self.number);
        counters.count(Kind::of(&request.operation), start.elapsed());
    }

    fn serve_decoded(&self, request: &Request<'_>, out: &mut [u8]) {
        match request.operation {
            Operation::Forget(args) => self.handler.forget(request.node, args.nlookup),
            Operation::BatchForget(all) => {
                for (node, count) in all.iter() {
                    self.handler.forget(node, count);
                }
            }
            Operation::Interrupt(args) => self.interrupt(request, Unique(args.unique)),
            Operation::NotifyReply => {}
            _ => {
                let _running = self.parking.begin(self.number, request.unique);
                let origin = Origin {
                    unique: request.unique,
                    uid: request.caller.uid,
                };
                let reply = Reply::new(self.device(), &self.parking, origin);
                self.handler.handle(request, reply, out);
            }
        }
    }

    /// The kernel looks for the request that an answered INTERRUPT means among those read from the descriptor of the answer
    /// only, and any worker may have read it: so EAGAIN goes to all descriptors, and all but one refuse it. An INTERRUPT
    /// that got lost would leave its caller unkillable.
    fn interrupt(&self, request: &Request<'_>, target: Unique) {
        if let Some(errno) = self.parking.interrupt(target) {
            for device in self.devices.iter() {
                let _nothing_handed_over = deliver(device, request.unique, Err(errno));
            }
        }
    }
}

/// Whether it takes much longer than the conversation about it.
fn takes_long(operation: &Operation<'_>) -> bool {
    match operation {
        Operation::Read(args) => args.size > MUCH_DATA,
        Operation::Write { args, .. } => args.size > MUCH_DATA,
        Operation::FAllocate(_) | Operation::CopyFileRange { .. } => true,
        Operation::SetAttr(args) => args.valid & FATTR_SIZE != 0,
        _ => false,
    }
}

/// Whether the caller waits for the answer. Reads and writes may be ahead or behind of what somebody waits for, or of io_submit(2).
/// `None` where he does not, and for what execve(2) asks, which closes descriptors.
fn is_waiting(operation: &Operation<'_>) -> Option<Waiting> {
    use Operation as Op;
    match operation {
        Op::Lookup { .. }
        | Op::GetAttr(_)
        | Op::StatX(_)
        | Op::SetAttr(_)
        | Op::ReadLink
        | Op::StatFs
        | Op::Access(_)
        | Op::Symlink { .. }
        | Op::MkNod { .. }
        | Op::MkDir { .. }
        | Op::Unlink { .. }
        | Op::RmDir { .. }
        | Op::Rename { .. }
        | Op::Link { .. }
        | Op::Create { .. }
        | Op::TmpFile(_)
        | Op::Open(_)
        | Op::OpenDir(_)
        | Op::ReadDir(_)
        | Op::ReadDirPlus(_)
        | Op::Fsync(_)
        | Op::GetLk(_)
        | Op::SetLk(_)
        | Op::SetLkW(_) => Some(Waiting::Surely),
        Op::Read(_) | Op::Write { .. } => Some(Waiting::Perhaps),
        _ => None,
    }
}

//! One mounted filesystem's conversation: negotiation, workers, end. (Skeleton: the body is being written.)

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::ops::Filesystem;

/// Answers the kernel's INIT through fuser: says which features are used.
#[derive(Debug, Default)]
pub struct Negotiator {}

impl Negotiator {
    /// A negotiator for one mount.
    pub fn new() -> Negotiator {
        Negotiator::default()
    }
}

impl fuser::Filesystem for Negotiator {}

/// A mounted filesystem being served.
pub struct Server {}

impl Server {
    /// Returns when the kernel has ended the conversation: unmounted, or the connection aborted.
    pub fn wait(self) -> io::Result<()> {
        Ok(())
    }

    /// The session over which the mount is served.
    pub fn session(&self) -> &fuser::Session<Negotiator> {
        unimplemented!()
    }
}

/// Starts `workers` threads that serve the session's requests from `fs`.
pub fn serve(session: fuser::Session<Negotiator>, fs: Arc<Filesystem>, workers: NonZeroUsize) -> io::Result<Server> {
    let _ = (session, fs, workers);
    Ok(Server {})
}

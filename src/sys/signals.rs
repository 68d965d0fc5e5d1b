//! Signals as values to wait for instead of handlers.
#![allow(unsafe_code)]

use std::io;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The set of the given signals.
pub fn set_of(signals: &[Signal]) -> SigSet {
    signals.iter().copied().collect()
}

/// Blocks `signals` in this thread and those it starts, and nothing else.
pub fn block_only(signals: &[Signal]) -> io::Result<()> {
    Ok(set_of(signals).thread_set_mask()?)
}

/// Makes a signal mean nothing: the system call that would raise it fails instead.
pub fn ignore(signal: Signal) -> io::Result<()> {
    let ignored = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: no code of ours runs in a signal handler.
    unsafe { sigaction(signal, &ignored) }?;
    Ok(())
}

/// What this process was started with: the signals it blocked, and what SIGCHLD meant.
#[derive(Clone, Debug)]
pub struct Inherited {
    blocked: SigSet,
    on_child: SigAction,
}

/// Gives SIGCHLD its default meaning: whoever started us may have ignored it, and then children vanish without a status.
pub fn expect_children() -> io::Result<Inherited> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    Ok(Inherited {
        blocked: SigSet::thread_get_mask()?,
        // SAFETY: the action is the default one, so no code of ours runs in a signal handler.
        on_child: unsafe { sigaction(Signal::SIGCHLD, &default) }?,
    })
}

impl Inherited {
    /// Makes it so again, for a program about to be executed. Two system calls that allocate and lock nothing.
    pub fn restore(&self) -> io::Result<()> {
        // SAFETY: the action was in force when this program was executed, so it is none of a handler.
        unsafe { sigaction(Signal::SIGCHLD, &self.on_child) }?;
        Ok(self.blocked.thread_set_mask()?)
    }
}

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

/// Gives a signal its default meaning, whatever this process was started with.
pub fn reset(signal: Signal) -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the action is the default one, so no code of ours runs in a signal handler.
    unsafe { sigaction(signal, &default) }?;
    Ok(())
}

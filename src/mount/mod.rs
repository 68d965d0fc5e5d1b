//! Making a filesystem usable at a place: options, mounting, the daemon, private namespaces. Knows nothing of
//! requests.
//!
//! ```text
//! cli mount ── daemon ── serve ── attach ── helper        a mount until somebody takes it away
//!           └─ remount                                   another flag for one that is there
//! cli run ──── private ── daemon ── ...                   one or more for the life of a command
//! cli umount ─ place
//! ```

mod attach;
mod daemon;
mod detached;
mod error;
mod helper;
pub mod logging;
mod notify;
pub mod options;
pub mod place;
mod private;
mod remount;
mod reporting;
mod serve;
mod shown;
mod surroundings;
mod warnings;

pub use attach::Method;
pub use daemon::{Daemon, Life};
pub use error::Error;
pub use notify::{Manager, Notifier};
pub use private::{Run, run};
pub use remount::{Change, remount};
pub use serve::{OnSignal, Plan, serve, within};
pub use shown::{Shown, shown};
pub use warnings::warnings;

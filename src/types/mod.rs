//! Vocabulary without behaviour: the words every other layer speaks. Knows nothing but itself.

pub mod attr;
pub mod caller;
pub mod errno;
pub mod flags;
pub mod ids;
pub mod name;
pub mod settings;
pub mod system_call;

pub use attr::{Attr, FileType, Timestamp};
pub use caller::Caller;
pub use errno::Errno;
pub use flags::{OpenFlags, RenameMode};
pub use ids::{BackingId, Cookie, Fh, Ino, LockOwner, NodeId, Unique};
pub use name::Name;
pub use settings::{AtimePolicy, Enforcement, Mandatory, Rules, Settings};
pub use system_call::SystemCall;

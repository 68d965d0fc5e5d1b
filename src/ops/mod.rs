//! What a request means. (Skeleton: being written.)

use crate::types::Settings;

/// One filesystem: its tree, contents and limits.
pub struct Filesystem {}

impl Filesystem {
    /// A filesystem with an empty root directory.
    pub fn new(settings: &Settings) -> Filesystem {
        let _ = settings;
        Filesystem {}
    }
}

//! Names that others chose, as a person reads them: on one line, and no terminal obeys them.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

/// Text with its control characters escaped.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a OsStr);

/// A path with its control characters escaped.
pub fn shown(path: &Path) -> Shown<'_> {
    Shown(path.as_os_str())
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string_lossy().chars() {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

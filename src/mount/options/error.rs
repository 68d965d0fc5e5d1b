//! What can be wrong with an option, and how a person is told: the option as written, and what would do.

use std::fmt;

/// A refused option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// The option as written, `name` or `name=value`.
    pub option: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No such option.
    Unknown,
    /// Known, and not possible here; the sentence says why.
    Refused(&'static str),
    /// It needs a value; an example.
    ValueMissing(&'static str),
    /// It takes none.
    ValueUnexpected,
    /// The value does not read as what it should be.
    BadValue(&'static str),
    /// A quotation mark is never closed.
    OpenQuote,
}

/// The options a person may want to choose from, for the message about an unknown one.
const KNOWN: &str = "size=, nr_blocks=, nr_inodes=, mode=, uid=, gid=, umask=, \
                     user_size=, user_inodes=, max_age=, exclude=, symlinks=, hardlinks=, squatting=, mand=, io=, workers=, allow_other, ro, rw, [no]suid, \
                     [no]dev, [no]exec, [no]atime, [no]relatime, [no]strictatime, [no]lazytime, [no]diratime, sync, \
                     async, dirsync, inode64, context= (see owltmp(8))";

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug form: quoted, with control characters escaped, so that the message stays one line.
        let option = &self.option;
        match &self.problem {
            Problem::Unknown => write!(f, "unknown option {option:?}: known are {KNOWN}"),
            Problem::Refused(why) => write!(f, "option {option:?} is refused: {why}"),
            Problem::ValueMissing(example) => write!(f, "option {option:?} needs a value, such as {example}"),
            Problem::ValueUnexpected => write!(f, "option {option:?} takes no value"),
            Problem::BadValue(wanted) => write!(f, "bad option {option:?}: want {wanted}"),
            Problem::OpenQuote => write!(
                f,
                "option {option:?} opens a quotation that never ends: close it with \""
            ),
        }
    }
}

impl std::error::Error for OptionError {}

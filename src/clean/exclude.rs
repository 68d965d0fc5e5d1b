//! Patterns for what is to stay (`exclude=`): shell patterns of paths below the mount, as the `x` lines of tmpfiles.d(5). What one
//! names stays, and all that is below it.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// No path is longer, in bytes: what lies deeper is named by no pattern, and costs no time to compare.
const LONGEST: usize = 4096;

/// A pattern that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern;

/// All patterns of a mount.
#[derive(Clone, Debug)]
pub struct Exclude(GlobSet);

impl Default for Exclude {
    fn default() -> Exclude {
        Exclude(GlobSet::empty())
    }
}

impl Exclude {
    /// The patterns, each with or without a slash in front. `*` and `?` stand for anything but a slash, a leading dot included.
    /// Names are bytes: `?` and `[...]` stand for one, so there is nothing but ASCII between brackets.
    ///
    /// Errors: one of them is none.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Exclude, BadPattern> {
        let mut all = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref().trim_matches('/');
            if pattern.is_empty() || has_wide_class(pattern) {
                return Err(BadPattern);
            }
            let mut builder = GlobBuilder::new(pattern);
            builder.literal_separator(true).backslash_escape(true);
            all.add(builder.build().map_err(|_| BadPattern)?);
        }
        all.build().map(Exclude).map_err(|_| BadPattern)
    }

    /// Whether a path below the mount, with a slash in front, is named.
    pub fn names(&self, path: &[u8]) -> bool {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        !self.0.is_empty() && path.len() < LONGEST && self.0.is_match(OsStr::from_bytes(path))
    }
}

/// Whether a class, as in `[a-z]`, has a character of several bytes. It would stand for one of these, and for no character.
fn has_wide_class(pattern: &str) -> bool {
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '[' => {
                let class = rest.as_str().trim_start_matches(['!', '^']);
                // A bracket that comes first is of the class.
                let first = class.chars().next().map_or(0, char::len_utf8);
                let end = class[first..].find(']').map_or(class.len(), |at| first + at);
                if !class[..end].is_ascii() {
                    return true;
                }
                rest = class[end..].chars();
            }
            _ => {}
        }
    }
    false
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no shell pattern of a path")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(pattern: &str, path: &[u8]) -> bool {
        Exclude::new(&[pattern]).unwrap().names(path)
    }

    #[test]
    fn patterns_are_those_of_the_shell() {
        for (pattern, path) in [
            ("a", "/a"),
            ("/a", "/a"),
            ("/a/", "/a"),
            ("*.log", "/x.log"),
            (".X*-lock", "/.X0-lock"),
            ("*", "/.hidden"),
            ("a/*", "/a/b"),
            ("**/keep", "/a/b/keep"),
            ("a?[0-9]", "/ab7"),
            ("{a,b}", "/b"),
            ("a\\*", "/a*"),
        ] {
            assert!(names(pattern, path.as_bytes()), "{pattern} names {path}");
        }
        for (pattern, path) in [
            ("a", "/b"),
            ("a", "/a/b"),
            ("*", "/a/b"),
            ("a?b", "/a/b"),
            ("a\\*", "/ab"),
            ("A", "/a"),
        ] {
            assert!(!names(pattern, path.as_bytes()), "{pattern} does not name {path}");
        }
    }

    #[test]
    fn names_are_bytes() {
        assert!(names("*", b"/\xff\xfe"));
        assert!(names("x*", b"/x\n\xff"));
        assert!(!Exclude::default().names(b"/a"));
    }

    #[test]
    fn what_nobody_can_name_is_not_named() {
        let path = b"/a".repeat(LONGEST);
        assert!(!names("**", &path));
        assert!(names("**", &path[..LONGEST]));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["", "/", "[a", "{a,b", "a\\"] {
            assert_eq!(Exclude::new(&[pattern]).err(), Some(BadPattern), "{pattern}");
        }
    }

    #[test]
    fn a_class_of_more_than_bytes_is_refused() {
        for pattern in ["[é]b", "a/[!aé]", "[]é]", "\\\\[é]", "é[ab][é]"] {
            assert_eq!(Exclude::new(&[pattern]).err(), Some(BadPattern), "{pattern}");
        }
        for (pattern, path) in [("é[ab]é", "/éaé"), ("[]a]é", "/]é"), ("\\[é\\]", "/[é]")] {
            assert!(names(pattern, path.as_bytes()), "{pattern} names {path}");
        }
        assert!(!names("caf?", "/café".as_bytes()) && names("caf??", "/café".as_bytes()));
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in any::<String>(), path in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(exclude) = Exclude::new(&[pattern]) {
                let _ = exclude.names(&path);
            }
        }

        #[test]
        fn a_name_without_marks_names_itself(name in "[a-z0-9._-]{1,20}(/[a-z0-9._-]{1,9}){0,3}", other in "[a-z]{1,5}") {
            let path = format!("/{name}");
            prop_assert!(names(&name, path.as_bytes()));
            prop_assert_eq!(names(&name, format!("/{other}").as_bytes()), name == other);
        }
    }
}

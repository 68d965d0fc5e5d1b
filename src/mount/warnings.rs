//! What in the kernel's settings would break a promise of ours, though nothing fails yet.

use crate::sys::host::sysctl;

/// Settings after which the kernel aborts a whole mount when one request waits too long, which a lock may.
const TIMEOUTS: [&str; 2] = ["fs/fuse/default_request_timeout", "fs/fuse/max_request_timeout"];

/// A line for each setting that a person should know about.
pub fn warnings() -> Vec<String> {
    TIMEOUTS
        .iter()
        .filter_map(|path| timeout_warning(path, sysctl(path)?))
        .collect()
}

fn timeout_warning(path: &str, seconds: u64) -> Option<String> {
    let name = path.replace('/', ".");
    (seconds != 0).then(|| {
        format!("{name} is {seconds}: the kernel will abort the mount when a lock is waited for that long; set it to 0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_named() {
        assert_eq!(timeout_warning(TIMEOUTS[0], 0), None);
        let warning = timeout_warning(TIMEOUTS[1], 30).unwrap();
        assert!(warning.starts_with("fs.fuse.max_request_timeout is 30:"), "{warning}");
    }
}

//! What /proc tells about the thread that waits for our answer. While the request is unanswered the thread sits in its
//! system call, so this is stable (kernel-facts, "Who is asking").

use std::fs;
use std::os::linux::fs::MetadataExt;

use crate::types::Caller;

/// A capability, by its number in capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// CAP_FOWNER: counts as the owner of every file.
    Fowner = 3,
    /// CAP_FSETID: set-id bits survive.
    Fsetid = 4,
    /// CAP_SYS_ADMIN: `trusted.` attributes are seen.
    SysAdmin = 21,
}

/// Whether the caller holds the capability in our own user namespace. What cannot be decided is a no: the caller may be
/// outside of our PID namespace, and bits held in another user namespace prove nothing.
pub fn has_capability(caller: Caller, capability: Capability) -> bool {
    if caller.tid == 0 {
        return false;
    }
    let thread = format!("/proc/{}", caller.tid);
    let same_namespace = match (
        fs::metadata(format!("{thread}/ns/user")),
        fs::metadata("/proc/self/ns/user"),
    ) {
        (Ok(theirs), Ok(ours)) => (theirs.st_dev(), theirs.st_ino()) == (ours.st_dev(), ours.st_ino()),
        _ => false,
    };
    same_namespace
        && fs::read_to_string(format!("{thread}/status"))
            .ok()
            .and_then(|status| effective_capabilities(&status))
            .is_some_and(|held| held & (1 << capability as u32) != 0)
}

/// Whether the group is the caller's or one of his supplementary groups. What cannot be decided is a no.
pub fn in_group(caller: Caller, gid: u32) -> bool {
    if caller.gid == gid {
        return true;
    }
    caller.tid != 0
        && fs::read_to_string(format!("/proc/{}/status", caller.tid)).is_ok_and(|status| lists_group(&status, gid))
}

fn lists_group(status: &str, gid: u32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    line.is_some_and(|line| line.split_ascii_whitespace().any(|group| group.parse() == Ok(gid)))
}

/// Whether the caller sits in a system call of the chown(2) family, a 32-bit caller included: none of the numbers is that
/// of a call that writes to a file for a caller of the other kind. What cannot be seen is none.
pub fn is_chown(caller: Caller) -> bool {
    const CHOWNS: &[i64] = &[
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        // lchown, fchown, chown, lchown32, fchown32 and chown32 of i386 and 32-bit ARM; then their fchownat.
        16,
        95,
        182,
        198,
        207,
        212,
        #[cfg(target_arch = "x86_64")]
        298,
        #[cfg(target_arch = "aarch64")]
        325,
    ];
    caller.tid != 0
        && fs::read_to_string(format!("/proc/{}/syscall", caller.tid))
            .ok()
            .and_then(|text| system_call(&text))
            .is_some_and(|number| CHOWNS.contains(&number))
}

fn system_call(text: &str) -> Option<i64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_status() {
        let status = "Name:\tcat\nCapPrm:\t0000000000000000\nCapEff:\t0000000000200010\n";
        assert_eq!(effective_capabilities(status), Some(0x0020_0010));
        assert_eq!(effective_capabilities("Name:\tCapEff: none\n"), None);
        assert_eq!(effective_capabilities("CapEff:\tzz\n"), None);
    }

    #[test]
    fn groups_are_read_from_status() {
        let status = "Gid:\t7\t7\t7\t7\nGroups:\t10 20 30 \n";
        assert!(lists_group(status, 20));
        assert!(!lists_group(status, 7) && !lists_group("Groups:\t\n", 0));
    }

    #[test]
    fn system_calls_are_read() {
        assert_eq!(system_call("92 0x7ffe 0xffffffff 0x0 0x7ffd 0x7f00\n"), Some(92));
        assert_eq!(system_call("running\n"), None);
        assert_eq!(system_call(""), None);
    }

    #[test]
    fn a_caller_nobody_sees_has_none() {
        let caller = Caller { uid: 0, gid: 0, tid: 0 };
        assert!(!has_capability(caller, Capability::SysAdmin));
    }
}

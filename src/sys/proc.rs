//! What /proc tells about the thread that waits for our answer. While the request is unanswered the thread sits in its
//! system call, so this is stable (kernel-facts, "Who is asking").

use std::fs;
use std::io::ErrorKind;
use std::os::linux::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use crate::types::{Caller, SystemCall};

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
        && credentials(caller)
            .and_then(|status| effective_capabilities(&status))
            .is_some_and(|held| held & (1 << capability as u32) != 0)
}

/// Whether the group is the caller's or one of his supplementary groups. What cannot be decided is a no.
pub fn in_group(caller: Caller, gid: u32) -> bool {
    if caller.gid == gid {
        return true;
    }
    credentials(caller).is_some_and(|status| lists_group(&status, gid))
}

/// The real uid of the caller. `None` where it cannot be seen, and for one that our user namespace has no number for: such
/// are all shown as the same.
pub fn real_uid(caller: Caller) -> Option<u32> {
    credentials(caller).as_deref().and_then(real_uid_in)
}

/// The fsuid of a thread for which the kernel acts as root: overlayfs works on what lies below it as whoever has mounted it.
/// `None` for everybody else, threads of io_uring included: those act as whoever asks, and what they show is old.
pub fn represented(caller: Caller) -> Option<u32> {
    if caller.uid != 0 {
        return None;
    }
    let fsuid = status(caller).as_deref().and_then(fsuid_in)?;
    (fsuid != 0 && system_call(caller).is_some()).then_some(fsuid)
}

/// The process id of the caller and the name of the program; the thread id, and no name, where they cannot be seen.
pub fn process(caller: Caller) -> (u32, String) {
    let status = status(caller).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let pid = field("Tgid:").and_then(|pid| pid.parse().ok()).unwrap_or(caller.tid);
    (pid, field("Name:").unwrap_or_default().to_owned())
}

/// The process id and name of the process that a thread belongs to; `None` where the thread is gone.
pub fn process_of_thread(tid: u32) -> Option<(u32, String)> {
    let caller = Caller { uid: 0, gid: 0, tid };
    status(caller).is_some().then(|| process(caller))
}

/// The flags of the open file that the first argument of the caller's system call names, as they are now. `None` where they cannot
/// be seen.
pub fn descriptor_flags(caller: Caller) -> Option<u32> {
    let descriptor = system_call(caller)?.arguments[0];
    u32::from_str_radix(&descriptor_info(caller, descriptor, "flags:")?, 8).ok()
}

/// The position of the open file behind a descriptor of the caller's. `None` where it cannot be seen.
pub fn position(caller: Caller, descriptor: u64) -> Option<u64> {
    descriptor_info(caller, descriptor, "pos:")?.parse().ok()
}

/// Whether the caller has no such descriptor. What cannot be seen is there.
pub fn has_closed(caller: Caller, descriptor: u64) -> bool {
    let path = format!("/proc/{}/fd/{descriptor}", caller.tid);
    // Not what it leads to: nobody's filesystem is asked.
    let look = || fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    caller.tid != 0 && look()
}

/// Whether the caller waits in the kernel in a way that no signal ends.
pub fn waits_deaf(caller: Caller) -> bool {
    status(caller).is_some_and(|status| status.lines().any(|line| line.starts_with("State:\tD")))
}

fn descriptor_info(caller: Caller, descriptor: u64, field: &str) -> Option<String> {
    let info = fs::read_to_string(format!("/proc/{}/fdinfo/{descriptor}", caller.tid)).ok()?;
    let value = info.lines().find_map(|line| line.strip_prefix(field))?;
    Some(value.trim().to_owned())
}

/// The system call that the caller sits in. `None` where that cannot be seen, and for threads that only the kernel runs (of
/// io_uring): their registers are a copy of what another thread had when they were made, but for the place in its program.
pub fn system_call(caller: Caller) -> Option<SystemCall> {
    if caller.tid == 0 {
        return None;
    }
    let path = format!("/proc/{}/syscall", caller.tid);
    for look in 0..LOOKS {
        let text = fs::read_to_string(&path).ok()?;
        if text.trim_end() != "running" {
            return parse_system_call(&text);
        }
        if look < YIELDS {
            thread::yield_now();
        } else {
            thread::sleep(PAUSE);
        }
    }
    None
}

/// A caller may still be on its way to sleep when its request is read, and a signal wakes it for a moment: then nothing is shown of it
/// yet. On a machine with much to do it may be kept from going on.
const LOOKS: u32 = 1000;
const YIELDS: u32 = 50;
const PAUSE: Duration = Duration::from_micros(100);

/// What the kernel is executing for a caller.
#[derive(Debug)]
pub struct KernelStack(String);

impl KernelStack {
    /// `None` where the kernel does not tell.
    pub fn of(caller: Caller) -> Option<KernelStack> {
        if caller.tid == 0 {
            return None;
        }
        let stack = fs::read_to_string(format!("/proc/{}/stack", caller.tid)).ok()?;
        (!stack.is_empty()).then_some(KernelStack(stack))
    }

    /// Whether it is in the function of that name. A line: `[<0>] function+0x12/0x345`, with the module's name behind it where it is one.
    pub fn has(&self, function: &str) -> bool {
        let KernelStack(stack) = self;
        stack
            .lines()
            .filter_map(|line| line.split_once("] ")?.1.split_once('+'))
            .any(|(name, _)| name == function)
    }
}

/// What the program calls itself stands in it too, and need not be text.
fn status(caller: Caller) -> Option<String> {
    if caller.tid == 0 {
        return None;
    }
    let bytes = fs::read(format!("/proc/{}/status", caller.tid)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The status of a thread that acts by its own credentials. A thread that the kernel runs for io_uring shows those it was made
/// with, and acts by those of whoever asks: perhaps of a program that has given up its privileges since.
fn credentials(caller: Caller) -> Option<String> {
    status(caller).filter(|status| fsuid_in(status) == Some(caller.uid))
}

/// The fourth of the uids: real, effective, saved, and the fsuid.
fn fsuid_in(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// What the kernel shows for a uid that a user namespace has no number for (`overflowuid`).
const OVERFLOW_UID: u32 = 65534;

fn real_uid_in(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let uid = line.split_ascii_whitespace().next()?.parse().ok()?;
    (uid != OVERFLOW_UID).then_some(uid)
}

/// `number a0 a1 a2 a3 a4 a5 sp pc`, all but the number in hexadecimal; `-1 sp pc` outside of a system call; `running`.
fn parse_system_call(text: &str) -> Option<SystemCall> {
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut hexadecimal = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = hexadecimal()?;
    }
    let (_stack_pointer, program_counter) = (hexadecimal()?, hexadecimal()?);
    (program_counter != 0).then_some(SystemCall { number, arguments })
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
    system_call(caller).is_some_and(|call| CHOWNS.contains(&call.number))
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
        let text = "257 0xffffff9c 0x7ffd 0x41 0x1b6 0x0 0x0 0x7ffe1a1825c8 0x7f6d357162ad\n";
        let call = parse_system_call(text).unwrap();
        assert_eq!(
            (call.number, call.arguments),
            (257, [0xffff_ff9c, 0x7ffd, 0x41, 0x1b6, 0, 0])
        );
        let worker = "89 0x7ffd 0x7ffe 0x100 0x0 0x0 0x0 0x0 0x0\n";
        for unseen in [
            worker,
            "running\n",
            "-1 0x7ffe1a1825c8 0x7f6d357162ad\n",
            "",
            "89 0x1 0x2\n",
        ] {
            assert_eq!(parse_system_call(unseen), None, "{unseen}");
        }
    }

    #[test]
    fn functions_are_found_on_the_stack() {
        let stack = "[<0>] fuse_readlink_folio+0x8b/0xf0 [fuse]\n[<0>] vfs_readlink+0x55/0x120\n";
        let stack = KernelStack(stack.to_owned());
        assert!(stack.has("vfs_readlink") && stack.has("fuse_readlink_folio"));
        assert!(!stack.has("readlink") && !KernelStack(String::new()).has("vfs_readlink"));
    }

    #[test]
    fn real_uids_are_read_from_status() {
        assert_eq!(real_uid_in("Name:\tcat\nUid:\t7\t8\t8\t8\n"), Some(7));
        assert_eq!(real_uid_in("Uid:\t65534\t8\t8\t8\n"), None);
        assert_eq!(real_uid_in("Gid:\t7\n"), None);
    }

    #[test]
    fn credentials_are_those_of_the_request() {
        assert_eq!(fsuid_in("Name:\tcat\nUid:\t7\t8\t9\t10\n"), Some(10));
        assert_eq!(fsuid_in("Uid:\t7\t8\t9\n"), None);
        let caller = |uid| Caller {
            uid,
            gid: 0,
            tid: std::process::id(),
        };
        let own = fsuid_in(&status(caller(0)).unwrap()).unwrap();
        assert!(credentials(caller(own)).is_some());
        assert!(credentials(caller(own + 1)).is_none());
    }

    #[test]
    fn a_caller_nobody_sees_has_none() {
        let caller = Caller { uid: 0, gid: 0, tid: 0 };
        assert!(!has_capability(caller, Capability::SysAdmin));
    }
}

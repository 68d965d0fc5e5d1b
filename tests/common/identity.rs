//! Running code as somebody else: on Linux credentials belong to the thread, so a fresh thread takes the identity for good.

use rustix::process::{Gid, Uid};
use rustix::thread;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: &'static [u32],
}

/// The superuser.
pub const ROOT: Identity = Identity {
    uid: 0,
    gid: 0,
    groups: &[],
};
/// A user who is a member of [`SHARED`].
pub const ALICE: Identity = Identity {
    uid: 60_001,
    gid: 60_001,
    groups: &[SHARED],
};
/// Another user who is a member of [`SHARED`].
pub const BOB: Identity = Identity {
    uid: 60_002,
    gid: 60_002,
    groups: &[SHARED],
};
/// A user without friends.
pub const CAROL: Identity = Identity {
    uid: 60_003,
    gid: 60_003,
    groups: &[],
};
/// The group that Alice and Bob share.
pub const SHARED: u32 = 60_100;

impl Identity {
    /// Takes this identity for the calling thread; from root only, and there is no way back.
    pub fn assume(self) {
        let groups: Vec<Gid> = self.groups.iter().map(|&g| Gid::from_raw(g)).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        thread::set_thread_groups(&groups).expect("setgroups");
        thread::set_thread_res_gid(gid, gid, gid).expect("setresgid");
        thread::set_thread_res_uid(uid, uid, uid).expect("setresuid");
    }
}

/// Runs `body` with `who`'s identity and umask 022, in a thread with a umask and working directory of its own.
pub fn as_user<T: Send>(who: Identity, body: impl FnOnce() -> T + Send) -> T {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    std::thread::scope(|scope| {
        let run = move || {
            own_umask(0o022);
            who.assume();
            body()
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn_scoped(scope, run)
            .expect("a thread");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Gives the calling thread a umask and working directory of its own, and sets the umask.
pub fn own_umask(mask: u32) {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).expect("unshare(CLONE_FS)");
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

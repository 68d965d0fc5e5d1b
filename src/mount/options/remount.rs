//! What `-o remount,...` may change of a mount that is there: flags that the kernel keeps. What the daemon was started with
//! stays. Pure, as its neighbours.

use nix::mount::MsFlags;

use super::resolve::{flag, is_for_others};
use super::{Host, OptionError, Problem, RawOption, RawOptions, resolve};

const ONLY_FLAGS: &str = "a remount changes only ro, rw, [no]suid, [no]dev, [no]exec, sync, async and [no]lazytime; \
                          for anything else unmount, and mount anew";

/// What a mount has now.
#[derive(Clone, Copy, Debug)]
pub struct InForce<'a> {
    /// What the kernel shows of it.
    pub shown: &'a RawOptions,
    /// What its daemon was started with, as far as it is known.
    pub started_with: &'a RawOptions,
}

/// The flags after the remount: those of now, but for what `asked` says. mount(8) passes on all it knows of the mount, from
/// fstab(5) or the kernel; what is in force already is no change. Errors name the first option that would be one and
/// cannot.
pub fn remount(asked: &RawOptions, in_force: InForce, host: &Host) -> Result<MsFlags, OptionError> {
    let mut flags = MsFlags::empty();
    let now = in_force.shown.iter();
    let changes = asked.iter();
    for (option, is_change) in now.map(|it| (it, false)).chain(changes.map(|it| (it, true))) {
        // The kernel changes no dirsync (MS_RMT_MASK).
        if !matches!(option.name.as_str(), "allow_other" | "dirsync")
            && let Some((set, clear)) = flag(&option.name)
        {
            flags = (flags | set) - clear;
        } else if is_change && !is_in_force(option, in_force, host) {
            return Err(option.problem(Problem::Refused(ONLY_FLAGS)));
        }
    }
    Ok(flags)
}

fn is_in_force(option: &RawOption, in_force: InForce, host: &Host) -> bool {
    let InForce { shown, started_with } = in_force;
    let has = |name: &str| shown.iter().any(|it| it.name == name);
    match option.name.as_str() {
        "remount" => return true,
        // The daemon goes by these, the kernel shows them.
        "atime" => return !has("noatime"),
        "norelatime" => return true,
        "strictatime" => return !has("noatime") && !has("relatime"),
        "nostrictatime" => return has("noatime") || has("relatime"),
        "diratime" => return !has("nodiratime"),
        _ => {}
    }
    let has_it = |all: &RawOptions| all.iter().any(|it| it == option);
    // In other words, as in size=1g and size=1024m.
    let changes_nothing = || match resolve(started_with, host) {
        Ok(now) => resolve(&started_with.with(option), host) == Ok(now),
        Err(_) => false,
    };
    is_for_others(option) || has_it(shown) || has_it(started_with) || changes_nothing()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::super::Accounts;
    use super::*;

    const SHOWN: &str = "rw,nosuid,nodev,relatime,rw,user_id=0,group_id=0,default_permissions,allow_other";

    struct Nobody;

    impl Accounts for Nobody {
        fn uid(&self, _: &str) -> Option<u32> {
            None
        }

        fn gid(&self, _: &str) -> Option<u32> {
            None
        }
    }

    fn after(asked: &str, started_with: &str) -> Result<MsFlags, String> {
        let host = Host {
            ram_pages: 1000,
            cpus: NonZeroUsize::MIN,
            uid: 0,
            gid: 0,
            selinux: false,
            accounts: &Nobody,
        };
        let parse = |text| RawOptions::parse(text).unwrap();
        let in_force = InForce {
            shown: &parse(SHOWN),
            started_with: &parse(started_with),
        };
        remount(&parse(asked), in_force, &host).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_change_and_others_stay() {
        let (nosuid, nodev) = (MsFlags::MS_NOSUID, MsFlags::MS_NODEV);
        assert_eq!(after("remount,ro", "").unwrap(), nosuid | nodev | MsFlags::MS_RDONLY);
        assert_eq!(
            after("remount,ro,rw,noexec", "").unwrap(),
            nosuid | nodev | MsFlags::MS_NOEXEC
        );
        assert_eq!(after("suid,remount,dev", "").unwrap(), MsFlags::empty());
        let as_mount_passes_it_on = format!("{SHOWN},remount,ro,x-a=b,nofail,comment=c");
        assert_eq!(
            after(&as_mount_passes_it_on, "").unwrap(),
            nosuid | nodev | MsFlags::MS_RDONLY
        );
    }

    #[test]
    fn what_is_in_force_is_no_change() {
        let fstab = "size=2g,mand,mode=1777";
        after("remount,size=2g,mand,ro", fstab).unwrap();
        after(
            "remount,size=2048m,mand=full,mode=01777,exclude=a",
            "size=2g,mand,exclude=a,exclude=b",
        )
        .unwrap();
        after("remount,relatime,atime,diratime,allow_other", fstab).unwrap();
    }

    #[test]
    fn what_would_be_a_change_is_refused_by_name() {
        for (asked, name) in [
            ("remount,size=3g", "size=3g"),
            ("size=2g,remount,size=3g", "size=3g"),
            ("remount,mand=off", "mand=off"),
            ("remount,noatime", "noatime"),
            ("remount,strictatime", "strictatime"),
            ("remount,nodiratime", "nodiratime"),
            ("remount,dirsync", "dirsync"),
            ("remount,user_id=7", "user_id=7"),
            ("remount,no such thing", "no such thing"),
        ] {
            let message = after(asked, "size=2g,mand").unwrap_err();
            assert!(message.starts_with(&format!("option {name:?} is refused")), "{message}");
            assert!(!message.contains('\n'));
        }
    }
}

//! The options as written to what they mean: the table of every option by name. Later options win over earlier ones
//! they contradict, as in mount(8).

use std::num::NonZeroUsize;

use nix::mount::MsFlags;

use super::{Access, Host, IoMode, MountOptions, OptionError, Problem, RawOption, RawOptions, value};
use crate::clean::Exclude;
use crate::types::{AtimePolicy, Mandatory, Rules, Settings};

/// The most threads `workers=` may ask for.
const MAX_WORKERS: usize = 64;
/// The fewest threads there are without `workers=`: one may have to wait for what another is about to free.
const FEWEST_WORKERS: usize = 2;
/// The most threads there are without `workers=`.
const DEFAULT_WORKERS: usize = 8;
/// `mode=` of tmpfs when nothing is said: everybody, sticky.
const DEFAULT_MODE: u32 = 0o1777;

const WANT_NUMBER: &str = "a number from 0 (no limit) with an optional suffix k, m, g, t, p or e";
const WANT_SIZE: &str =
    "bytes with an optional suffix k, m, g, t, p or e, a percentage of memory such as 50%, or 0 for no limit";

/// What the options mean on this machine. Errors name the first option that cannot be honoured.
pub fn resolve(raw: &RawOptions, host: &Host) -> Result<MountOptions, OptionError> {
    let mut resolver = Resolver::new(host);
    for option in raw.iter() {
        resolver.take(option)?;
    }
    resolver.finish()
}

/// The same, as if options that nobody knows were not there (mount(8), `-s`).
pub fn resolve_known(raw: &RawOptions, host: &Host) -> Result<MountOptions, OptionError> {
    let mut resolver = Resolver::new(host);
    for option in raw.iter() {
        match resolver.take(option) {
            Err(error) if error.problem == Problem::Unknown => {}
            other => other?,
        }
    }
    resolver.finish()
}

/// What was understood so far.
struct Resolver<'a> {
    host: &'a Host<'a>,
    options: MountOptions,
    /// The last option that asked for more trust than an ordinary user can give.
    privileged: Vec<(MsFlags, RawOption)>,
}

impl<'a> Resolver<'a> {
    fn new(host: &'a Host<'a>) -> Resolver<'a> {
        let half = host.ram_pages / 2;
        let settings = Settings {
            max_bytes: value::pages_to_bytes(half),
            max_inodes: Some(half),
            user_bytes: None,
            user_inodes: None,
            root_perm: DEFAULT_MODE,
            root_uid: host.uid,
            root_gid: host.gid,
            umask: 0,
            rules: Rules::default(),
            atime: AtimePolicy::default(),
            diratime: true,
            mandatory: Mandatory::Marked,
        };
        let access = if host.uid == 0 {
            Access::Everyone
        } else {
            Access::Mounter
        };
        let workers = host.cpus.get().clamp(FEWEST_WORKERS, DEFAULT_WORKERS);
        let workers = NonZeroUsize::new(workers).unwrap_or(host.cpus);
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let options = MountOptions {
            settings,
            flags,
            security: Vec::new(),
            access,
            workers,
            io: IoMode::default(),
            max_age: None,
            exclude: Vec::new(),
        };
        Resolver {
            host,
            options,
            privileged: Vec::new(),
        }
    }

    /// Takes one option: the families in turn, until one knows the name.
    fn take(&mut self, option: &RawOption) -> Result<(), OptionError> {
        let known = self.take_value(option)?
            || self.take_ageing(option)?
            || self.take_rule(option)?
            || self.take_security(option)?
            || self.take_flag(option)?
            || self.take_atime(option)?
            || is_for_others(option);
        if known {
            return Ok(());
        }
        Err(option.problem(refusal(&option.name).map_or(Problem::Unknown, Problem::Refused)))
    }

    /// Options with a value that change the filesystem itself.
    fn take_value(&mut self, option: &RawOption) -> Result<bool, OptionError> {
        let settings = &mut self.options.settings;
        let size = |text: &str| value::size(text, self.host.ram_pages);
        match option.name.as_str() {
            "size" => settings.max_bytes = limit(parsed(option, "size=1g", WANT_SIZE, size)?),
            "user_size" => settings.user_bytes = limit(parsed(option, "user_size=1g", WANT_SIZE, size)?),
            "nr_blocks" => {
                let pages = |text: &str| value::number(text).and_then(value::pages_to_bytes);
                settings.max_bytes = limit(parsed(option, "nr_blocks=256k", WANT_NUMBER, pages)?);
            }
            "nr_inodes" => settings.max_inodes = limit(parsed(option, "nr_inodes=1m", WANT_NUMBER, value::number)?),
            "user_inodes" => {
                settings.user_inodes = limit(parsed(option, "user_inodes=100k", WANT_NUMBER, value::number)?);
            }
            "mode" => {
                let wanted = "permission bits in octal, 0 to 7777";
                settings.root_perm = parsed(option, "mode=1777", wanted, value::mode)?;
            }
            "uid" => {
                let lookup = |text: &str| value::id(text).or_else(|| self.host.accounts.uid(text));
                settings.root_uid = parsed(option, "uid=0", "the number or name of a user", lookup)?;
            }
            "gid" => {
                let lookup = |text: &str| value::id(text).or_else(|| self.host.accounts.gid(text));
                settings.root_gid = parsed(option, "gid=0", "the number or name of a group", lookup)?;
            }
            "umask" => {
                let bits = |text: &str| value::mode(text).filter(|mask| *mask <= 0o777);
                settings.umask = parsed(option, "umask=077", "permission bits in octal, 0 to 777", bits)?;
            }
            "workers" => self.options.workers = parsed(option, "workers=4", "a number of threads, 1 to 64", workers)?,
            "mand" if option.value.is_none() => settings.mandatory = Mandatory::Full,
            "mand" => settings.mandatory = parsed(option, "mand=marked", "marked, full, all or off", value::mandatory)?,
            "nomand" if option.value.is_some() => return Err(option.problem(Problem::ValueUnexpected)),
            "nomand" => settings.mandatory = Mandatory::Off,
            "io" => self.options.io = parsed(option, "io=auto", "auto, passthrough or cached", value::io_mode)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What the cleaner goes by.
    fn take_ageing(&mut self, option: &RawOption) -> Result<bool, OptionError> {
        match option.name.as_str() {
            "max_age" => {
                let age = parsed(option, "max_age=10d", value::WANT_DURATION, value::duration)?;
                self.options.max_age = (!age.is_zero()).then_some(age);
            }
            "exclude" => {
                let pattern = |text: &str| Exclude::new(&[text]).ok().map(|_| text.to_owned());
                let wanted = "a shell pattern of a path below the mount, in quotation marks if it has a comma";
                self.options
                    .exclude
                    .push(parsed(option, "exclude=.X11-unix", wanted, pattern)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// How the rules for sticky directories are enforced.
    fn take_rule(&mut self, option: &RawOption) -> Result<bool, OptionError> {
        let rules = &mut self.options.settings.rules;
        let (rule, example) = match option.name.as_str() {
            "symlinks" => (&mut rules.symlinks, "symlinks=on"),
            "hardlinks" => (&mut rules.hardlinks, "hardlinks=on"),
            "squatting" => (&mut rules.squatting, "squatting=on"),
            _ => return Ok(false),
        };
        *rule = parsed(option, example, "on, strict, log or off", value::enforcement)?;
        Ok(true)
    }

    /// SELinux labels: for the kernel, which refuses them where there is no SELinux; mount(8) leaves them out there.
    fn take_security(&mut self, option: &RawOption) -> Result<bool, OptionError> {
        let name = option.name.as_str();
        if !matches!(name, "context" | "fscontext" | "defcontext" | "rootcontext") {
            return Ok(false);
        }
        let label = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let value = parsed(option, "context=system_u:object_r:tmp_t:s0", "an SELinux label", label)?;
        if self.host.selinux {
            if self.host.uid != 0 {
                return Err(option.problem(Problem::Refused("only root may label a mount")));
            }
            self.options.security.push(format!("{name}=\"{value}\""));
        }
        Ok(true)
    }

    /// Options without a value, except those about access times.
    fn take_flag(&mut self, option: &RawOption) -> Result<bool, OptionError> {
        let Some((set, clear)) = flag(&option.name) else {
            return Ok(false);
        };
        if option.name == "allow_other" {
            self.options.access = Access::Everyone;
        }
        // mount(8) itself writes `user=NAME` where a user mounted.
        if option.value.is_some() && option.name != "user" {
            return Err(option.problem(Problem::ValueUnexpected));
        }
        self.options.flags = (self.options.flags | set) - clear;
        if clear.intersects(MsFlags::MS_NOSUID | MsFlags::MS_NODEV) {
            self.privileged.push((clear, option.clone()));
        }
        Ok(true)
    }

    /// Access times. The kernel leaves them to the server of a FUSE mount, so they are settings as well as flags.
    fn take_atime(&mut self, option: &RawOption) -> Result<bool, OptionError> {
        let settings = &mut self.options.settings;
        match option.name.as_str() {
            "noatime" => settings.atime = AtimePolicy::NoAtime,
            "relatime" => settings.atime = AtimePolicy::Relatime,
            "strictatime" => settings.atime = AtimePolicy::Strict,
            "atime" if settings.atime == AtimePolicy::NoAtime => settings.atime = AtimePolicy::Relatime,
            "nostrictatime" if settings.atime == AtimePolicy::Strict => settings.atime = AtimePolicy::Relatime,
            // The kernel goes by relatime where nothing else is said, so there is nothing to turn off.
            "atime" | "norelatime" | "nostrictatime" => {}
            "diratime" => settings.diratime = true,
            "nodiratime" => settings.diratime = false,
            _ => return Ok(false),
        }
        if option.value.is_some() {
            return Err(option.problem(Problem::ValueUnexpected));
        }
        Ok(true)
    }

    /// The whole: what only all options together can say.
    fn finish(self) -> Result<MountOptions, OptionError> {
        let mut options = self.options;
        if self.host.uid != 0 {
            let trusted = self.privileged.iter().rfind(|(flag, _)| !options.flags.contains(*flag));
            if let Some((_, option)) = trusted {
                return Err(option.problem(Problem::Refused("only root may make a mount that is not nosuid,nodev")));
            }
        }
        options.flags |= match options.settings.atime {
            AtimePolicy::NoAtime => MsFlags::MS_NOATIME,
            AtimePolicy::Relatime => MsFlags::MS_RELATIME,
            AtimePolicy::Strict => MsFlags::MS_STRICTATIME,
        };
        if !options.settings.diratime {
            options.flags |= MsFlags::MS_NODIRATIME;
        }
        Ok(options)
    }
}

/// The flags of mount(2) that an option without a value sets and clears.
pub(super) fn flag(name: &str) -> Option<(MsFlags, MsFlags)> {
    let none = MsFlags::empty();
    Some(match name {
        "defaults" | "inode64" | "silent" | "loud" | "default_permissions" | "allow_other" => (none, none),
        "ro" => (MsFlags::MS_RDONLY, none),
        "rw" => (none, MsFlags::MS_RDONLY),
        "suid" => (none, MsFlags::MS_NOSUID),
        "nosuid" => (MsFlags::MS_NOSUID, none),
        "dev" => (none, MsFlags::MS_NODEV),
        "nodev" => (MsFlags::MS_NODEV, none),
        "exec" => (none, MsFlags::MS_NOEXEC),
        "noexec" => (MsFlags::MS_NOEXEC, none),
        "sync" => (MsFlags::MS_SYNCHRONOUS, none),
        "async" => (none, MsFlags::MS_SYNCHRONOUS),
        "dirsync" => (MsFlags::MS_DIRSYNC, none),
        "lazytime" => (MsFlags::MS_LAZYTIME, none),
        "nolazytime" => (none, MsFlags::MS_LAZYTIME),
        // fstab(5): who may mount it; it also takes trust away, unless a later option gives it back.
        "user" | "users" => (MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, none),
        "owner" | "group" => (MsFlags::MS_NOSUID | MsFlags::MS_NODEV, none),
        _ => return None,
    })
}

/// Zero is no limit.
fn limit(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

/// The value of `option` through `parse`; `example` and `wanted` are for the message when there is none or it is bad.
fn parsed<T>(
    option: &RawOption,
    example: &'static str,
    wanted: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, OptionError> {
    let text = option
        .value
        .as_deref()
        .ok_or_else(|| option.problem(Problem::ValueMissing(example)))?;
    parse(text).ok_or_else(|| option.problem(Problem::BadValue(wanted)))
}

/// A number of worker threads.
fn workers(text: &str) -> Option<NonZeroUsize> {
    let workers = usize::try_from(value::number(text)?).ok()?;
    NonZeroUsize::new(workers).filter(|workers| workers.get() <= MAX_WORKERS)
}

/// What fstab(5) lines carry for mount(8), systemd and people; it means nothing to a filesystem.
pub(super) fn is_for_others(option: &RawOption) -> bool {
    let name = option.name.as_str();
    let bare = [
        "auto", "noauto", "nouser", "nousers", "noowner", "nogroup", "_netdev", "nofail",
    ];
    bare.contains(&name) && option.value.is_none()
        || name == "comment"
        || name.starts_with("x-")
        || name.starts_with("X-")
}

/// Why an option that people know from elsewhere is not taken.
fn refusal(name: &str) -> Option<&'static str> {
    Some(match name {
        "allow_root" => "it would shut out everybody but you and root; leave it out, or use allow_other and mode=0700",
        "huge" => "contents are not kept in huge pages on request; leave it out",
        "mpol" => "memory is placed by the policy of the daemon; start it with numactl(8) instead",
        "noswap" => "contents may be swapped; turn swap off for the daemon's cgroup instead (memory.swap.max=0)",
        "inode32" => "inode numbers are 64 bits wide and never reused; leave it out",
        "quota"
        | "usrquota"
        | "grpquota"
        | "usrquota_block_hardlimit"
        | "usrquota_inode_hardlimit"
        | "grpquota_block_hardlimit"
        | "grpquota_inode_hardlimit" => {
            "there are no quotas; user_size= and user_inodes= limit each user, size= and nr_inodes= the whole mount"
        }
        "casefold" | "strict_encoding" => "names are bytes and case matters",
        "remount" => "it is an operation on an existing mount, and the first option then: mount -o remount,...",
        "bind" | "rbind" | "move" | "shared" | "slave" | "private" | "unbindable" | "rshared" | "rslave"
        | "rprivate" | "runbindable" => "it is an operation on an existing mount; use mount(8)",
        _ => return None,
    })
}

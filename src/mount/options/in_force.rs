//! The options that a mount is made with, each as `-o` takes it: what was said, and what was not said and is so by default.

use nix::mount::MsFlags;

use super::{Access, IoMode, MountOptions};
use crate::types::{AtimePolicy, Enforcement, Mandatory, Settings};

/// The flags of mount(2) with the words for being set and not.
const FLAGS: [(MsFlags, &str, &str); 7] = [
    (MsFlags::MS_RDONLY, "ro", "rw"),
    (MsFlags::MS_NOSUID, "nosuid", ""),
    (MsFlags::MS_NODEV, "nodev", ""),
    (MsFlags::MS_NOEXEC, "noexec", ""),
    (MsFlags::MS_SYNCHRONOUS, "sync", ""),
    (MsFlags::MS_DIRSYNC, "dirsync", ""),
    (MsFlags::MS_LAZYTIME, "lazytime", ""),
];

fn enforcement(value: Enforcement) -> &'static str {
    match value {
        Enforcement::Off => "off",
        Enforcement::Log => "log",
        Enforcement::On => "on",
        Enforcement::Strict => "strict",
    }
}

fn mandatory(value: Mandatory) -> &'static str {
    match value {
        Mandatory::Off => "off",
        Mandatory::Marked => "marked",
        Mandatory::Full => "full",
        Mandatory::All => "all",
    }
}

fn atime(value: AtimePolicy) -> &'static str {
    match value {
        AtimePolicy::NoAtime => "noatime",
        AtimePolicy::Relatime => "relatime",
        AtimePolicy::Strict => "strictatime",
    }
}

fn io(value: IoMode) -> &'static str {
    match value {
        IoMode::Auto => "auto",
        IoMode::Passthrough => "passthrough",
        IoMode::Cached => "cached",
    }
}

impl MountOptions {
    /// All that are in force but the flags. Limits of users, and what the cleaner goes by, only where there are any.
    pub fn in_force(&self) -> Vec<String> {
        // Taken apart, so that an option that is added is not forgotten here.
        let MountOptions {
            settings,
            flags: _,
            security,
            access,
            workers,
            io: mode,
            max_age,
            exclude,
        } = self;
        let mut all = of_settings(settings);
        all.push(format!("io={}", io(*mode)));
        all.push(format!("workers={workers}"));
        all.extend(max_age.map(|age| format!("max_age={}s", age.as_secs())));
        all.extend(exclude.iter().map(|pattern| match pattern.contains(',') {
            true => format!("exclude=\"{pattern}\""),
            false => format!("exclude={pattern}"),
        }));
        if *access == Access::Everyone {
            all.push("allow_other".to_owned());
        }
        all.extend(security.iter().cloned());
        all
    }

    /// The flags of mount(2) by name, as they were when it was mounted.
    pub fn flags_given(&self) -> Vec<String> {
        let words = FLAGS
            .iter()
            .map(|(flag, set, clear)| if self.flags.contains(*flag) { set } else { clear });
        words
            .filter(|word| !word.is_empty())
            .map(|word| (*word).to_owned())
            .collect()
    }
}

fn of_settings(settings: &Settings) -> Vec<String> {
    let Settings {
        max_bytes,
        max_inodes,
        user_bytes,
        user_inodes,
        root_perm,
        root_uid,
        root_gid,
        umask,
        rules,
        mandatory: mand,
        atime: times,
        diratime,
    } = settings;
    let mut all = vec![
        format!("size={}", max_bytes.unwrap_or(0)),
        format!("nr_inodes={}", max_inodes.unwrap_or(0)),
    ];
    all.extend(user_bytes.map(|bytes| format!("user_size={bytes}")));
    all.extend(user_inodes.map(|inodes| format!("user_inodes={inodes}")));
    all.extend([
        format!("mode={root_perm:04o}"),
        format!("uid={root_uid}"),
        format!("gid={root_gid}"),
        format!("umask={umask:03o}"),
        format!("symlinks={}", enforcement(rules.symlinks)),
        format!("hardlinks={}", enforcement(rules.hardlinks)),
        format!("squatting={}", enforcement(rules.squatting)),
        format!("mand={}", mandatory(*mand)),
        atime(*times).to_owned(),
        if *diratime { "diratime" } else { "nodiratime" }.to_owned(),
    ]);
    all
}

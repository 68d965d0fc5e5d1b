//! The options that a mount is made with, each as `-o` takes it: what was said, and what was not said and is so by default.

use nix::mount::MsFlags;

use super::{Access, IoMode, MountOptions};
use crate::types::{AtimePolicy, Enforcement, Mandatory};

/// The flags of mount(2) with the words for being set and not.
const FLAGS: [(MsFlags, &str, &str); 7] = [
    (MsFlags::MS_RDONLY, "ro", "rw"),
    (MsFlags::MS_NOSUID, "nosuid", "suid"),
    (MsFlags::MS_NODEV, "nodev", "dev"),
    (MsFlags::MS_NOEXEC, "noexec", "exec"),
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

impl MountOptions {
    /// All that are in force. Limits of users only where there are any.
    pub fn in_force(&self) -> Vec<String> {
        let settings = &self.settings;
        let number = |name: &str, value: u64| format!("{name}={value}");
        let mut all: Vec<String> = vec![
            number("size", settings.max_bytes.unwrap_or(0)),
            number("nr_inodes", settings.max_inodes.unwrap_or(0)),
        ];
        all.extend(settings.user_bytes.map(|bytes| number("user_size", bytes)));
        all.extend(settings.user_inodes.map(|inodes| number("user_inodes", inodes)));
        all.extend([
            format!("mode={:04o}", settings.root_perm),
            number("uid", settings.root_uid.into()),
            number("gid", settings.root_gid.into()),
            format!("umask={:03o}", settings.umask),
            format!("symlinks={}", enforcement(settings.rules.symlinks)),
            format!("hardlinks={}", enforcement(settings.rules.hardlinks)),
            format!("squatting={}", enforcement(settings.rules.squatting)),
            format!("mand={}", mandatory(settings.mandatory)),
            format!(
                "io={}",
                match self.io {
                    IoMode::Auto => "auto",
                    IoMode::Passthrough => "passthrough",
                    IoMode::Cached => "cached",
                }
            ),
            format!("workers={}", self.workers),
        ]);
        let flags = FLAGS
            .iter()
            .map(|(flag, set, clear)| if self.flags.contains(*flag) { set } else { clear });
        all.extend(flags.filter(|word| !word.is_empty()).map(|word| (*word).to_owned()));
        all.push(atime(settings.atime).to_owned());
        all.push(if settings.diratime { "diratime" } else { "nodiratime" }.to_owned());
        if self.access == Access::Everyone {
            all.push("allow_other".to_owned());
        }
        all.extend(self.security.iter().cloned());
        all
    }
}

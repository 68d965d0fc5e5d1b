//! /proc/thread-self/mountinfo: which mounts there are and which of them a path leads to. Reading it touches no mount, so it
//! is safe where a stat(2) could hang on a dead or busy one. Parsing is pure.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What stands as the source of our mounts, and after `fuse.` as their type.
pub const NAME: &str = "owltmp";

/// The number of a mount in the kernel; reused after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MountId(pub u64);

/// The device number of a mounted filesystem, `major:minor`. It is not given out again before the filesystem is gone, in no
/// namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device(pub u32, pub u32);

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its number.
    pub id: MountId,
    /// The number of the mount it sits on.
    pub parent: MountId,
    /// The filesystem.
    pub device: Device,
    /// The directory of the filesystem that is its root.
    pub root: PathBuf,
    /// Where it sits.
    pub mountpoint: PathBuf,
    /// Its type, as in `fuse.owltmp`.
    pub fstype: OsString,
    /// Of a FUSE mount: who made it.
    pub user: Option<u32>,
    /// What is set of this mount, as in `rw,nosuid`, and then of the filesystem, as in `rw,user_id=0`.
    pub options: String,
}

impl Mount {
    /// Its flags and those of its filesystem, by name. Where either is read-only, it is.
    pub fn flags(&self) -> Vec<&str> {
        let of_fuse = ["default_permissions", "allow_other"];
        let words = self.options.split(',');
        let words = words.filter(|word| !word.contains('=') && !of_fuse.contains(word));
        let mut flags = Vec::new();
        for word in words {
            if !flags.contains(&word) {
                flags.push(word);
            }
        }
        let is_read_only = flags.contains(&"ro");
        flags.retain(|word| !is_read_only || *word != "rw");
        flags
    }

    /// Whether a server answers for it that may never do.
    pub fn is_fuse(&self) -> bool {
        let fstype = self.fstype.to_str();
        fstype.is_some_and(|fstype| fstype == "fuse" || fstype.starts_with("fuse."))
    }

    /// Whether it is one of ours.
    pub fn is_owltmp(&self) -> bool {
        self.fstype.to_str().and_then(|fstype| fstype.strip_prefix("fuse.")) == Some(NAME)
    }
}

/// All mounts this process can see.
#[derive(Clone, Debug, Default)]
pub struct MountTable(Vec<Mount>);

impl MountTable {
    /// The mounts as they are now.
    pub fn read() -> io::Result<MountTable> {
        Ok(MountTable::parse(&fs::read("/proc/thread-self/mountinfo")?))
    }

    /// Reads the text of mountinfo; lines it does not understand are left out.
    pub fn parse(text: &[u8]) -> MountTable {
        MountTable(text.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
    }

    /// The mount that is at `path`, on top of all others there; `None` if no mount is at it, or only ones that a
    /// mount further up hides. `path` is absolute, without symlinks and dots.
    pub fn at(&self, path: &Path) -> Option<&Mount> {
        self.containing(path).filter(|mount| mount.mountpoint == path)
    }

    /// A mount of the filesystem, whatever is mounted over it.
    pub fn of(&self, device: Device) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.device == device)
    }

    /// The mount of that number.
    pub fn get(&self, id: MountId) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.id == id)
    }

    /// Whether the mount of that number is one of the filesystem.
    pub fn is_mount_of(&self, id: u64, device: Device) -> bool {
        self.get(MountId(id)).is_some_and(|mount| mount.device == device)
    }

    /// All mounts of ours.
    pub fn ours(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(|mount| mount.is_owltmp())
    }

    /// All mounts of the filesystem.
    pub fn of_device(&self, device: Device) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| mount.device == device)
    }

    /// The mounts that sit on those of the filesystem, each with the one it sits on.
    pub fn on_device(&self, device: Device) -> impl Iterator<Item = (&Mount, &Mount)> {
        // Anybody can make a hundred thousand mounts in a namespace of his own.
        let ours: HashMap<MountId, &Mount> = self.of_device(device).map(|mount| (mount.id, mount)).collect();
        self.0.iter().filter_map(move |mount| {
            let on = ours.get(&mount.parent).filter(|on| on.id != mount.id)?;
            Some((mount, *on))
        })
    }

    /// The mounts that sit on one which is not in the table, but for that at the root: where the table is that of a process which
    /// chroot(2) has put below a mount, they sit on that one, and their places are relative to its root.
    pub fn orphans(&self) -> impl Iterator<Item = &Mount> {
        let known: HashSet<MountId> = self.0.iter().map(|mount| mount.id).collect();
        let others = self.0.iter().filter(|mount| mount.mountpoint != Path::new("/"));
        others.filter(move |mount| !known.contains(&mount.parent))
    }

    /// The mount that `path` leads into, walking as the kernel does: from the root down, at each step into the first
    /// mount on the way that sits on the one reached so far.
    pub fn containing(&self, path: &Path) -> Option<&Mount> {
        let known = |id: MountId| self.0.iter().any(|mount| mount.id == id);
        let mut reached: Option<&Mount> = None;
        // Every step goes one mount up the tree; the bound is for a table that lies.
        for _ in 0..=self.0.len() {
            let sits_here = |mount: &&Mount| match reached {
                Some(reached) => mount.parent == reached.id && mount.id != reached.id,
                None => mount.parent == mount.id || !known(mount.parent),
            };
            let next = self
                .0
                .iter()
                .filter(sits_here)
                .filter(|mount| path.starts_with(&mount.mountpoint));
            let Some(next) = next.min_by_key(|mount| mount.mountpoint.components().count()) else {
                break;
            };
            reached = Some(next);
        }
        reached
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue` (proc_pid_mountinfo(5)).
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = MountId(decimal(fields.next()?)?);
    let parent = MountId(decimal(fields.next()?)?);
    let device = std::str::from_utf8(fields.next()?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let device = Device(major.parse().ok()?, minor.parse().ok()?);
    let root = PathBuf::from(unescaped(fields.next()?));
    let mountpoint = PathBuf::from(unescaped(fields.next()?));
    let of_mount = fields.next()?;
    let mut fields = fields.skip_while(|field| *field != b"-");
    let fstype = unescaped(fields.nth(1)?);
    // The source stands between.
    let of_filesystem = fields.nth(1).unwrap_or_default();
    let user = user_id(of_filesystem);
    let options = [of_mount, of_filesystem].map(String::from_utf8_lossy).join(",");
    Some(Mount {
        id,
        parent,
        device,
        root,
        mountpoint,
        fstype,
        user,
        options,
    })
}

/// Of the options of the filesystem: who made a FUSE mount.
fn user_id(options: &[u8]) -> Option<u32> {
    let values = options.split(|byte| *byte == b',');
    let value = values.filter_map(|option| option.strip_prefix(b"user_id=")).next()?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn decimal(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The kernel writes blank, tab, newline and backslash as a backslash and three octal digits; so does fstab(5).
pub fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escaped = match rest {
            [b'\\', code @ ..] if code.len() >= 3 => octal_byte(&code[..3]),
            _ => None,
        };
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

fn octal_byte(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &[u8] = b"\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
23 22 0:21 / /proc rw shared:5 - proc proc rw\n\
30 22 0:30 / /tmp rw - tmpfs tmpfs rw\n\
31 30 0:44 / /tmp rw,nosuid - fuse.owltmp owltmp rw,sync,user_id=1000,group_id=7\n\
32 22 0:45 / /mnt/a\\040b\\134 rw - fuse.owltmp owltmp rw\n\
33 22 0:46 / /hidden/below rw - fuse.owltmp owltmp rw\n\
34 22 0:47 / /hidden rw - tmpfs tmpfs rw\n\
35 22 0:48 / /s rw - fuse.sshfs me@there rw\n";

    fn id_at(path: &str) -> Option<u64> {
        MountTable::parse(TABLE).at(Path::new(path)).map(|mount| mount.id.0)
    }

    #[test]
    fn the_mount_on_top_is_found() {
        assert_eq!(id_at("/"), Some(22));
        assert_eq!(id_at("/proc"), Some(23));
        assert_eq!(id_at("/tmp"), Some(31));
        assert_eq!(id_at("/mnt/a b\\"), Some(32));
        assert_eq!(id_at("/tmp/below"), None);
        assert_eq!(id_at("/mn"), None);
    }

    #[test]
    fn a_mount_hidden_by_one_further_up_is_not_found() {
        assert_eq!(id_at("/hidden/below"), None);
        assert_eq!(id_at("/hidden"), Some(34));
    }

    #[test]
    fn ours_are_told_by_their_type() {
        let table = MountTable::parse(TABLE);
        let options = |path: &str| table.at(Path::new(path)).map(|mount| mount.options.clone());
        assert_eq!(
            options("/tmp").as_deref(),
            Some("rw,nosuid,rw,sync,user_id=1000,group_id=7")
        );
        assert_eq!(options("/proc").as_deref(), Some("rw,rw"));
        let ours = |path: &str| table.at(Path::new(path)).is_some_and(Mount::is_owltmp);
        assert!(ours("/tmp"));
        let of = |minor| MountTable::parse(TABLE).of(Device(0, minor)).map(|mount| mount.id.0);
        assert_eq!((of(30), of(99)), (Some(30), None));
        assert!(!ours("/s") && !ours("/") && !ours("/hidden"));
        let table = MountTable::parse(TABLE);
        let users: Vec<Option<u32>> = table.ours().map(|mount| mount.user).collect();
        assert_eq!(users, [Some(1000), None, None]);
        let mut ours = table.of(Device(0, 44)).unwrap().clone();
        assert_eq!(ours.flags(), ["rw", "nosuid", "sync"]);
        "rw,nodev,ro,user_id=7,allow_other".clone_into(&mut ours.options);
        assert_eq!(ours.flags(), ["nodev", "ro"]);
        assert_eq!(Device(0, 44).to_string(), "0:44");
        assert_eq!(
            table.at(Path::new("/tmp")).map(|mount| mount.device),
            Some(Device(0, 44))
        );
    }

    #[test]
    fn a_root_that_is_no_mount_is_no_obstacle() {
        let table = MountTable::parse(b"40 7 0:9 / /tmp rw - fuse.owltmp owltmp rw\n");
        assert!(table.at(Path::new("/tmp")).is_some());
        assert!(table.at(Path::new("/")).is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = MountTable::parse(&text).at(Path::new("/tmp"));
        }

        #[test]
        fn any_shape_of_tree_comes_to_an_end(links in prop::collection::vec((0..6u64, 0..6u64), 0..12)) {
            let mut text = String::new();
            for (id, parent) in links {
                text.push_str(&format!("{id} {parent} 0:1 / /tmp rw - tmpfs tmpfs rw\n"));
            }
            let _ = MountTable::parse(text.as_bytes()).at(Path::new("/tmp"));
        }
    }
}

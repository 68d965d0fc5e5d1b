//! What the cleaner cannot know by itself. Which places below a mount are mount points, or are mounted elsewhere: removing such a
//! directory would take the mount away, or leave it without a name. And which directories are held by flock(2), of which the
//! kernel tells no filesystem. Seen is what /proc shows us: the namespaces and locks of all processes there are in it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::clean::{self, Place};
use crate::sys::mountinfo::{Device, Mount, MountTable};
use crate::sys::remote::{PATIENCE, patiently};
use crate::types::Ino;

/// The surroundings of one mount.
#[derive(Debug)]
pub struct Surroundings {
    device: Device,
    /// The path of its root in the filesystem's own tree.
    root: &'static str,
}

impl Surroundings {
    /// Those of this one.
    pub fn of(device: Device, root: &'static str) -> Surroundings {
        Surroundings { device, root }
    }
}

impl clean::Surroundings for Surroundings {
    fn mounted(&self) -> Vec<Place> {
        places_in_use(Path::new("/proc"), self.device, self.root)
    }

    fn flocked(&self) -> HashSet<Ino> {
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        locks.lines().filter_map(|line| flock_on(line, self.device)).collect()
    }
}

/// `1: FLOCK  ADVISORY  WRITE 2375 00:2c:17 0 EOF` (proc_locks(5)): the inode, where it is of the filesystem.
fn flock_on(line: &str, Device(major, minor): Device) -> Option<Ino> {
    let mut fields = line.split_whitespace().skip_while(|field| *field != "FLOCK");
    let mut place = fields.nth(4)?.split(':');
    let mut hexadecimal = || u32::from_str_radix(place.next()?, 16).ok();
    if (hexadecimal()?, hexadecimal()?) != (major, minor) {
        return None;
    }
    place.next()?.parse().ok().map(Ino)
}

/// The places in all namespaces.
fn places_in_use(proc: &Path, device: Device, root: &str) -> Vec<Place> {
    let mut views = HashSet::new();
    let mut places = HashSet::new();
    let Ok(processes) = fs::read_dir(proc) else {
        return Vec::new();
    };
    for process in processes.flatten() {
        let is_process = process.file_name().as_bytes().iter().all(u8::is_ascii_digit);
        if !is_process {
            continue;
        }
        // Whoever ends meanwhile, or is not ours to look at, is passed by.
        let view = match view_of(process.path()) {
            Some(Ok(view)) if views.contains(&view) => continue,
            Some(Ok(view)) => Some(view),
            Some(Err(_)) => continue,
            // Somebody wants us to wait for ever, perhaps.
            None => None,
        };
        if let Ok(text) = fs::read(process.path().join("mountinfo")) {
            // Only now: of one that has ended since, others may have the same view.
            views.extend(view);
            let table = MountTable::parse(&text);
            let of_root = |path| Place { from: Ino::ROOT, path };
            places.extend(places_in(&table, device, Path::new(root)).into_iter().map(of_root));
            places.extend(places_below_root(&table, device, process.path()));
        }
    }
    places.into_iter().collect()
}

/// The mount namespace and the root directory of a process, which are what its mountinfo depends on; `None` where that takes too long.
fn view_of(process: PathBuf) -> Option<io::Result<(PathBuf, PathBuf)>> {
    patiently(PATIENCE, move || {
        let namespace = fs::read_link(process.join("ns/mnt"))?;
        Ok((namespace, fs::read_link(process.join("root")).unwrap_or_default()))
    })
}

/// The mount points of a process whose root directory is below the mount (chroot(2)), and whose table does not show that one.
fn places_below_root(table: &MountTable, device: Device, process: PathBuf) -> Vec<Place> {
    let orphans: Vec<&Mount> = table.orphans().collect();
    // Hardly anybody has any, and only then it matters where his root is.
    if orphans.is_empty() {
        return Vec::new();
    }
    let Some(from) = root_in(device, process) else {
        return Vec::new();
    };
    let path = |mount: &Mount| mount.mountpoint.as_os_str().as_bytes().to_vec();
    let place = |mount| Place {
        from,
        path: path(mount),
    };
    orphans.into_iter().map(place).collect()
}

/// The root directory of a process, where it is one of the filesystem. No server is asked, not even ours.
fn root_in(device: Device, process: PathBuf) -> Option<Ino> {
    let look = move || statx(CWD, process.join("root"), AtFlags::STATX_DONT_SYNC, StatxFlags::INO);
    let stat = patiently(PATIENCE, look)?.ok()?;
    (Device(stat.stx_dev_major, stat.stx_dev_minor) == device).then_some(Ino(stat.stx_ino))
}

/// The paths in one namespace, from the root of the mount.
fn places_in(table: &MountTable, device: Device, root: &Path) -> Vec<Vec<u8>> {
    let below = |path: &Path| Some(path.strip_prefix(root).ok()?.as_os_str().as_bytes().to_vec());
    let mounted_elsewhere = table.of_device(device).filter_map(|mount| below(&mount.root));
    let mounted_on = table.on_device(device).filter_map(|(mount, on)| {
        let inside = mount.mountpoint.strip_prefix(&on.mountpoint).ok()?;
        below(&on.root.join(inside))
    });
    mounted_elsewhere
        .chain(mounted_on)
        .filter(|path| !path.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 254:0 / / rw - ext4 /dev/vda rw\n\
31 22 0:44 /tree /tmp rw - fuse.owltmp owltmp rw\n\
32 31 0:50 / /tmp/on\\040it rw - tmpfs tmpfs rw\n\
33 22 0:44 /tree/private/tmp /mnt rw - fuse.owltmp owltmp rw\n\
34 33 0:51 / /mnt/deep/er rw - tmpfs tmpfs rw\n\
35 32 0:52 / /tmp/on\\040it/sub rw - tmpfs tmpfs rw\n\
36 22 0:44 /tree/gone//deleted /mnt2 rw - fuse.owltmp owltmp rw\n\
37 22 0:45 /tree/x /mnt3 rw - fuse.owltmp owltmp rw\n";

    #[test]
    fn mount_points_and_roots_of_mounts_are_found() {
        let mut places = places_in(&MountTable::parse(TABLE), Device(0, 44), Path::new("/tree"));
        places.sort();
        let expected: [&[u8]; 4] = [b"gone//deleted", b"on it", b"private/tmp", b"private/tmp/deep/er"];
        assert_eq!(places, expected);
    }

    #[test]
    fn who_ends_meanwhile_hides_nobodys_view() {
        let proc = tempfile::tempdir().unwrap();
        for pid in 1..50 {
            let process = proc.path().join(pid.to_string());
            fs::create_dir_all(process.join("ns")).unwrap();
            std::os::unix::fs::symlink("mnt:[1]", process.join("ns/mnt")).unwrap();
        }
        fs::write(proc.path().join("25/mountinfo"), TABLE).unwrap();
        assert_eq!(places_in_use(proc.path(), Device(0, 44), "/tree").len(), 4);
    }

    #[test]
    fn locks_of_flock_are_found() {
        let ours = |line| flock_on(line, Device(0, 44));
        assert_eq!(ours("1: FLOCK  ADVISORY  WRITE 2375 00:2c:17 0 EOF"), Some(Ino(17)));
        assert_eq!(ours("12: FLOCK  ADVISORY  READ  7 00:2c:18 0 EOF"), Some(Ino(18)));
        for line in [
            "1: -> FLOCK  ADVISORY  WRITE 2375 00:2d:17 0 EOF",
            "2: POSIX  ADVISORY  WRITE 2375 00:2c:17 0 EOF",
            "3: FLOCK  ADVISORY",
            "4: FLOCK  ADVISORY  WRITE 2375 zz:2c:17 0 EOF",
            "",
        ] {
            assert_eq!(ours(line), None, "{line}");
        }
    }

    #[test]
    fn a_root_at_the_top_is_no_obstacle() {
        let table = MountTable::parse(b"31 22 0:44 / /tmp rw - fuse.owltmp o rw\n32 31 0:1 / /tmp/a rw - tmpfs t rw\n");
        assert_eq!(places_in(&table, Device(0, 44), Path::new("/")), [b"a"]);
    }
}

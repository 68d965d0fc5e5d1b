//! `-o remount,...`: other flags for a mount that is there. The daemon has no part in it.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::error::Error;
use super::options::{self, Host, InForce, RawOptions};
use super::place;
use crate::sys::mountinfo::{self, MountTable};

/// What mount(8) reads, and passes on in a remount.
const FSTAB: &str = "/etc/fstab";

/// Whether it is done or only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is done.
    Made,
    /// What would be refused is refused, and nothing changes.
    None,
}

/// Gives the owltmp mount at `path` the flags that `asked` names, and leaves all others. `started_with` is what its daemon
/// says that it goes by; if it says nothing, the line of fstab must do.
pub fn remount(
    path: &Path,
    asked: &RawOptions,
    started_with: Option<RawOptions>,
    host: &Host,
    change: Change,
) -> Result<(), Error> {
    let place = place::find_mount(path)?;
    let table = MountTable::read().map_err(Error::system("/proc/thread-self/mountinfo"))?;
    let mount_there = table.at(&place).ok_or_else(|| Error::NotAMount(place.clone()))?;
    let shown = RawOptions::parse(&mount_there.options)?;
    let of_fstab = || fs::read(FSTAB).map(|text| in_fstab(&text, &place)).unwrap_or_default();
    let in_force = InForce {
        shown: &shown,
        started_with: &started_with.unwrap_or_else(of_fstab),
    };
    let flags = options::remount(asked, in_force, host)?;
    if change == Change::None {
        return Ok(());
    }
    set_flags(&place, flags).map_err(|error| Error::RemountRefused(place.clone(), error.into()))
}

fn set_flags(place: &Path, flags: MsFlags) -> nix::Result<()> {
    let none: Option<&str> = None;
    let directory = place::open_real(place)?;
    mount(
        none,
        &place::path_of(&directory),
        none,
        flags | MsFlags::MS_REMOUNT,
        none,
    )
}

/// The options of the last owltmp line for `place`; none where there is no such line.
fn in_fstab(text: &[u8], place: &Path) -> RawOptions {
    let options = |line: &[u8]| {
        let mut fields = line
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|field| !field.is_empty())
            .map(mountinfo::unescaped);
        let (source, at) = (fields.next()?, PathBuf::from(fields.next()?));
        let ours = matches!(fields.next()?.to_str()?, "owltmp" | "fuse.owltmp");
        if source.as_encoded_bytes().starts_with(b"#") || !ours || at != place {
            return None;
        }
        RawOptions::parse(fields.next()?.to_str()?).ok()
    };
    text.split(|byte| *byte == b'\n')
        .rev()
        .find_map(options)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_fstab_is_found() {
        let fstab = b"# owltmp /tmp owltmp size=1g\n\
            owltmp\t/tmp  owltmp size=2g,mand 0 0\n\
            tmpfs /tmp tmpfs size=3g\n\
            x /a\\040b fuse.owltmp context=\"a,b\" 0 0\n\
            owltmp /short owltmp";
        let options = |place: &str| in_fstab(fstab, Path::new(place)).to_string();
        assert_eq!(options("/tmp"), "size=2g,mand");
        assert_eq!(options("/a b"), "context=\"a,b\"");
        assert_eq!(options("/short"), "");
        assert_eq!(options("/elsewhere"), "");
    }
}

//! The systems that are compared: what they are called, which program serves them, and how it is started.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::args::Args;
use super::empty;
use super::machine::said;
use super::row::On;

/// Which filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tmpfs,
    Owltmp,
    /// A directory of a tmpfs again, as it is.
    Bindfs,
    /// Two directories as one, in user space.
    Unionfs,
    /// overlayfs in user space.
    FuseOverlayfs,
    /// The floor: see `empty`.
    Empty,
}

/// One of the compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// What reports call it.
    pub name: String,
    pub kind: Kind,
    /// The options of `-o`.
    pub options: String,
}

/// The name of the system to which the others are compared, and which is always there.
pub const BASE: &str = "tmpfs";
/// The name of the system that the aims are for.
pub const OURS: &str = "owltmp";

const KNOWN: [(&str, Kind, &str); 9] = [
    (BASE, Kind::Tmpfs, "mode=1777"),
    (OURS, Kind::Owltmp, "mode=1777"),
    ("owltmp-cached", Kind::Owltmp, "mode=1777,io=cached"),
    ("owltmp-full", Kind::Owltmp, "mode=1777,mand=full"),
    ("owltmp-off", Kind::Owltmp, "mode=1777,mand=off"),
    ("bindfs", Kind::Bindfs, "allow_other"),
    ("unionfs", Kind::Unionfs, "allow_other,default_permissions,cow"),
    ("fuse-overlayfs", Kind::FuseOverlayfs, "allow_other"),
    ("empty", Kind::Empty, "allow_other,default_permissions"),
];

/// Those asked for, tmpfs first.
pub fn chosen(args: &Args) -> Result<Vec<System>, String> {
    let known = |&(name, kind, options): &(&str, Kind, &str)| System {
        name: name.to_owned(),
        kind,
        options: options.to_owned(),
    };
    let mut systems: Vec<System> = KNOWN
        .iter()
        .filter(|(name, ..)| *name == BASE || args.systems.is_empty() || args.systems.iter().any(|it| it == name))
        .map(known)
        .collect();
    if let Some(unknown) = args
        .systems
        .iter()
        .find(|it| !KNOWN.iter().any(|(name, ..)| name == it))
    {
        let names = KNOWN.map(|(name, ..)| name).join(", ");
        return Err(format!("--systems {unknown}: no such system; there are {names}"));
    }
    for (name, options) in &args.with {
        if KNOWN.iter().any(|(it, ..)| it == name) {
            return Err(format!("--with {name}=: the name is taken"));
        }
        systems.push(System {
            name: name.clone(),
            kind: Kind::Owltmp,
            options: format!("mode=1777,{options}").trim_end_matches(',').to_owned(),
        });
    }
    Ok(systems)
}

impl System {
    /// True if a row of that kind makes sense here.
    pub fn takes(&self, on: On) -> bool {
        match on {
            On::Locks => matches!(self.kind, Kind::Owltmp | Kind::Tmpfs) && self.name != "owltmp-cached",
            _ if ["owltmp-full", "owltmp-off"].contains(&self.name.as_str()) => false,
            On::FilesAndFloor => true,
            On::Files => self.kind != Kind::Empty,
            On::Us => matches!(self.kind, Kind::Owltmp | Kind::Tmpfs),
            On::Owltmp => self.kind == Kind::Owltmp,
        }
    }

    /// Whether it shows a directory of another filesystem.
    pub fn has_below(&self) -> bool {
        matches!(self.kind, Kind::Bindfs | Kind::Unionfs | Kind::FuseOverlayfs)
    }

    /// The Debian package of its program, where that may be absent.
    fn package(&self) -> Option<(&'static str, &'static str)> {
        match self.kind {
            Kind::Bindfs => Some(("bindfs", "bindfs")),
            Kind::Unionfs => Some(("unionfs", "unionfs-fuse")),
            Kind::FuseOverlayfs => Some(("fuse-overlayfs", "fuse-overlayfs")),
            Kind::Tmpfs | Kind::Owltmp | Kind::Empty => None,
        }
    }

    /// Why it cannot be had and what would help.
    pub fn missing(&self) -> Option<String> {
        let (program, package) = self.package()?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
        (!found).then(|| format!("{program} is not installed; apt-get install {package}"))
    }

    /// The version of its package.
    pub fn version(&self) -> Option<String> {
        let (_, package) = self.package()?;
        said("dpkg-query", &["-W", "-f", "${Version}", package])
    }

    /// The command that serves it in the foreground until it is unmounted. `below` is an empty directory of a tmpfs with
    /// room for what it shows. None for tmpfs.
    pub fn command(
        &self,
        args: &Args,
        itself: Option<&Path>,
        root: &Path,
        below: &Path,
    ) -> Result<Vec<OsString>, String> {
        let words = |texts: &[&str]| texts.iter().map(OsString::from).collect::<Vec<_>>();
        let under = |name: &str| below.join(name).display().to_string();
        let mut command = match self.kind {
            Kind::Tmpfs => return Err("the kernel serves it".to_owned()),
            Kind::Owltmp => {
                let program = args
                    .owltmp
                    .clone()
                    .unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_owltmp")));
                let mut command = vec![program.into_os_string()];
                command.extend(words(&["mount", "-f", "-o", &self.options]));
                command
            }
            Kind::Bindfs => words(&["bindfs", "-f", "-o", &self.options, &under("upper")]),
            Kind::Unionfs => {
                let branches = format!("{}=RW:{}=RO", under("upper"), under("lower"));
                words(&["unionfs", "-f", "-o", &self.options, &branches])
            }
            Kind::FuseOverlayfs => {
                let (upper, lower, work) = (under("upper"), under("lower"), under("work"));
                let options = format!("{},lowerdir={lower},upperdir={upper},workdir={work}", self.options);
                words(&["fuse-overlayfs", "-f", "-o", &options])
            }
            Kind::Empty => {
                let itself = itself.ok_or("only the benchmark's own program can serve it")?;
                vec![itself.as_os_str().to_owned(), OsString::from(empty::ARGUMENT)]
            }
        };
        command.push(root.as_os_str().to_owned());
        Ok(command)
    }
}

//! What rows work on that takes long to make: made once, when first asked for, on a tmpfs of the run's own.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::super::row::Outcome;
use super::many::Growth;

/// Files of the repository, in folders of fifty.
const FILES: u32 = 3_000;

/// The material of a run.
#[derive(Debug)]
pub struct Material {
    dir: PathBuf,
    project: OnceLock<Result<String, String>>,
    repository: OnceLock<Result<String, String>>,
    growth: Mutex<HashMap<String, Growth>>,
}

impl Material {
    /// None yet; it will lie in `dir`.
    pub fn new(dir: PathBuf) -> Material {
        Material {
            dir,
            project: OnceLock::new(),
            repository: OnceLock::new(),
            growth: Mutex::new(HashMap::new()),
        }
    }

    /// A folder for what needs one, on no filesystem that is measured.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The archive of a C project's sources.
    pub fn project(&self) -> Outcome<String> {
        let archive = self
            .project
            .get_or_init(|| self.fetch().map_err(|error| error.to_string()));
        Ok(archive.clone()?)
    }

    /// A bare git repository.
    pub fn repository(&self) -> Outcome<String> {
        let path = self
            .repository
            .get_or_init(|| self.commit().map_err(|error| error.to_string()));
        Ok(path.clone()?)
    }

    /// What filling a directory has shown on that system.
    pub fn growth(&self, system: &str) -> Option<Growth> {
        self.growth
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(system)
            .copied()
    }

    /// Keeps it.
    pub fn remember_growth(&self, system: &str, growth: Growth) {
        let mut all = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(system.to_owned(), growth);
    }

    fn fetch(&self) -> Outcome<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/sources.sh");
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/compare-sources");
        let output = Command::new(script).arg(&kept).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(said.lines().last().unwrap_or("benches/sources.sh failed").into());
        }
        let archive = self.dir.join("project.tar");
        fs::copy(kept.join("project.tar"), &archive)?;
        Ok(archive.display().to_string())
    }

    fn commit(&self) -> Outcome<String> {
        let path = self.dir.join("repository.git");
        let stream = self.dir.join("stream");
        fs::write(&stream, history())?;
        git(Command::new("git")
            .args(["init", "-q", "--bare", "-b", "main"])
            .arg(&path))?;
        let mut import = Command::new("git");
        import
            .arg("-C")
            .arg(&path)
            .args(["fast-import", "--quiet"])
            .stdin(File::open(&stream)?);
        git(&mut import)?;
        fs::remove_file(&stream)?;
        Ok(path.display().to_string())
    }
}

fn git(command: &mut Command) -> Outcome<()> {
    let output = command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .map_err(|error| format!("git: {error}; apt-get install git"))?;
    if !output.status.success() {
        return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(())
}

/// A history of two commits for git fast-import, the same in every run. The second changes every fifth file of the first.
fn history() -> String {
    let mut stream = String::new();
    for (branch, from, step) in [("old", "", 1), ("main", "from refs/heads/old\n", 5)] {
        // Writing to a String cannot fail.
        let _ = write!(
            stream,
            "commit refs/heads/{branch}\ncommitter Some Body <some@example.org> 1700000000 +0000\ndata 4\n{branch:<4}\n{from}"
        );
        for number in (0..FILES).step_by(step) {
            let text = contents(number, branch);
            let folder = number / 50;
            let _ = writeln!(
                stream,
                "M 644 inline folder-{folder}/file-{number}\ndata {}\n{text}",
                text.len()
            );
        }
    }
    stream
}

/// Some hundreds to thousands of bytes.
fn contents(number: u32, branch: &str) -> String {
    let lines = 5 + number * 7 % 90;
    (0..lines)
        .map(|line| format!("{branch} {number} {}\n", line * number))
        .collect()
}

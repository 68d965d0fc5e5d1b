//! Programs at work: a C project and a git repository.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::super::interrupt;
use super::super::place::Place;
use super::super::row::{Aim, Better, On, Outcome, Pace, Row, Sampler, Unit};

pub const ROWS: &[Row] = &[
    Row::micros(
        "project",
        "untar, make -j2, rm -rf of Lua 5.4",
        "tar -x of the sources, `make -j2 linux` with TMPDIR on the filesystem too, and rm -rf of all of it",
        |place| scripted(place, PROJECT, place.material.project()?),
    )
    .unit(Unit::Seconds, Better::Lower)
    .pace(Pace::Program)
    .on(On::Files)
    .aim(Aim::Ratio(1.5)),
    Row::micros(
        "git",
        "git clone, checkout",
        "git clone of a bare repository of 3,000 files on a tmpfs, over file://, and git checkout of an older branch",
        |place| scripted(place, GIT, place.material.repository()?),
    )
    .unit(Unit::Seconds, Better::Lower)
    .pace(Pace::Program)
    .on(On::Files)
    .aim(Aim::Ratio(1.5)),
];

const PROJECT: &str = r#"tar -xf "$0"; cd lua-*/; make -s -j2 linux; cd ..; rm -rf lua-*/"#;
const GIT: &str = r#"git clone -q --no-local "file://$0" clone; git -C clone checkout -q old"#;

fn scripted(place: &Place, script: &str, input: String) -> Outcome<Sampler> {
    let place = place.clone();
    let command = ["sh", "-e", "-c", script, &input].map(str::to_owned);
    Ok(Box::new(move || {
        let time = run(&place, &command)?;
        for entry in fs::read_dir(&place.dir)? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(time.as_secs_f64())
    }))
}

/// Runs a command in the row's directory and returns the time it took. An error has the end of what it said.
pub fn run(place: &Place, command: &[String]) -> Outcome<Duration> {
    let words = place.material.dir().join("stderr");
    let mut prepared = Command::new(&command[0]);
    prepared
        .args(&command[1..])
        .current_dir(&place.dir)
        .env("TMPDIR", &place.dir)
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&words)?)
        .process_group(0);
    let start = Instant::now();
    let status = wait(prepared.spawn().map_err(|error| format!("{}: {error}", command[0]))?)?;
    let time = start.elapsed();
    if !status.success() {
        let said = fs::read_to_string(&words).unwrap_or_default();
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no word");
        return Err(format!("{} ended with {status}: {last}", command[0]).into());
    }
    Ok(time)
}

/// Waits for the end of a process, and ends it with all its own when the run is to end.
fn wait(mut child: Child) -> Outcome<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Err(interrupted) = interrupt::check() {
            let _gone_already = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            child.wait()?;
            return Err(interrupted);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

//! Listing a large directory with the attributes of everything in it, by the programs that do so.

use std::path::PathBuf;
use std::time::Duration;

use nix::mount::{MsFlags, mount};

use super::super::place::{Place, create, directory};
use super::super::row::{Aim, Better, On, Outcome, Pace, Row, Sampler, Unit};
use super::programs::run;

pub const ROWS: &[Row] = &[
    row(
        "ls-cold",
        "ls -lU, nothing cached",
        "`ls -lU` of a directory of --files empty files, after a remount, which makes the kernel forget the mount's names",
        |place| lists(place, &["ls", "-lU"], &[], Cache::Cold),
    ),
    row("ls-warm", "ls -lU, again", "the same, once more", |place| {
        lists(place, &["ls", "-lU"], &[], Cache::Warm)
    }),
    row(
        "find-cold",
        "find -size, nothing cached",
        "`find DIR -size +1` in the same directory, after a remount",
        |place| lists(place, &["find"], &["-size", "+1"], Cache::Cold),
    ),
    row("find-warm", "find -size, again", "the same, once more", |place| {
        lists(place, &["find"], &["-size", "+1"], Cache::Warm)
    }),
];

const fn row(id: &'static str, name: &'static str, what: &'static str, prepare: fn(&Place) -> Outcome<Sampler>) -> Row {
    Row::micros(id, name, what, prepare)
        .unit(Unit::Millis, Better::Lower)
        .pace(Pace::Slow)
        .aim(Aim::Ratio(4.0))
        .on(On::Files)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cache {
    Cold,
    Warm,
}

/// The directory, which all rows of a mount share and which goes with the mount. Where a system shows another directory, the
/// files are made there: some take minutes for it, and it is not what is measured.
fn furnished(place: &Place) -> Outcome<PathBuf> {
    let path = place.root.join("listed");
    let made = place.shows.as_ref().unwrap_or(&place.root).join("listed");
    if !made.exists() {
        std::fs::create_dir(&made)?;
        let dir = directory(&made)?;
        for number in 0..place.args.listed() {
            if number % 1024 == 0 {
                super::super::interrupt::check()?;
            }
            drop(create(&dir, &format!("file-{number:06}"))?);
        }
    }
    Ok(path)
}

/// Makes the kernel forget every name of this mount that nobody uses, and of no other: that is where a remount begins.
/// What the server is told about it is done before it matters.
fn forget_names(place: &Place) -> Outcome<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(None::<&str>, &place.root, None::<&str>, flags, None::<&str>)?;
    let pause = if place.args.quick { 5 } else { 300 };
    std::thread::sleep(Duration::from_millis(pause));
    Ok(())
}

fn lists(place: &Place, program: &[&'static str], then: &[&'static str], cache: Cache) -> Outcome<Sampler> {
    let (path, place) = (furnished(place)?, place.clone());
    let mut command: Vec<String> = program.iter().map(|&word| word.to_owned()).collect();
    command.push(path.display().to_string());
    command.extend(then.iter().map(|&word| word.to_owned()));
    if cache == Cache::Warm {
        run(&place, &command)?;
    }
    Ok(Box::new(move || {
        if cache == Cache::Cold {
            forget_names(&place)?;
        }
        Ok(run(&place, &command)?.as_secs_f64() * 1e3)
    }))
}

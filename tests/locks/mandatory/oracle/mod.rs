//! The oracle: what Linux 5.10 with `-o mand` was seen to do, case by case, each a script that is played here with the same result,
//! but for the differences in `why.rs`. By semantics 5.1, 5.2, 5.4, 5.7, and 4.1 where the case is advisory.

mod append;
mod bookkeeping;
mod calls;
mod chmod;
mod deadlock;
mod held;
mod mapping;
mod mark;
mod marking;
mod opening;
mod owners;
mod ranges;
mod sizes;
mod whole_file;
mod why;

use std::collections::BTreeSet;

use super::stage::{Scene, mount, play_all};
use why::Why;

/// A case.
pub struct Row {
    name: String,
    script: String,
    why: Option<Why>,
    place: Place,
}

/// On which mounts a case is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On all that enforce locks.
    Enforced,
    /// With `mand=full` only: the file is marked while it is open.
    Full,
    /// With `mand=full` and passthrough only: it is mapped, and then marked.
    Mapped,
}

/// The same as on 5.10.
fn same(name: &str, script: &str) -> Row {
    Row {
        name: name.to_owned(),
        script: script.to_owned(),
        why: None,
        place: Place::Enforced,
    }
}

/// Decided otherwise, for a reason that is written down; the script is what owltmp does.
fn differs(why: Why, name: &str, script: &str) -> Row {
    Row {
        why: Some(why),
        ..same(name, script)
    }
}

impl Row {
    fn only(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

/// All sections, by the numbers of the tables.
fn sections() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("3.1 marks", marking::rows()),
        ("3.2 read locks", held::read_locks()),
        ("3.3 write locks", held::write_locks()),
        ("3.4 ranges", ranges::rows()),
        ("3.4 whole files and ends", whole_file::rows()),
        ("3.4 appending", append::rows()),
        ("3.5 O_TRUNC", opening::rows()),
        ("3.6 owners", owners::processes()),
        ("3.7 open files", owners::open_files()),
        ("3.8 truncate", sizes::rows()),
        ("3.9 mappings", mapping::rows()),
        ("3.10 chmod, release, names", chmod::rows()),
        ("3.11 deadlock, signals", deadlock::rows()),
        ("3.11 other calls", calls::rows()),
        ("3.12 F_GETLK", bookkeeping::rows()),
        ("3.13 the mark", mark::rows()),
    ]
}

fn play(options: &str, places: &[Place]) {
    let mount = mount(options);
    let wanted = |row: &Row| places.contains(&row.place) && (row.place != Place::Mapped || mount.passthrough());
    let rows = sections().into_iter().flat_map(|(section, rows)| {
        rows.into_iter().filter(|row| wanted(row)).map(move |row| Scene {
            name: format!("{section}: {}", row.name),
            script: row.script,
        })
    });
    let scenes: Vec<Scene> = rows.collect();
    play_all(&mount, &scenes);
    eprintln!("{} cases went as they should with -o {options}", scenes.len());
}

/// Every case.
#[test]
fn with_mand() {
    play("mode=0777,mand", &[Place::Enforced, Place::Full, Place::Mapped]);
}

/// Every case in which the file is marked before anybody opens it goes the same way where old descriptors are not watched.
#[test]
fn with_mand_marked() {
    play("mode=0777,mand=marked", &[Place::Enforced]);
}

/// How many cases there are, and how many of them go as on 5.10; no difference is listed that no case shows.
#[test]
fn the_count() {
    let mut used = BTreeSet::new();
    let (mut all, mut like) = (0, 0);
    for (section, rows) in sections() {
        let same = rows.iter().filter(|row| row.why.is_none()).count();
        eprintln!(
            "{section}: {} cases, {same} as on 5.10, {} decided otherwise",
            rows.len(),
            rows.len() - same
        );
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), rows.len(), "{section}: two cases of one name");
        used.extend(rows.iter().filter_map(|row| row.why));
        all += rows.len();
        like += same;
    }
    eprintln!(
        "the oracle: {all} cases, {like} as on 5.10, {} decided otherwise:",
        all - like
    );
    for why in Why::ALL {
        eprintln!("  {why:?}: {}", why.sentence());
        assert!(used.contains(&why), "no case shows {why:?}");
    }
    assert!(all >= 236, "{all}");
}

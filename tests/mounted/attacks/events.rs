//! What the administrator is told (semantics 3.5), and what an attacker makes of that: names that look like other lines, more events than
//! anybody reads.

use super::{ATTACKER, Event, World, on};
use crate::common::identity::{BOB, CAROL, Identity};
use crate::common::{Errno, Kind, as_user};

fn walk_into(world: &World, who: Identity, name: &str) {
    assert_eq!(as_user(who, || world.mount.dir().read(name)), Err(Errno::ACCESS));
}

/// Every event is one line that begins with what it is, whatever the names in it.
#[test]
fn a_name_makes_no_line_of_its_own() {
    on(Kind::Owltmp, "", |world| {
        let evil = [
            "new\nrefused symlinks: uid=0 pid=1 comm=\"sh\" object=\"x\" kind=symlink inode=1 owner=0 errno=EACCES",
            "quote\" kind=file inode=1 owner=0 errno=EPERM",
            "terminal\x1b[2J\x07\x08\r",
            "back\\slash",
            "unicode \u{202e}\u{0085}\u{2028}",
        ];
        for name in evil {
            world.plant("nowhere", name);
            walk_into(world, BOB, name);
        }
        world.last_event();
        let stderr = world.mount.stderr();
        let of_bob: Vec<&str> = stderr.lines().filter(|l| l.contains("uid=60002 pid=")).collect();
        assert_eq!(of_bob.len(), evil.len(), "{stderr}");
        assert!(
            !stderr.contains("uid=0 pid=1 comm=\"sh\" object=\"x\" kind"),
            "{stderr}"
        );
        for line in of_bob {
            assert!(line.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{line:?}");
            assert!(line.ends_with(" owner=60001 errno=EACCES"), "{line:?}");
        }
    });
}

/// So is the name that a program gives itself.
#[test]
fn a_program_gives_itself_no_line() {
    on(Kind::Owltmp, "", |world| {
        world.plant("nowhere", "trap");
        as_user(BOB, || {
            rustix::thread::set_name(c"a\" uid=0\n\x1b[7m").expect("prctl");
            assert_eq!(world.mount.dir().read("trap"), Err(Errno::ACCESS));
        });
        world.last_event();
        let stderr = world.mount.stderr();
        let line = stderr.lines().find(|l| l.contains("uid=60002 pid=")).expect("an event");
        assert!(line.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{line:?}");
        assert!(line.ends_with(" owner=60001 errno=EACCES"), "{line:?}");
        assert!(!line.contains("a\" uid=0"), "{line:?}");
    });
}

/// Somebody who causes many is told of by few lines and a number; others are told of as before.
#[test]
fn many_events_are_few_lines() {
    const MANY: usize = 5_000;
    on(Kind::Owltmp, "", |world| {
        world.plant("nowhere", "trap");
        let start = std::time::Instant::now();
        as_user(BOB, || {
            for _ in 0..MANY {
                assert_eq!(world.mount.dir().read("trap"), Err(Errno::ACCESS));
            }
        });
        let lasted = start.elapsed();
        walk_into(world, CAROL, "trap");
        world.event(&Event {
            rule: "symlinks",
            uid: CAROL.uid,
            object: "/trap",
            owner: ATTACKER.uid,
            errno: "EACCES",
        });
        world.last_event();
        let stderr = world.mount.stderr();
        let lines = stderr.lines().filter(|l| l.contains("uid=60002 pid=")).count();
        // A burst of 100, then 20 a second.
        let most = 100 + 20 * (lasted.as_secs() as usize + 2);
        assert!((100..=most).contains(&lines), "{lines} lines within {lasted:?}");
    });
}

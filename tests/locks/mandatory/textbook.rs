//! The program that every textbook shows: mark the file that is open, fork, one side locks, the other reads without waiting: EAGAIN.
//! By semantics 5.1, 5.2, and 5.6 where old descriptors are not watched.

use super::stage::{Scene, mount, play_all};

const BEGIN: &str = "A open :t text rw,creat,excl 640; A write :t 20; A fchmod :t 2640; A mode text = 2640; A fork D";

fn scenes(rows: &[(&str, &str)]) -> Vec<Scene> {
    let scene = |(name, rest): &(&str, &str)| Scene {
        name: (*name).to_owned(),
        script: format!("{BEGIN}; {rest}"),
    };
    rows.iter().map(scene).collect()
}

/// With `mand` it runs as printed, on the very descriptor that was open before.
#[test]
fn runs_as_printed() {
    let rows = [
        (
            "the parent locks, the child reads",
            "A lock :t W 0-; D setfl :t rw,nb; D lseek :t set 0; D read :t 10 = EAGAIN; D read :t 10@0 = EAGAIN; A read :t 20@0 = 20 [A20]",
        ),
        (
            "the child locks, the parent reads",
            "D lock :t W 0-; A setfl :t rw,nb; A read :t 10@0 = EAGAIN; A write :t 10@0 = EAGAIN; D read :t 20@0 = 20 [A20]",
        ),
        (
            "the parent locks, the child waits until it unlocks",
            "A lock :t W 0-; D read :t 10@0 = blocked; A unlock :t; D = 10 [A10]",
        ),
        (
            "the parent locks to read, the child reads and may not write",
            "A lock :t R 0-; D setfl :t rw,nb; D read :t 10@0 = 10; D write :t 10@0 = EAGAIN; A read :t 20@0 = 20 [A20]",
        ),
        (
            "the child opens it by name",
            "A lock :t W 0-; D open :2 text r,nb; D read :2 10@0 = EAGAIN; A exit; D read :2 10@0 = 10 [A10]",
        ),
    ];
    play_all(&mount("mode=0777,mand"), &scenes(&rows));
}

/// With `mand=marked` the lock is refused while that descriptor is open: it could not be kept. Opened again, all is as printed.
#[test]
fn runs_on_a_new_descriptor_with_marked() {
    let rows = [
        (
            "the lock is refused",
            "A lock :t W 0- = EAGAIN; D lock :t W 0- = EAGAIN; D setfl :t rw,nb; D read :t 10@0 = 10 [A10]",
        ),
        (
            "the file is opened again",
            "A close :t; D close :t; A open :t text rw; A lock :t W 0-; A fork E; E setfl :t rw,nb; E read :t 10@0 = EAGAIN; A read :t 20@0 = 20 [A20]",
        ),
    ];
    play_all(&mount("mode=0777,mand=marked"), &scenes(&rows));
}

/// Without, locks are advisory, as anywhere.
#[test]
fn is_advisory_without() {
    let rows = [(
        "the child reads",
        "A lock :t W 0-; D setfl :t rw,nb; D read :t 10@0 = 10 [A10]; D write :t 10@0 = 10",
    )];
    for options in ["mode=0777,mand=off", "mode=0777,nomand"] {
        play_all(&mount(options), &scenes(&rows));
    }
}

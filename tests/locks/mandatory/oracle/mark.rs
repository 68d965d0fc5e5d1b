//! 3.13: who may set the mark, and what it survives. The file is 2666, of owner 1000 and group 77. By semantics 5.8.

use super::why::Why::MarkStays;
use super::{Row, differs, same};

const CALLS: [(&str, &str); 5] = [
    ("write", "write :f 10@0"),
    ("ftruncate", "ftruncate :f 50"),
    ("truncate", "truncate file 50"),
    ("O_TRUNC", "open :t file rw,trunc"),
    ("fallocate", "fallocate :f keep 0 50"),
];

/// The cases.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![];
    let file = "A chown file 1000 77; A chmod file 2666";
    for (call, line) in CALLS {
        for (who, become_him, member) in [
            ("root", "", true),
            ("the owner in the group", "B become 1000 77", true),
            ("another in the group", "B become 1001 77", true),
            ("the owner outside the group", "B become 1000 1000", false),
            ("another outside the group", "B become 1001 1001", false),
        ] {
            let script =
                format!("{file}; {become_him}; B {line}; A mode file = 2666; B lock W 0-10; A read :n 10@0 = EAGAIN");
            let name = format!("{call} by {who}");
            rows.push(if member {
                same(&name, &script)
            } else {
                differs(MarkStays, &name, &script)
            });
        }
    }
    rows.extend(others(file));
    rows.extend(chmod_and_chown(file));
    rows.extend(created());
    rows
}

fn others(file: &str) -> Vec<Row> {
    vec![
        same(
            "2676 written by a user: setgid goes",
            &format!("{file}; A chmod file 2676; B become 1000 77; B write 10@0; A mode file = 676"),
        ),
        same(
            "2676 written by root: setgid stays",
            &format!("{file}; A chmod file 2676; B write 10@0; A mode file = 2676"),
        ),
        same(
            "6666 written by a member: setuid goes, the mark stays",
            &format!("{file}; A chmod file 6666; B become 1000 77; B write 10@0; A mode file = 2666"),
        ),
        differs(
            MarkStays,
            "6666 written by another: setuid goes, the mark stays",
            &format!("{file}; A chmod file 6666; B become 1001 1001; B write 10@0; A mode file = 2666"),
        ),
        same(
            "6666 written by root: all stays",
            &format!("{file}; A chmod file 6666; B write 10@0; A mode file = 6666"),
        ),
        differs(
            MarkStays,
            "a non-member writes what is not locked: the lock stays mandatory",
            &format!(
                "{file}; C lock W 0-10; B become 1001 1001; B write 10@50; A mode file = 2666; A read :n 10@0 = EAGAIN; B read :n 10@0 = EAGAIN"
            ),
        ),
    ]
}

fn chmod_and_chown(file: &str) -> Vec<Row> {
    vec![
        same(
            "chmod g+s by the owner outside the group: without effect",
            "A chown file 1000 77; A chmod file 0666; B become 1000 1000; B chmod file 2666; A mode file = 666",
        ),
        same(
            "chmod g+s by another: EPERM",
            "A chown file 1000 77; A chmod file 0666; B become 1001 77; B chmod file 2666 = EPERM; A mode file = 666",
        ),
        same(
            "chmod g+s by the owner in the group",
            "A chown file 1000 77; A chmod file 0666; B become 1000 77; B chmod file 2666; A mode file = 2666",
        ),
        same(
            "chown by root",
            &format!("{file}; A chown file 1001 78; A mode file = 2666"),
        ),
        same(
            "chown by root to nobody new",
            &format!("{file}; A chown file -1 -1; A mode file = 2666"),
        ),
        same(
            "chown by root of 2676: setgid goes",
            &format!("{file}; A chmod file 2676; A chown file 1001 78; A mode file = 676"),
        ),
        same(
            "chgrp by the owner in both groups",
            &format!("{file}; B become 1000 77 78; B chown file -1 78; A mode file = 2666"),
        ),
        differs(
            MarkStays,
            "chgrp by the owner outside the old group",
            &format!("{file}; B become 1000 1000 78; B chown file -1 78; A mode file = 2666"),
        ),
    ]
}

fn created() -> Vec<Row> {
    vec![
        same(
            "made with the mark by root",
            "A open :m made rw,creat 2666; A mode made = 2666",
        ),
        same(
            "made with the mark by a user",
            "B become 1001 1001; B open :m made rw,creat 2666; A mode made = 2666",
        ),
        same(
            "made with the mark by a user in a setgid directory of another group",
            "A mkdir d 2777; A chown d 0 77; A chmod d 2777; B become 1001 1001; B open :m d/made rw,creat 2666; A mode d/made = 2666; B open :x d/x rw,creat 2676; A mode d/x = 676",
        ),
    ]
}

//! Where locks end: with close(2), exit and exec, and not before (semantics 4.1, 4.5). The stories are those of xfstests generic/478,
//! and more.

use super::crew::{Crew, Op};
use super::way::{DONE, EAGAIN, EBADF, WAYS, Way, open, start};
use crate::common::each;
use crate::common::lock::{NONE, READ, WRITE};

/// Processes 0 and 1 act; 2 looks at what is locked.
struct Story {
    crew: Crew,
    way: Way,
    told: Vec<String>,
}

impl Story {
    fn does(&mut self, who: usize, op: Op) {
        self.told.push(format!("{who}: {op:?}"));
        assert_eq!(self.crew.one(who, op).result, DONE, "{:?}: {:?}", self.way, self.told);
    }

    fn locks(&mut self, who: usize, slot: u8) {
        self.does(who, self.way.now(slot, WRITE));
    }

    /// Whether somebody else is kept out.
    fn expect(&mut self, held: bool, why: &str) {
        let answer = self.crew.one(2, self.way.now(0, READ)).result;
        let right = if held { EAGAIN } else { DONE };
        assert_eq!(answer, right, "{:?}: {why}, after {:?}", self.way, self.told);
        self.crew.one(2, self.way.now(0, NONE));
    }

    fn forks(&mut self) {
        self.told.push("0 forks 1".to_owned());
        if self.crew.lives(1) {
            self.crew.kill(1);
        }
        self.crew.spawn(Some(0), 1);
    }
}

/// Tells a story of every way to lock, on tmpfs and on owltmp.
fn tell(of: &[Way], body: impl Fn(&mut Story)) {
    each("mode=0777", |mount| {
        for &way in of {
            let (crew, _) = start(mount, 3, 1);
            let told = vec![];
            body(&mut Story { crew, way, told });
        }
    });
}

const OPENS: [Way; 2] = [Way::Open, Way::Flock];
const PROCESS: [Way; 1] = [Way::Process];

/// By semantics 4.1: the locks of a process end when it closes any descriptor of the file, also one that it never locked with.
#[test]
fn any_close_ends_the_locks_of_a_process() {
    tell(&PROCESS, |story| {
        for slot in [0, 1] {
            for other in [open(1, 0), Op::Dup { from: 0, to: 1 }] {
                story.does(0, other);
                story.locks(0, 0);
                story.expect(true, "it is held");
                story.does(0, Op::Close { slot });
                story.expect(false, "a descriptor was closed");
                if slot == 1 {
                    continue;
                }
                story.does(0, Op::Close { slot: 1 });
                story.does(0, open(0, 0));
            }
        }
        story.does(
            0,
            Op::Open {
                slot: 1,
                file: 0,
                access: 0,
            },
        );
        story.locks(0, 0);
        story.does(0, Op::Close { slot: 1 });
        story.expect(false, "one to read only");
        story.locks(0, 0);
        story.does(0, open(1, 1));
        story.does(0, Op::Close { slot: 1 });
        story.expect(true, "another file's has nothing to do with it");
        story.does(0, Op::Dup { from: 0, to: 1 });
        story.does(0, open(2, 2));
        story.does(0, Op::Dup { from: 2, to: 1 });
        story.expect(false, "dup2 closes too");
    });
}

/// By semantics 4.1: a child has no locks of its parent, and what it closes, and its end, are its own affair.
#[test]
fn children_are_other_owners() {
    tell(&PROCESS, |story| {
        story.locks(0, 0);
        story.forks();
        assert_eq!(story.crew.one(1, story.way.now(0, WRITE)).result, EAGAIN);
        assert_eq!(story.crew.one(1, story.way.now(0, READ)).result, EAGAIN);
        story.does(1, story.way.now(0, NONE));
        story.expect(true, "a child unlocked what it has not");
        story.does(1, Op::Close { slot: 0 });
        story.expect(true, "a child closed");
        story.forks();
        story.crew.exit(1);
        story.expect(true, "a child ended");
        story.crew.spawn(Some(0), 1);
        story.crew.kill(1);
        story.expect(true, "a child was killed");
        story.crew.spawn(Some(0), 1);
        story.crew.exit(0);
        story.expect(false, "the parent ended");
        story.locks(1, 0);
        story.expect(true, "the child's own");
        story.crew.kill(1);
        story.expect(false, "it died");
    });
}

/// By semantics 4.1, 4.5: locks of an open file end with its last descriptor, wherever that is.
#[test]
fn the_last_close_ends_the_locks_of_an_open_file() {
    tell(&OPENS, |story| {
        story.does(0, open(1, 0));
        story.locks(0, 0);
        story.does(0, Op::Close { slot: 1 });
        story.expect(true, "another open was closed");
        story.does(0, Op::Dup { from: 0, to: 1 });
        story.does(0, Op::Close { slot: 0 });
        story.expect(true, "a duplicate is left");
        story.forks();
        story.does(0, Op::Close { slot: 1 });
        story.expect(true, "the child has it");
        story.locks(1, 1);
        story.does(1, Op::Dup { from: 1, to: 2 });
        story.does(1, Op::Close { slot: 1 });
        story.expect(true, "a duplicate is left");
        story.does(1, open(3, 1));
        story.does(1, Op::Dup { from: 3, to: 2 });
        story.expect(false, "dup2 closed the last");
    });
    tell(&OPENS, |story| {
        story.locks(0, 0);
        story.forks();
        story.crew.kill(0);
        story.expect(true, "the child has it");
        story.locks(1, 0);
        story.crew.kill(1);
        story.expect(false, "nobody has it");
    });
    tell(&OPENS, |story| {
        story.locks(0, 0);
        story.forks();
        story.does(1, story.way.now(0, NONE));
        story.expect(false, "whoever has the open file may unlock it");
        story.locks(1, 0);
        story.crew.exit(1);
        story.expect(true, "the parent has it");
        story.does(0, Op::Close { slot: 0 });
        story.expect(false, "closed");
    });
}

/// By semantics 4.1: exec keeps the locks of the process, unless a descriptor of the file is closed by it, which ends them; those of an
/// open file end if its last descriptor is.
#[test]
fn exec_closes() {
    tell(&WAYS, |story| {
        story.does(0, Op::KeepOverExec { slot: 0 });
        story.locks(0, 0);
        story.crew.exec(0);
        story.expect(true, "the descriptor was kept");
        story.does(0, open(1, 0));
        story.does(0, Op::Dup { from: 0, to: 2 });
        story.crew.exec(0);
        story.expect(story.way != Way::Process, "another descriptor was closed by exec");
        if story.way != Way::Process {
            story.does(0, Op::Close { slot: 2 });
            story.expect(true, "one was kept");
            story.does(0, Op::Close { slot: 0 });
            story.expect(false, "and closed");
        }
        story.does(0, open(3, 0));
        story.locks(0, 3);
        story.expect(true, "it is held");
        story.crew.exec(0);
        story.expect(false, "closed by exec");
    });
}

/// By semantics 4.1, 4.5: an open file that goes to another process through a socket keeps its locks on the way and there; those of the
/// process that sent it end when it closes its descriptor.
#[test]
fn descriptors_travel_with_their_locks() {
    tell(&WAYS, |story| {
        story.locks(0, 0);
        story.does(0, Op::Post { slot: 0 });
        story.expect(story.way != Way::Process, "on the way");
        story.does(1, Op::Close { slot: 0 });
        story.does(1, Op::Fetch { slot: 0 });
        story.expect(story.way != Way::Process, "taken by another process");
        story.locks(1, 0);
        story.expect(true, "locked by that");
        story.crew.kill(0);
        story.expect(true, "the sender is gone");
        story.does(1, Op::Close { slot: 0 });
        story.expect(false, "closed");
    });
    tell(&OPENS, |story| {
        story.locks(0, 0);
        story.does(0, Op::Post { slot: 0 });
        story.crew.kill(0);
        story.expect(true, "on the way, and its sender is gone");
        story.does(1, Op::Fetch { slot: 1 });
        story.crew.kill(1);
        story.expect(false, "nobody has it");
    });
}

/// By semantics 4.1: a lock that is granted to a thread when another has closed the descriptor goes to nobody: EBADF, and the locks that
/// the process has on the file by then end, as on Linux.
#[test]
fn a_descriptor_closed_while_a_thread_waits() {
    tell(&PROCESS, |story| {
        let mut has_second = false;
        let by_ring = |by_worker| Op::CloseByRing { slot: 0, by_worker };
        let close = Op::Close { slot: 0 };
        for (second, close) in [
            (false, close),
            (true, close),
            (true, by_ring(false)),
            (true, by_ring(true)),
        ] {
            if second && !has_second {
                story.does(1, open(1, 0));
                has_second = true;
            }
            story.locks(0, 0);
            story.does(1, story.way.wait(0, 0));
            story.crew.wait_for_wait(1, 0);
            story.does(1, close);
            story.expect(true, "by the first");
            assert_eq!(story.crew.done(1, std::time::Duration::ZERO), None, "it still waits");
            story.does(0, story.way.now(0, NONE));
            assert_eq!(story.crew.done(1, std::time::Duration::from_secs(10)), Some((0, EBADF)));
            story.expect(false, "nobody has it");
            story.does(1, open(0, 0));
        }
    });
    tell(&OPENS, |story| {
        story.locks(0, 0);
        story.does(1, story.way.wait(0, 0));
        story.crew.wait_for_wait(1, 0);
        story.does(1, Op::Close { slot: 0 });
        story.does(0, story.way.now(0, NONE));
        assert_eq!(story.crew.done(1, std::time::Duration::from_secs(10)), Some((0, DONE)));
        story.expect(false, "it ended with the call");
    });
}

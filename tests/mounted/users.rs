//! Limits for each user (docs/semantics.md, "Limits for each user"), with and without passthrough: what is past them is
//! refused, others are unaffected, statfs(2) shows them, and they go over with the owner. In part tests of semantics 1.5.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, fstat, ftruncate, statfs};
use rustix::io::{pwrite, write};

use crate::common::identity::{ALICE, BOB, CAROL, ROOT};
use crate::common::map::Map;
use crate::common::mount::tmpfs_plays_owltmp;
use crate::common::rng::Rng;
use crate::common::{Dir, Errno, FileType, Identity, Mount, OFlags, as_user, env_number, wait_until, xattr};

pub const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(5);

/// Runs a test in both modes.
pub fn in_both_modes(options: &str, body: impl Fn(&Mount)) {
    if tmpfs_plays_owltmp() {
        // tmpfs knows no such options.
        return;
    }
    for io in ["passthrough", "cached"] {
        let mount = Mount::owltmp(&format!("mode=0777,io={io},{options}"));
        eprintln!("with io={io}:");
        body(&mount);
    }
}

/// Free bytes and inodes, as `who` sees them.
pub fn free(dir: &Dir, who: Identity) -> (u64, u64) {
    as_user(who, || {
        let s = statfs(dir.path("")).unwrap();
        (s.f_bavail * s.f_bsize as u64, s.f_ffree)
    })
}

pub fn wait_for_free(dir: &Dir, who: Identity, bytes: usize) {
    wait_until(&format!("{bytes} bytes are free"), SOON, || {
        free(dir, who).0 == bytes as u64
    });
}

/// Writes until nothing more fits; returns how much did, and the error.
pub fn fill(dir: &Dir, name: &str) -> (usize, Errno) {
    let fd = dir.open(name, OFlags::CREATE | OFlags::WRONLY, 0o666).unwrap();
    let block = vec![b'x'; 64 << 10];
    let mut total = 0;
    loop {
        match write(&fd, &block) {
            Ok(count) => total += count,
            Err(error) => return (total, error),
        }
    }
}

/// What a write past a user's limit gets: the kernel by itself knows no limits for users.
fn past_the_limit(mount: &Mount) -> Errno {
    if mount.passthrough() {
        Errno::NOSPC
    } else {
        Errno::DQUOT
    }
}

pub fn chown_to(dir: &Dir, name: &str, who: Identity) -> Result<(), Errno> {
    dir.chown(name, Some(who.uid), Some(who.gid))
}

/// The descriptors of the daemon.
fn descriptors(mount: &Mount) -> usize {
    let pid = mount.daemon_pid().unwrap();
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn threads(mount: &Mount) -> usize {
    let pid = mount.daemon_pid().unwrap();
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

#[test]
fn writes_end_at_the_limit() {
    in_both_modes("size=64m,user_size=4m", |mount| {
        let dir = mount.dir();
        let full = as_user(ALICE, || fill(dir, "a"));
        assert_eq!(full, (4 * MIB, past_the_limit(mount)));
        as_user(ALICE, || {
            assert_eq!(dir.lstat("a").unwrap().st_size as usize, 4 * MIB);
            let fd = dir.open("a", OFlags::RDWR, 0).unwrap();
            assert_eq!(pwrite(&fd, b"kept", 0), Ok(4), "pages that are there take writes");
            assert_eq!(dir.symlink(&"x".repeat(3000), "long"), Err(Errno::DQUOT));
        });
        // Others have all of theirs, and root has what is left of all.
        assert_eq!(as_user(BOB, || fill(dir, "b")), (4 * MIB, past_the_limit(mount)));
        wait_until("root has what is left", SOON, || {
            let _ = dir.unlink("r");
            fill(dir, "r").0 >= 48 * MIB
        });
    });
}

#[test]
fn statfs_shows_what_the_caller_can_have() {
    in_both_modes("size=64m,nr_inodes=100,user_size=4m,user_inodes=10", |mount| {
        let dir = mount.dir();
        as_user(ALICE, || dir.file("a", &vec![1; MIB], 0o644));
        let figures = |who| {
            as_user(who, || {
                let s = statfs(dir.path("")).unwrap();
                (s.f_blocks, s.f_bfree, s.f_files, s.f_ffree)
            })
        };
        assert_eq!(figures(ALICE), (1024, 768, 10, 9));
        assert_eq!(figures(BOB), (1024, 1024, 10, 10));
        assert_eq!(figures(ROOT), (16384, 16128, 100, 98));
        for i in 0..95 {
            dir.file(&format!("r{i}"), b"", 0o644);
        }
        assert_eq!(figures(BOB), (1024, 1024, 10, 3), "the lesser of what is left");
    });
}

#[test]
fn what_counts_as_inodes() {
    in_both_modes("user_inodes=4", |mount| {
        let dir = mount.dir();
        as_user(ALICE, || {
            dir.file("f", b"", 0o644);
            dir.mkdir("d", 0o755).unwrap();
            dir.symlink("x", "s").unwrap();
            dir.link("f", "l").unwrap();
            let create = OFlags::CREATE | OFlags::RDWR;
            assert_eq!(dir.open("new", create, 0o644).unwrap_err(), Errno::DQUOT);
            let nameless = dir.open(".", OFlags::TMPFILE | OFlags::RDWR, 0o644);
            assert_eq!(nameless.unwrap_err(), Errno::DQUOT);
            assert_eq!(dir.mkdir("new", 0o755), Err(Errno::DQUOT));
            assert_eq!(dir.mknod("new", FileType::Fifo, 0o644, 0), Err(Errno::DQUOT));
            assert_eq!(dir.symlink("x", "new"), Err(Errno::DQUOT));
            assert_eq!(dir.link("f", "new"), Err(Errno::DQUOT));
            assert_eq!(xattr::set(&dir.path("f"), "user.a", b"v").unwrap_err(), Errno::DQUOT);
            assert_eq!(dir.names().len(), 4);
            dir.rename("f", "moved").unwrap();
        });
        as_user(BOB, || dir.file("b", b"x", 0o644));
        dir.file("r", b"x", 0o644);
        assert_eq!(free(dir, ALICE).1, 0);
        as_user(ALICE, || {
            dir.unlink("l").unwrap();
            wait_until("a name is free", SOON, || dir.mkdir("new", 0o755).is_ok());
            dir.rmdir("new").unwrap();
            wait_until("room for an attribute", SOON, || {
                xattr::set(&dir.path("moved"), "user.a", b"v").is_ok()
            });
        });
    });
}

#[test]
fn allocation_says_what_is_the_matter() {
    in_both_modes("size=256m,user_size=80m", |mount| {
        let dir = mount.dir();
        as_user(ALICE, || {
            let fd = dir.create("a");
            let allocate = |len: usize| fallocate(&fd, FallocateFlags::empty(), 0, len as u64);
            assert_eq!(allocate(81 * MIB), Err(Errno::DQUOT), "in pieces");
            assert_eq!(fstat(&fd).unwrap().st_blocks, 0);
            assert_eq!(allocate(20 * MIB), Ok(()), "at once");
            assert_eq!(allocate(80 * MIB), Ok(()));
            let second = dir.create("b");
            assert_eq!(fallocate(&second, FallocateFlags::empty(), 0, 4096), Err(Errno::DQUOT));
        });
        as_user(BOB, || {
            let fd = dir.create("c");
            assert_eq!(fallocate(&fd, FallocateFlags::empty(), 0, 70 << 20), Ok(()));
        });
    });
}

#[test]
fn all_of_the_rest_can_be_allocated_by_one() {
    in_both_modes("size=64m,user_size=60m", |mount| {
        let dir = mount.dir();
        for (who, name) in [(ALICE, "a"), (BOB, "b"), (CAROL, "c")] {
            as_user(who, || dir.file(name, &[1; 4096], 0o644));
        }
        as_user(ALICE, || {
            let fd = dir.open("a", OFlags::RDWR, 0).unwrap();
            let rest = 60 * MIB as u64 - 4096;
            assert_eq!(fallocate(&fd, FallocateFlags::empty(), 4096, rest), Ok(()));
        });
        as_user(BOB, || {
            let fd = dir.open("b", OFlags::RDWR, 0).unwrap();
            let more = |pages: u64| fallocate(&fd, FallocateFlags::empty(), 4096, pages * 4096);
            assert_eq!(more(1024), Err(Errno::NOSPC), "that is the limit of all");
            assert_eq!(more(1022), Ok(()));
        });
    });
}

#[test]
fn space_comes_back_at_once() {
    in_both_modes("size=64m,user_size=2m", |mount| {
        let dir = mount.dir();
        for round in 0..20 {
            as_user(ALICE, || {
                assert_eq!(fill(dir, "a").0, 2 * MIB, "round {round}");
                match round % 3 {
                    0 => dir.unlink("a").unwrap(),
                    1 => dir.truncate("a", 0).unwrap(),
                    _ => {
                        let fd = dir.open("a", OFlags::RDWR, 0).unwrap();
                        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                        fallocate(&fd, punch, 0, 2 << 20).unwrap();
                        ftruncate(&fd, 0).unwrap();
                    }
                }
            });
            // close(2) and unlink(2) return before their requests come; statfs(2) waits for those.
            wait_for_free(dir, ALICE, 2 * MIB);
        }
    });
}

/// With passthrough a store through a mapping is SIGBUS past the limit, as on a full tmpfs. In a process of its own.
#[test]
fn stores_through_a_mapping() {
    in_both_modes("size=64m,user_size=1m", |mount| {
        let dir = mount.dir();
        let script = "import mmap,os;f=os.open('m',os.O_RDWR|os.O_CREAT);os.ftruncate(f,4<<20);m=mmap.mmap(f,4<<20)\n\
                      for p in range(0,4<<20,4096): m[p]=1\n\
                      m.flush()";
        let run = Command::new("setpriv")
            .args([
                &format!("--reuid={}", ALICE.uid),
                "--clear-groups",
                "/usr/bin/python3",
                "-c",
                script,
            ])
            .current_dir(dir.path(""))
            .output()
            .unwrap();
        if mount.passthrough() {
            assert_eq!(run.status.signal(), Some(7), "{run:?}");
        } else {
            assert!(String::from_utf8_lossy(&run.stderr).contains("OSError"), "{run:?}");
        }
        assert_eq!(dir.lstat("m").unwrap().st_blocks, 2048);
        as_user(BOB, || {
            let fd = dir.create("b");
            ftruncate(&fd, MIB as u64).unwrap();
            let map = Map::shared(&fd, MIB).unwrap();
            (0..MIB / 4096).for_each(|page| map.put(page * 4096, b"fine"));
            map.sync().unwrap();
        });
    });
}

#[test]
fn two_users_at_the_limit_of_all() {
    in_both_modes("size=16m,user_size=12m", |mount| {
        let dir = mount.dir();
        let (alice, bob) = std::thread::scope(|scope| {
            let fill = |who, name| scope.spawn(move || as_user(who, || fill(dir, name).0));
            let (alice, bob) = (fill(ALICE, "a"), fill(BOB, "b"));
            (alice.join().unwrap(), bob.join().unwrap())
        });
        assert!(
            alice <= 12 * MIB && bob <= 12 * MIB && alice + bob <= 16 * MIB,
            "{alice} {bob}"
        );
        // With passthrough somebody may have met the end of his share early. What he did not get is still there.
        for (who, name) in [(ALICE, "a2"), (BOB, "b2")] {
            let (_, own) = (0, free(dir, who).0);
            as_user(who, || {
                let fd = dir.create(name);
                if own > 0 {
                    assert_eq!(fallocate(&fd, FallocateFlags::empty(), 0, own), Ok(()), "{own}");
                }
            });
        }
        assert_eq!(free(dir, ROOT).0, 0);
        assert_eq!(fill(dir, "r"), (0, Errno::NOSPC));
        as_user(ALICE, || dir.unlink("a").unwrap());
        wait_until("the room is Bob's", SOON, || {
            as_user(BOB, || {
                let _ = dir.unlink("b3");
                fill(dir, "b3").0 + bob >= 10 * MIB
            })
        });
    });
}

/// One who writes alone gets nearly all of what is free, though it is shared with others.
#[test]
fn one_who_writes_slowly_gets_the_rest() {
    in_both_modes("size=64m,user_size=60m", |mount| {
        let dir = mount.dir();
        for (who, name) in [(BOB, "b"), (CAROL, "c"), (ROOT, "r")] {
            as_user(who, || dir.file(name, &[1; 4096], 0o644));
        }
        as_user(ALICE, || {
            let fd = dir.create("a");
            let block = vec![1; 64 << 10];
            let mut total = 0;
            while let Ok(count) = write(&fd, &block) {
                total += count;
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(total > 54 * MIB, "{total}");
        });
    });
}

#[test]
fn many_users_come_and_go() {
    let users = env_number("OWLTMP_TEST_USERS", 200);
    in_both_modes("size=64m,user_size=1m,user_inodes=50", |mount| {
        let dir = mount.dir();
        let before = (descriptors(mount), threads(mount));
        let other = |i: u64| Identity {
            uid: 70_000 + i as u32,
            gid: 70_000,
            groups: &[],
        };
        for i in 0..users {
            as_user(other(i), || dir.file(&format!("f{i}"), &[i as u8; 10_000], 0o644));
        }
        for i in 0..users {
            assert_eq!(dir.read(&format!("f{i}")).unwrap(), [i as u8; 10_000]);
        }
        eprintln!("{} descriptors for {users} users", descriptors(mount));
        assert_eq!(free(dir, other(0)), ((1 << 20) - 12_288, 49));
        for i in 0..users {
            as_user(other(i), || dir.unlink(&format!("f{i}")).unwrap());
        }
        // A thread is not the users': the daemon starts its last one just after it can be used.
        wait_until("their stores are gone", Duration::from_secs(20), || {
            descriptors(mount) <= before.0 + 8 && threads(mount) <= before.1 + 1
        });
        assert_eq!(free(dir, ROOT).0, 64 << 20);
    });
}

/// After random operations by several users what each is charged is what stat(2) says of his files.
#[test]
fn random_operations_by_several_users() {
    let steps = env_number("OWLTMP_TEST_STEPS", 1500);
    in_both_modes("size=48m,user_size=10m,user_inodes=12", |mount| {
        let dir = mount.dir();
        let people = [ALICE, BOB, CAROL];
        let mut rng = Rng(env_number("OWLTMP_TEST_SEED", 5));
        for step in 0..steps {
            let name = format!("f{}", rng.below(20));
            let who = rng.pick(&people);
            let amount = rng.below(3 * MIB as u64);
            match rng.below(8) {
                0..3 => as_user(who, || {
                    if let Ok(fd) = dir.open(&name, OFlags::CREATE | OFlags::RDWR, 0o666) {
                        let _ = pwrite(&fd, &vec![1; amount as usize], amount % 7 * 100_000);
                    }
                }),
                3 => drop(dir.truncate(&name, amount as i64)),
                4 => drop(chown_to(dir, &name, who)),
                5 => drop(as_user(who, || dir.symlink(&"x".repeat(200), &name))),
                // With passthrough a file with pages that nobody wrote stays with the owner before.
                6 if !mount.passthrough() => {
                    if let Ok(fd) = dir.open(&name, OFlags::RDWR | OFlags::NOFOLLOW, 0) {
                        let _ = fallocate(&fd, FallocateFlags::KEEP_SIZE, amount, 100_000);
                    }
                }
                _ => drop(dir.unlink(&name)),
            }
            if step % 50 == 0 {
                check_sums(dir, &people);
            }
        }
        check_sums(dir, &people);
    });
}

fn check_sums(dir: &Dir, people: &[Identity]) {
    let mut found = Vec::new();
    let limit = std::time::Instant::now() + SOON;
    loop {
        let stats: Vec<_> = dir.names().iter().map(|name| dir.lstat(name).unwrap()).collect();
        let all: u64 = stats.iter().map(|stat| stat.st_blocks as u64 * 512).sum();
        let left = (48 << 20) - all;
        let sum = |who: &Identity| {
            let own = stats.iter().filter(|stat| stat.st_uid == who.uid);
            let (bytes, names) = own.fold((0, 0), |(bytes, names), stat| {
                (bytes + stat.st_blocks as u64 * 512, names + 1)
            });
            (((10 << 20) - bytes).min(left), 12 - names)
        };
        let expected: Vec<_> = people.iter().map(sum).collect();
        let shown: Vec<_> = people.iter().map(|&who| free(dir, who)).collect();
        if expected == shown && free(dir, ROOT).0 == left {
            return;
        }
        if std::time::Instant::now() > limit {
            found.push((expected, shown));
        }
        assert!(found.is_empty(), "{found:?}, left {left}, {:?}", free(dir, ROOT));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn limits_that_mean_nothing_cost_nothing() {
    in_both_modes("size=8m,user_size=0,user_inodes=0", |mount| {
        let dir = mount.dir();
        assert_eq!(as_user(ALICE, || fill(dir, "a")), (8 * MIB, Errno::NOSPC));
        assert_eq!(free(dir, ALICE).0, 0);
    });
    in_both_modes("size=8m,user_size=1g", |mount| {
        assert_eq!(free(mount.dir(), ALICE).0, 8 << 20);
        as_user(ALICE, || mount.dir().file("a", &vec![1; 3 * MIB], 0o644));
        assert_eq!(free(mount.dir(), ALICE).0, 5 << 20);
    });
}

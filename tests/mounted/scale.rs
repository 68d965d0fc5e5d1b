//! Many files in one directory: what each costs the daemon in time and memory, and that it all comes back.
//! `OWLTMP_SCALE_FILES` raises the number to a million.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags, openat, removexattr, setxattr, statat, unlinkat};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::identity::ROOT;
use crate::common::mount::{Setup, tmpfs_plays_owltmp};
use crate::common::{Kind, Mount, as_user, env_number, wait_until};

/// Resident bytes that an empty file may cost the daemon.
const BYTES_PER_FILE: u64 = 700;

fn rates(what: &str, rates: &[f64]) {
    let text: Vec<String> = rates.iter().map(|r| format!("{:.0}", r / 1000.0)).collect();
    println!("{what}: {} thousand/s for each tenth", text.join(" "));
    // The last tenths against the first ones, each by its best, for the machine is shared: a linear search anywhere would
    // make the last tenth many times slower, noise does not.
    let best = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    let (first, last) = (best(&rates[..4]), best(&rates[6..]));
    assert!(last > first / 3.0, "{what} slows down: {rates:?}");
}

/// Does `each` for all numbers of each tenth in two threads; returns the rate of each tenth.
fn in_tenths(root: &Path, count: u64, each: impl Fn(u64) + Sync) -> Vec<f64> {
    let tenth = count / 10;
    let run = |part: u64| {
        let start = Instant::now();
        let half = |half: u64| {
            let each = &each;
            move || {
                as_user(ROOT, || {
                    std::env::set_current_dir(root).unwrap();
                    (0..tenth)
                        .filter(|i| i % 2 == half)
                        .for_each(|i| each(part * tenth + i));
                });
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(half(0));
            scope.spawn(half(1));
        });
        tenth as f64 / start.elapsed().as_secs_f64()
    };
    (0..10).map(run).collect()
}

fn file_name(i: u64) -> String {
    format!("file-{i}")
}

fn measure_listing(mount: &Mount, count: u64) {
    let start = Instant::now();
    let seen = mount.dir().names().len() as u64;
    println!(
        "list: {:.0} thousand/s",
        count as f64 / start.elapsed().as_secs_f64() / 1000.0
    );
    assert_eq!(seen, count);
}

/// By semantics 1.2, 1.3; the numbers: the rate does not fall with the number of files, below 700 bytes each, all
/// given back after their removal.
#[test]
fn many_files_in_one_directory() {
    let count = env_number("OWLTMP_SCALE_FILES", 200_000);
    let mut setup = Setup::new(Kind::Owltmp, &format!("mode=0777,nr_inodes={}", count + 10));
    setup.limit = Duration::from_secs(60 + count / 2000);
    let mount = setup.mount();
    let root = mount.mountpoint().to_owned();
    let before = mount.daemon_rss();
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let created = in_tenths(&root, count, |i| {
        drop(openat(CWD, file_name(i), create, Mode::RUSR).unwrap());
    });
    rates("create", &created);
    let full = mount.daemon_rss();
    if let (Some(before), Some(full)) = (before, full) {
        let each = full.saturating_sub(before) / count;
        println!("resident: {each} bytes per empty file ({before} before, {full} with {count} files)");
        assert!(each < BYTES_PER_FILE || count < 50_000);
    }
    measure_listing(&mount, count);
    let stat = in_tenths(&root, count, |i| {
        assert!(statat(CWD, file_name(i), AtFlags::empty()).is_ok())
    });
    rates("stat", &stat);
    let removed = in_tenths(&root, count, |i| unlinkat(CWD, file_name(i), AtFlags::empty()).unwrap());
    rates("remove", &removed);
    assert!(mount.dir().names().is_empty());
    if let (Some(before), Some(full)) = (before, full) {
        let most = before + (full - before) / 4;
        let now = || mount.daemon_rss().unwrap_or(0);
        println!("resident after removal: {}, to become at most {most}", now());
        wait_until("the daemon gives its memory back", Duration::from_secs(10), || {
            now() <= most
        });
        println!("resident after removal: {}", now());
    }
    assert!(tmpfs_plays_owltmp() || before.is_some());
}

/// The numbers: the time until a mount is usable and the daemon's idle memory, printed.
#[test]
fn time_to_mount_and_idle_memory() {
    let start = Instant::now();
    let mount = Mount::owltmp("mode=0777");
    println!(
        "mounted after {:?}, resident {:?} bytes",
        start.elapsed(),
        mount.daemon_rss()
    );
    if let Some(rss) = mount.daemon_rss() {
        assert!(rss < 64 << 20, "{rss} bytes before anything happens");
    }
}

/// By semantics 1.3: making and removing files for long does not grow the daemon.
#[test]
fn churn_costs_no_memory() {
    let mount = Mount::owltmp("mode=0777");
    let root = mount.mountpoint().to_owned();
    let churn = |count| {
        in_tenths(&root, count, |i| {
            let name = file_name(i);
            let fd = openat(
                CWD,
                &name,
                OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::RUSR,
            )
            .unwrap();
            rustix::io::write(&fd, b"some bytes").unwrap();
            unlinkat(CWD, &name, AtFlags::empty()).unwrap();
        })
    };
    churn(10_000);
    let before = mount.daemon_rss();
    churn(30_000);
    if let Some(before) = before {
        wait_until("the daemon is as small as before", Duration::from_secs(10), || {
            mount.daemon_rss().is_some_and(|now| now < before + (4 << 20))
        });
    }
    assert!(mount.dir().names().is_empty());
}

/// By semantics 1.3: what emptied files and removed attributes were kept in is given back, also where the files stay.
#[test]
fn what_is_emptied_costs_no_memory() {
    const FILES: u64 = 2000;
    let mount = Mount::owltmp("mode=0777,size=1g,io=cached");
    let root = mount.mountpoint().to_owned();
    let path = |i| root.join(file_name(i));
    let block = vec![b'x'; 60 << 10];
    for i in 0..FILES {
        std::fs::write(path(i), b"").unwrap();
    }
    let Some(before) = mount.daemon_rss() else { return };
    let fill = |what: &str, each: &dyn Fn(u64)| {
        (0..FILES).for_each(each);
        let full = mount.daemon_rss().unwrap_or(0);
        println!("{what}: resident {before} before, {full} full");
        assert!(full > before + (100 << 20));
    };
    let empty = |each: &dyn Fn(u64)| {
        (0..FILES).for_each(each);
        wait_until("the daemon gives its memory back", Duration::from_secs(10), || {
            mount.daemon_rss().is_some_and(|now| now < before + (20 << 20))
        });
    };
    fill("contents", &|i| std::fs::write(path(i), &block).unwrap());
    empty(&|i| drop(std::fs::File::create(path(i)).unwrap()));
    fill("attributes", &|i| {
        setxattr(path(i), "user.a", &block, XattrFlags::empty()).unwrap()
    });
    empty(&|i| removexattr(path(i), "user.a").unwrap());
}

/// semantics 6.3: whoever allocates gigabytes holds up nobody else, though there are no more workers than those who do.
#[test]
fn long_work_holds_up_nobody() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    const LONG: u64 = 1 << 30;
    const WORKERS: usize = 2;
    let mount = Mount::owltmp("mode=0777,workers=2,size=8g");
    let dir = mount.dir();
    let (running, allocating) = (AtomicUsize::new(WORKERS), AtomicUsize::new(0));
    let mut served = 0;
    std::thread::scope(|scope| {
        for number in 0..WORKERS {
            let (running, allocating) = (&running, &allocating);
            scope.spawn(move || {
                let name = format!("long{number}");
                let file = dir.open(&name, OFlags::CREATE | OFlags::RDWR, 0o600).unwrap();
                allocating.fetch_add(1, Ordering::SeqCst);
                rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, LONG).unwrap();
                allocating.fetch_sub(1, Ordering::SeqCst);
                assert_eq!(rustix::fs::fstat(&file).unwrap().st_size.cast_unsigned(), LONG);
                dir.unlink(&name).unwrap();
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let all_at_it = || allocating.load(Ordering::SeqCst) == WORKERS;
        while running.load(Ordering::SeqCst) > 0 {
            let before = all_at_it();
            dir.mkdir("short", 0o700).unwrap();
            dir.rmdir("short").unwrap();
            served += usize::from(before && all_at_it());
        }
    });
    println!("served while files of 1 GiB were allocated, one for each worker: {served}");
    assert!(served > 20 || tmpfs_plays_owltmp(), "only {served} pairs of requests");
}

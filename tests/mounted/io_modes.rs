//! `io=`: who reads and writes the contents of files, and what is said where that cannot be had (semantics 6.2).

use crate::common::{Mount, OFlags};
use crate::program::{
    DeviceForAll, Scratch, Stopped, as_nobody, assert_one_line, assert_silent_success, copy_for_users, mounts_at,
    owltmp,
};

/// With passthrough an open file is read, written and mapped while the daemon cannot answer anything. Should it be asked all
/// the same, the watchdog ends the mount.
#[test]
fn the_daemon_takes_no_part_in_reading_and_writing() {
    for options in ["mode=0777", "mode=0777,io=auto", "mode=0777,io=passthrough"] {
        let mount = Mount::owltmp(options);
        if !mount.passthrough() {
            continue;
        }
        let fd = mount.dir().open("f", OFlags::CREATE | OFlags::RDWR, 0o600).unwrap();
        // The first write asks whether the file has capabilities that end with it.
        assert_eq!(rustix::io::pwrite(&fd, b"a", 0), Ok(1));
        let bytes: Vec<u8> = (0..3 << 20).map(|i| (i / 1000) as u8).collect();
        let mut read = vec![0; bytes.len()];
        {
            let _stopped = Stopped::new(&mount);
            assert_eq!(rustix::io::pwrite(&fd, &bytes, 0), Ok(bytes.len()));
            assert_eq!(rustix::io::pread(&fd, &mut read, 0), Ok(bytes.len()));
            let map = crate::common::map::Map::shared(&fd, bytes.len()).unwrap();
            map.put(4096, b"through the map");
            assert_eq!(rustix::io::pread(&fd, &mut read[..15], 4096), Ok(15));
        }
        assert_eq!(&read[..15], b"through the map");
        assert!(read[15..] == bytes[15..]);
    }
}

#[test]
fn what_cannot_be_had_is_said() {
    let scratch = Scratch::new();
    let _device = DeviceForAll::new();
    let program = copy_for_users(&scratch);
    let place = scratch.mountpoint();
    let mut mount = as_nobody(&program);
    let refused = mount
        .args(["mount", "-o", "io=passthrough"])
        .arg(&place)
        .output()
        .unwrap();
    assert_one_line(&refused, 1, "io=passthrough: FUSE passthrough needs CAP_SYS_ADMIN");
    assert!(mounts_at(&place).is_empty());
    let mut mount = as_nobody(&program);
    assert_silent_success(&mount.args(["mount", "-o", "io=auto"]).arg(&place).output().unwrap());
    assert_silent_success(&as_nobody(&program).arg("umount").arg(&place).output().unwrap());
    scratch.expect_nothing_left();
}

#[test]
fn modes_that_do_not_exist() {
    let scratch = Scratch::new();
    for bad in ["io", "io=", "io=direct", "io=Auto"] {
        let output = owltmp(&["mount", "-o", bad], &scratch.mountpoint()).output().unwrap();
        assert_one_line(&output, 2, bad.trim_end_matches('='));
    }
    scratch.expect_nothing_left();
}

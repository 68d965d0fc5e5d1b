//! systemd-tmpfiles and tmpreaper clean the same mount at the same time: nothing that is used goes by ours, and neither of them
//! trips over it.

use std::process::{Command, Stdio};

use super::*;

#[test]
fn other_cleaners_beside_ours_do_no_harm() {
    for io in IO {
        let mount = mount(io, 600, 30);
        let config = mount.scratch().join("clean.conf");
        fs::write(&config, format!("d {} 0777 root root 10d\n", mount.path().display())).unwrap();
        let open = mount.dir().create("open");
        let end = std::time::Instant::now() + Duration::from_secs(2);
        let mut round = 0;
        while std::time::Instant::now() < end {
            round += 1;
            let dir = mount.dir().subdir(&format!("d{round}"), 0o755);
            for number in 0..20 {
                dir.file(&format!("{number}"), b"x", 0o644);
            }
            let young = format!("d{round}/0");
            let tmpfiles = Command::new("systemd-tmpfiles")
                .arg("--clean")
                .arg(&config)
                .stderr(Stdio::piped())
                .output()
                .unwrap();
            assert!(tmpfiles.status.success(), "{tmpfiles:?}");
            let reaper = Command::new("tmpreaper")
                .args(["--runtime=10", "240h"])
                .arg(mount.path())
                .output()
                .unwrap();
            assert!(reaper.status.success(), "{reaper:?}");
            let touched = std::time::Instant::now();
            fs::write(mount.dir().path(&young), "touched").map_or_else(
                |error| assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
                |()| {
                    let there = mount.dir().lstat(&young).is_ok();
                    assert!(there || touched.elapsed() > Duration::from_millis(500));
                },
            );
            assert!(mount.dir().lstat("open").is_ok());
        }
        drop(open);
        wait_until("ours has removed it all", PATIENCE, || mount.dir().names().is_empty());
    }
}

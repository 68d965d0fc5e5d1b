//! Processes of their own for these tests: this test program, started again with a part to play in the directory of the mount.

use std::path::Path;
use std::process::{Child, Command, Stdio};

const PART: &str = "OWLTMP_LOCKS_PART";

/// A process that plays a part; killed in Drop.
pub struct Part(Child);

impl Part {
    /// Starts one in the directory `cwd`.
    pub fn start(part: &str, arguments: &[&str], cwd: &Path) -> Part {
        let entry = format!("{}::process", module_path!().split_once("::").expect("a crate").1);
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args([&entry, "--exact", "--nocapture", "--test-threads=1"])
            .env(PART, format!("{part} {}", arguments.join(" ")))
            .current_dir(cwd)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Part(child.expect("a process"))
    }

    /// Waits until it has played to the end.
    pub fn join(mut self) {
        let status = self.0.wait().expect("wait");
        assert!(status.success(), "a part: {status}");
    }

    /// kill -9; returns when it is gone.
    pub fn kill(self) {
        drop(self);
    }

    /// Whether it still plays.
    pub fn plays(&mut self) -> bool {
        self.0.try_wait().expect("wait").is_none()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process itself; does nothing when it runs as one of the tests.
#[test]
fn process() {
    let Ok(part) = std::env::var(PART) else { return };
    let words: Vec<&str> = part.split_whitespace().collect();
    let (part, arguments) = words.split_first().expect("a part");
    match *part {
        "storm" => super::storm::part(arguments),
        "mark" => super::marks::part(arguments),
        "slot" => super::waits::slot_part(arguments),
        "holder" => super::waits::holder_part(arguments),
        "waiter" => super::waits::waiter_part(arguments),
        "write" => super::waits::write_part(arguments),
        "left" => super::owners::left_part(arguments),
        "program" => super::programs::part(arguments),
        "owner" => super::owners::part(arguments),
        other => panic!("nobody plays {other}"),
    }
    std::process::exit(0);
}

//! A process of its own that runs as somebody and makes the system calls it is told to: this test program, started again.
//! It is killed in Drop, and ends by itself when its socket closes.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::call::{Answer, Call, Wire};
use super::identity::Identity;
use super::perform::Performer;

const MARK: &str = "OWLTMP_ACTOR";

/// The process.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    socket: UnixStream,
}

impl Actor {
    /// Starts one; `root` becomes its working directory.
    pub fn start(who: Identity, root: &Path) -> Self {
        let program = Command::new(std::env::current_exe().expect("this program"));
        Self::spawn(program, &format!("{}:{}:{}", who.uid, who.gid, groups(who)), root)
    }

    /// Starts one that is root of a user namespace of its own, with every capability there; outside that root is `who`.
    pub fn start_as_namespace_root(who: Identity, root: &Path) -> Self {
        // Opened beforehand: this program may lie where only the real root may look.
        let script = r#"exec 9< "$0"; uid=$1 gid=$2 groups=$3; shift 3
            exec setpriv --reuid="$uid" --regid="$gid" --groups="$groups" unshare --user --map-root-user /proc/self/fd/9 "$@""#;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script])
            .arg(std::env::current_exe().expect("this program"));
        let groups = if who.groups.is_empty() {
            who.gid.to_string()
        } else {
            groups(who)
        };
        shell.args([who.uid.to_string(), who.gid.to_string(), groups]);
        Self::spawn(shell, "", root)
    }

    fn spawn(mut program: Command, identity: &str, root: &Path) -> Self {
        let (here, there) = UnixStream::pair().expect("a socket pair");
        let entry = format!("{}::actor_process", module_path!().split_once("::").expect("a crate").1);
        let child = program
            .args([&entry, "--exact", "--nocapture", "--test-threads=1"])
            .env(MARK, identity)
            .current_dir(root)
            .stdin(Stdio::from(OwnedFd::from(there)))
            .stdout(Stdio::null())
            .spawn()
            .expect("an actor");
        let mut actor = Self { child, socket: here };
        assert_eq!(
            actor.call(&Call::Pid {}).value,
            i64::from(actor.child.id()),
            "the actor answers"
        );
        actor
    }

    /// Sends a call without waiting for its answer.
    pub fn send(&mut self, call: &Call) {
        let mut bytes = vec![];
        call.put(&mut bytes);
        send(&mut self.socket, &bytes).expect("the actor reads");
    }

    /// Waits for the answer to the oldest call without one.
    pub fn answer(&mut self) -> Answer {
        let bytes = receive(&mut self.socket).expect("the actor answers");
        Answer::take(&mut &bytes[..])
    }

    /// Makes a call.
    pub fn call(&mut self, call: &Call) -> Answer {
        self.send(call);
        self.answer()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, whatever it is doing; returns when it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.end();
    }
}

fn send(socket: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    let mut frame = vec![];
    bytes.to_vec().put(&mut frame);
    socket.write_all(&frame)
}

fn receive(socket: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 4];
    socket.read_exact(&mut len)?;
    let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
    socket.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn groups(who: Identity) -> String {
    let groups: Vec<String> = who.groups.iter().map(u32::to_string).collect();
    groups.join(",")
}

fn become_identity(text: &str) {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let mut parts = text.split(':');
    let mut number = || parts.next().expect("an id").parse::<u32>().expect("a number");
    let (uid, gid) = (Uid::from_raw(number()), Gid::from_raw(number()));
    let groups = parts.next().expect("groups").split(',').filter(|g| !g.is_empty());
    let groups: Vec<Gid> = groups.map(|g| Gid::from_raw(g.parse().expect("a group"))).collect();
    setgroups(&groups).expect("setgroups");
    setresgid(gid, gid, gid).expect("setresgid");
    setresuid(uid, uid, uid).expect("setresuid");
}

/// The process itself; does nothing when it runs as one of the tests.
#[test]
fn actor_process() {
    let Ok(identity) = std::env::var(MARK) else { return };
    let socket = std::io::stdin().as_fd().try_clone_to_owned().expect("the socket");
    let mut socket = UnixStream::from(socket);
    if !identity.is_empty() {
        become_identity(&identity);
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let mut performer = Performer::default();
    while let Ok(bytes) = receive(&mut socket) {
        let answer = performer.perform(&Call::take(&mut &bytes[..]));
        let mut bytes = vec![];
        answer.put(&mut bytes);
        if send(&mut socket, &bytes).is_err() {
            break;
        }
    }
    std::process::exit(0);
}

//! Unix sockets as X11 and PostgreSQL keep them in /tmp, and named pipes.

use super::{on_mount, write};

const X11: &str = r#"
import os, socket, struct, sys, pwd
def become(name):
    who = pwd.getpwnam(name)
    os.setgroups([]); os.setgid(who.pw_gid); os.setuid(who.pw_uid)
place = sys.argv[1]
os.mkdir(place + '/.X11-unix'); os.chmod(place + '/.X11-unix', 0o1777)
name = place + '/.X11-unix/X0'
lock = place + '/.X0-lock'
ready, tell = os.pipe()
child = os.fork()
if child == 0:
    become('nobody')
    with open(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444), 'w') as file:
        file.write('%10d\n' % os.getpid())
    server = socket.socket(socket.AF_UNIX); server.bind(name); os.chmod(name, 0o777); server.listen(5)
    os.write(tell, b'1')
    peer, _ = server.accept()
    pid, uid, gid = struct.unpack('3i', peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    peer.sendall(('you are %d' % uid).encode() + peer.recv(100)); peer.close()
    os._exit(0)
os.read(ready, 1)
assert int(open(lock).read()) == child
other = os.fork()
if other == 0:
    become('daemon')
    client = socket.socket(socket.AF_UNIX); client.connect(name); client.sendall(b' friend')
    assert client.recv(100) == b'you are %d friend' % pwd.getpwnam('daemon').pw_uid
    try: os.unlink(name)
    except PermissionError: os._exit(0)
    os._exit(1)
assert os.waitpid(other, 0)[1] == 0 and os.waitpid(child, 0)[1] == 0
# The name outlives its server: nobody listens, and it cannot be bound again before it is removed.
client = socket.socket(socket.AF_UNIX)
try: client.connect(name); raise SystemExit('connected to nobody')
except ConnectionRefusedError: pass
try: client.bind(name); raise SystemExit('bound twice')
except OSError as error: assert error.errno == 98, error
os.rename(name, name + '.old'); os.unlink(name + '.old')
"#;

const POSTGRES: &str = r#"
import os, socket, sys
os.umask(0o077); os.chdir(sys.argv[1])
name, lock = '.s.PGSQL.5432', '.s.PGSQL.5432.lock'
fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600); os.write(fd, b'%d\n' % os.getpid()); os.fsync(fd); os.close(fd)
try: os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600); raise SystemExit('two servers')
except FileExistsError: pass
server = socket.socket(socket.AF_UNIX); server.bind(name); os.chmod(name, 0o777); server.listen(100)
assert os.stat(name).st_mode == 0o140777
# The server touches its socket now and then, so that cleaners of temporary files spare it.
os.utime(name); os.utime(lock)
clients = []
for number in range(50):
    client = socket.socket(socket.AF_UNIX); client.connect(name); clients.append(client)
    peer, _ = server.accept(); peer.sendall(b'x' * 5000); peer.close()
for client in clients:
    got = b''
    while piece := client.recv(65536): got += piece
    assert len(got) == 5000
datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); datagram.bind('log')
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); sender.sendto(b'line', 'log'); assert datagram.recv(10) == b'line'
for each in name, lock, 'log': os.unlink(each)
assert os.listdir('.') == []
"#;

fn python(text: &str) {
    let outside = tempfile::tempdir().unwrap();
    let program = write(outside.path(), "it.py", text);
    on_mount(
        &[("python3", "python3")],
        &format!("/usr/bin/python3 '{program}' \"$M\""),
    );
}

/// semantics 1.1: the X server's socket and lock: bound by one user, connected to by another, who can't remove it.
#[test]
fn a_display_server() {
    python(X11);
}

/// semantics 1.1, 2.1: PostgreSQL's socket and its lock file.
#[test]
fn a_database_server() {
    python(POSTGRES);
}

/// semantics 1.1: a named pipe between two users, and one between processes that come and go.
#[test]
fn named_pipes() {
    let script = r#"
        mkfifo pipe; chmod 0666 pipe
        seq 1 50000 > expected
        as() { user=$1; shift; setpriv --reuid="$user" --regid=nogroup --clear-groups "$@"; }
        as nobody sh -c 'seq 1 50000 > pipe' & writer=$!
        as daemon cat pipe | cmp - expected
        wait "$writer"
        for i in 1 2 3; do echo "$i" > pipe & done; sort < <(for i in 1 2 3; do head -n 1; done < <(exec 3<> pipe; head -n 3 <&3))
        wait; ln pipe again; rm pipe; test -p again; test "$(stat -c %s again)" = 0
    "#;
    on_mount(&[("setpriv", "util-linux")], script);
}

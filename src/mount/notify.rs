//! Telling the service manager how things stand (sd_notify(3)): datagrams to the socket that `NOTIFY_SOCKET` names.
//!
//! The socket is connected before anything is mounted: its path may lead below a mount of ours. Sending never waits, and
//! where it fails nobody is harmed: the manager waits in vain and says so.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;

use super::shown::shown;

/// Whether the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// If there is one that wants to know.
    Told,
    /// In no case: what it waits for is somebody else's to say.
    Ignored,
}

/// The connection to the service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Arc<UnixDatagram>>);

impl Notifier {
    /// The connection to the manager that started us. There is none where the variable is not set or the socket cannot be used.
    pub fn of(manager: Manager) -> Notifier {
        let name = env::var_os("NOTIFY_SOCKET").filter(|_| manager == Manager::Told);
        let Some(name) = name else {
            return Notifier::default();
        };
        match connect(&name) {
            Ok(socket) => Notifier(Some(Arc::new(socket))),
            Err(error) => {
                log::warn!("NOTIFY_SOCKET={}: {error}", shown(Path::new(&name)));
                Notifier::default()
            }
        }
    }

    /// The mount at `place` answers.
    pub fn ready(&self, place: &Path) {
        self.say(&format_args!("READY=1\nSTATUS=Serving {}", shown(place)));
    }

    /// The same, by whoever has started the daemon `main` and ends now.
    pub fn ready_elsewhere(&self, main: &str, place: &Path) {
        self.say(&format_args!(
            "MAINPID={main}\nREADY=1\nSTATUS=Serving {}",
            shown(place)
        ));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.say(&"STOPPING=1\nSTATUS=Unmounting");
    }

    fn say(&self, state: &dyn fmt::Display) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(state.to_string().as_bytes())
        {
            log::warn!("NOTIFY_SOCKET: {error}");
        }
    }
}

/// `@` begins the name of an abstract socket.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor @NAME")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 500];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn notifier(name: &OsStr) -> Notifier {
        Notifier(Some(Arc::new(connect(name).unwrap())))
    }

    #[test]
    fn a_socket_with_a_path_hears_everything() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = notifier(path.as_os_str());
        notifier.ready(Path::new("/a\nb"));
        assert_eq!(heard(&socket), "READY=1\nSTATUS=Serving /a\\nb", "a name adds no line");
        notifier.ready_elsewhere("7", Path::new("/tmp"));
        assert_eq!(heard(&socket), "MAINPID=7\nREADY=1\nSTATUS=Serving /tmp");
        notifier.stopping();
        assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=Unmounting");
    }

    #[test]
    fn so_does_an_abstract_one() {
        let name = format!("owltmp-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        notifier(format!("@{name}").as_ref()).stopping();
        assert!(heard(&socket).starts_with("STOPPING=1"));
    }

    #[test]
    fn a_manager_that_does_not_read_holds_up_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = notifier(path.as_os_str());
        (0..10_000).for_each(|_| notifier.stopping());
        drop(socket);
        notifier.stopping();
        for name in ["relative", "", "/absent/socket"] {
            connect(name.as_ref()).unwrap_err();
        }
    }
}

//! Tells systemd how the broker stands (`sd_notify(3)`), where it asked for that: a datagram to the
//! socket that `NOTIFY_SOCKET` names. Without that variable nothing is sent.

use std::io;
use std::os::unix::net::UnixDatagram;

/// Where systemd says it listens.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Clients are served.
pub(super) fn ready() {
    send("READY=1\nSTATUS=Clients are served");
}

/// The broker goes: what it still does takes a while.
pub(super) fn stopping() {
    send("STOPPING=1\nSTATUS=Finishing what is under way");
}

fn send(words: &str) {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    // Nothing depends on it but systemd's patience, which will tell.
    if let Err(error) = send_to(path.to_string_lossy().as_ref(), words) {
        tracing::warn!(%error, socket = ?path, "systemd cannot be told how this broker stands");
    }
}

fn send_to(path: &str, words: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    match path.strip_prefix('@') {
        Some(name) => {
            #[cfg(target_os = "linux")]
            {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                socket.send_to_addr(words.as_bytes(), &address)?;
                Ok(())
            }
            #[cfg(not(target_os = "linux"))]
            Err(io::Error::other(format!("{name} is no file")))
        }
        None => socket.send_to(words.as_bytes(), path).map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_socket_by_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send_to(path.to_str().unwrap(), "READY=1").unwrap();
        let mut buffer = [0; 64];
        let read = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"READY=1");
        assert!(send_to("no/such/socket", "READY=1").is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn words_reach_the_socket_by_abstract_name() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("jocko-notify-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        send_to(&format!("@{name}"), "STOPPING=1").unwrap();
        let mut buffer = [0; 64];
        let read = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"STOPPING=1");
    }
}

//! What the machine tells: disk, port, key file.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Check;
use crate::config::Config;

/// PostgreSQL stops when the disk is full; this leaves time to act.
const DISK_BYTES_MIN: u64 = 2 * 1024 * 1024 * 1024;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// How long whoever holds our port may take to say who it is.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// All of them.
pub async fn checks(config: &Config) -> Vec<Check> {
    vec![disk(&config.data.dir), port(config.http.listen).await, key(&config.data.key_file())]
}

fn disk(dir: &Path) -> Check {
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
    match rustix::fs::statvfs(existing) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let fix = format!("du -xh --max-depth=2 {} | sort -h # then make room", existing.display());
            Check::that("disk", free >= DISK_BYTES_MIN, format!("{:.1} GiB free", free as f64 / GIB), fix)
        }
        Err(error) => Check::bad("disk", error.to_string(), format!("ls -ld {}", existing.display())),
    }
}

async fn port(listen: SocketAddr) -> Check {
    match TcpListener::bind(listen).await {
        Ok(_) => Check::ok("port", format!("{listen} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let ours = tokio::time::timeout(ANSWER_MAX, is_alive(listen)).await;
            let found = format!("{listen} is taken");
            let fix = "SIRA__HTTP__LISTEN=127.0.0.1:0 # or see who has it: ss -ltnp";
            match ours {
                Ok(Ok(true)) => Check::ok("port", format!("a running sira answers on {listen}")),
                _ => Check::bad("port", found, fix),
            }
        }
        Err(error) => {
            Check::bad("port", format!("{listen}: {error}"), "sira config show --origin # http.listen")
        }
    }
}

/// Whether the one behind the port answers as we do.
async fn is_alive(listen: SocketAddr) -> io::Result<bool> {
    const ANSWER_BYTES: usize = 12;
    let mut stream = TcpStream::connect(listen).await?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer).await?;
    Ok(answer == *b"HTTP/1.1 204")
}

/// No key yet is no fault: the first start makes it.
fn key(path: &Path) -> Check {
    const NAME: &str = "key file";
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Check::ok(NAME, format!("{} is not made yet", path.display()))
        }
        Err(error) => Check::bad(NAME, error.to_string(), format!("ls -l {}", path.display())),
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            let holds = mode.trailing_zeros() >= 6 && found.size() > 0;
            let fix =
                format!("chmod 600 {} # an empty one: put its own copy back, docs/KEYS.md", path.display());
            Check::that(NAME, holds, format!("{} has mode {mode:o}", path.display()), fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_a_cross() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("master.key");
        assert!(key(&path).ok, "none yet");
        std::fs::write(&path, "key").expect("written");
        for (mode, ok) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
            assert_eq!(key(&path).ok, ok, "{mode:o}");
        }
    }

    #[tokio::test]
    async fn a_port_taken_by_a_stranger_is_a_cross() {
        let stranger = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = stranger.local_addr().expect("bound");
        // The backlog takes the connection and nobody answers it: dropped, so that nothing is waited for.
        let (check, ()) = tokio::join!(port(address), async {
            let _ = stranger.accept().await;
        });
        assert!(!check.ok, "{check:?}");
        drop(stranger);
        assert!(port(address).await.ok);
    }
}

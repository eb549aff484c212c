//! Where everything of the private PostgreSQL lies, and who may touch it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::account::Account;
use crate::{DATABASE, Error, SUPERUSER};

/// Where root's clusters go when the unprivileged user cannot enter the data directory.
const ROOT_STATE_DIR: &str = "/var/lib/sira";
/// The file name within the socket directory; the port is a part of it.
const SOCKET_NAME: &str = ".s.PGSQL.5432";
const PORT: u16 = 5432;
/// `sockaddr_un` holds 108 bytes, the last one a zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Above this size the log is begun anew at a start; one older file is kept.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
const LOG_TAIL_LINES: usize = 8;
const PASSWORD_BYTES: usize = 24;

#[derive(Debug, Clone)]
pub struct Places {
    /// Holds all of these except, where its path is too long, the socket.
    pub state: PathBuf,
    /// PostgreSQL's data directory.
    pub cluster: PathBuf,
    pub sockets: PathBuf,
    pub password: PathBuf,
    pub log: PathBuf,
    lock: PathBuf,
}

impl Places {
    /// Decides where they are; makes only the data directory.
    ///
    /// A cluster that is there already decides, so that a changed permission above it never hides the data.
    pub fn of(data_dir: &Path, account: &Account) -> Result<Self, Error> {
        let data_dir = std::path::absolute(data_dir).map_err(Error::io("resolve the data directory"))?;
        // The unprivileged user must be able to pass; what is secret in it has its own 0600.
        make_dir(&data_dir, if account.is_other() { 0o711 } else { 0o700 })?;
        let elsewhere = Path::new(ROOT_STATE_DIR).join(digest(&data_dir));
        if !account.is_other() || (account.can_enter(&data_dir) && !elsewhere.join("pg").exists()) {
            return Ok(Self::within(data_dir, account));
        }
        if data_dir.join("pg").exists() {
            let why =
                "it holds the cluster, but the user postgres cannot enter it: chmod o+x on it and above";
            return Err(Error::Directory { dir: data_dir, why: why.to_owned() });
        }
        Ok(Self::within(elsewhere, account))
    }

    fn within(state: PathBuf, account: &Account) -> Self {
        let mut sockets = state.join("run");
        if sockets.join(SOCKET_NAME).as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            let base = if account.is_other() { "/run" } else { "/tmp" };
            sockets = Path::new(base).join(format!("sira-{}", digest(&state)));
        }
        Self {
            cluster: state.join("pg"),
            password: state.join("postgres.password"),
            log: state.join("postgres.log"),
            lock: state.join("postgres.lock"),
            sockets,
            state,
        }
    }

    /// Makes the directories around the cluster, the socket's for the account alone.
    pub fn make(&self, account: &Account) -> Result<(), Error> {
        if account.is_other() {
            make_dir(&self.state, 0o711)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.sockets) {
            Ok(()) => account.give(&self.sockets)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(format!("make {}", self.sockets.display()))(error)),
        }
        // Others may have made it before us under /tmp, to listen in our place.
        let found = fs::symlink_metadata(&self.sockets).map_err(Error::io("look at the socket directory"))?;
        let private = found.is_dir() && found.uid() == account.uid() && found.mode() & 0o777 == 0o700;
        if private {
            return Ok(());
        }
        let why = format!("mode {:o}, owner {}", found.mode(), found.uid());
        Err(Error::Directory { dir: self.sockets.clone(), why })
    }

    pub fn has_cluster(&self) -> bool {
        self.cluster.join("PG_VERSION").exists()
    }

    /// Takes the lock that makes us the one supervisor, until the file is dropped.
    pub fn hold(&self) -> Result<File, Error> {
        let file = private_file(&self.lock)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { state: self.state.clone() }),
            Err(TryLockError::Error(error)) => Err(Error::io(format!("lock {}", self.lock.display()))(error)),
        }
    }

    /// Whether a process holds the lock.
    pub fn is_held(&self) -> Result<bool, Error> {
        if !self.lock.exists() {
            return Ok(false);
        }
        match self.hold() {
            Ok(_released) => Ok(false),
            Err(Error::InUse { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Makes the superuser's password and keeps it in a file that only we can read.
    pub fn make_password(&self) -> Result<String, Error> {
        let password = hex::encode(rand::random::<[u8; PASSWORD_BYTES]>());
        let mut file = private_file(&self.password)?;
        file.set_len(0)
            .and_then(|()| file.write_all(password.as_bytes()))
            .and_then(|()| file.sync_all())
            .map_err(Error::io(format!("write {}", self.password.display())))?;
        Ok(password)
    }

    /// How to connect through the socket.
    pub fn options(&self) -> Result<PgConnectOptions, Error> {
        Ok(PgConnectOptions::new_without_pgpass()
            .socket(&self.sockets)
            .port(PORT)
            .username(SUPERUSER)
            .password(&self.read_password()?)
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging())
    }

    /// The same as a URL, the socket's directory in the host's place.
    pub fn url(&self) -> Result<String, Error> {
        let password = self.read_password()?;
        let host: String = self.sockets.as_os_str().as_bytes().iter().map(|byte| percent(*byte)).collect();
        Ok(format!("postgres://{SUPERUSER}:{password}@{host}:{PORT}/{DATABASE}"))
    }

    fn read_password(&self) -> Result<String, Error> {
        match fs::read_to_string(&self.password) {
            Ok(password) => Ok(password),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::NoPassword { password: self.password.clone(), cluster: self.cluster.clone() })
            }
            Err(error) => Err(Error::io(format!("read {}", self.password.display()))(error)),
        }
    }

    /// The log, opened for the next postmaster.
    pub fn open_log(&self) -> Result<File, Error> {
        if fs::metadata(&self.log).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
            let old = self.log.with_extension("log.1");
            fs::rename(&self.log, &old).map_err(Error::io(format!("rename {}", self.log.display())))?;
        }
        private_file(&self.log)
    }

    /// The log's last lines.
    pub fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

fn make_dir(dir: &Path, mode: u32) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let result =
        fs::create_dir_all(dir).and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(mode)));
    result.map_err(Error::io(format!("make {}", dir.display())))
}

/// A file of ours alone, appended to.
fn private_file(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    opened.map_err(Error::io(format!("open {}", path.display())))
}

/// FNV-1a over the path: short, and the same in every release.
fn digest(path: &Path) -> String {
    let hash = path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_data_directory_gets_a_short_socket_path() {
        let account = Account::detect().expect("an account");
        let short = Places::within(PathBuf::from("/srv/sira/data"), &account);
        assert_eq!(short.sockets, Path::new("/srv/sira/data/run"));
        let long = Places::within(PathBuf::from("/x".repeat(80)), &account);
        assert!(long.sockets.join(SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
    }

    #[test]
    fn the_digest_never_changes() {
        assert_eq!(digest(Path::new("a")), "af63dc4c8601ec8c");
    }
}

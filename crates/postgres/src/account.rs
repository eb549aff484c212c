//! Who runs PostgreSQL: ourselves, or the user `postgres` when we are root.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Error;

const UNPRIVILEGED: &str = "postgres";
/// What the kernel sends to PostgreSQL when the thread that spawned it is gone: its fast shutdown.
const DEATH_SIGNAL: &str = "INT";

#[derive(Debug, Clone)]
pub struct Account {
    /// User and group to become; `None` runs it as we are.
    become_ids: Option<(u32, u32)>,
}

impl Account {
    pub fn detect() -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { become_ids: None });
        }
        let users = fs::read_to_string("/etc/passwd").map_err(Error::io("read /etc/passwd"))?;
        let ids = ids_of(&users, UNPRIVILEGED).ok_or(Error::NoAccount)?;
        Ok(Self { become_ids: Some(ids) })
    }

    pub fn is_other(&self) -> bool {
        self.become_ids.is_some()
    }

    /// The user id that PostgreSQL's files belong to.
    pub fn uid(&self) -> u32 {
        self.become_ids.map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid)
    }

    /// A command under this account, in a process group of its own, that ends when the calling thread does.
    ///
    /// `setpriv` does what would need unsafe code between fork and exec. Our environment stays behind: `PG*`
    /// variables would change what the programs do.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if let Some((uid, gid)) = self.become_ids {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
        }
        command.arg(format!("--pdeathsig={DEATH_SIGNAL}")).arg("--").arg(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        command
    }

    /// Whether the account can pass through this directory and all above it.
    pub fn can_enter(&self, dir: &Path) -> bool {
        let mut command = self.command(Path::new("test"));
        command.arg("-x").arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Gives a file or directory to the account.
    pub fn give(&self, path: &Path) -> Result<(), Error> {
        let Some((uid, gid)) = self.become_ids else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
            .map_err(Error::io(format!("chown {}", path.display())))
    }
}

/// `name:password:uid:gid:...` lines, as in /etc/passwd.
fn ids_of(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_of_the_exact_user() {
        let users =
            "root:x:0:0::/root:/bin/bash\npostgresql:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/:/bin/bash\n";
        assert_eq!(ids_of(users, "postgres"), Some((101, 104)));
        assert_eq!(ids_of(users, "nobody"), None);
    }
}

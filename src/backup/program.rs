//! PostgreSQL's own programs, run as children.
//!
//! **Invariant:** no password is on a command line, where every user of the machine reads it; and what a program says about
//! a row is not repeated, since it may quote it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use percent_encoding::percent_decode_str;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, Command};

use super::Error;

/// Most that is kept of what a program says.
const STDERR_BYTES_MAX: u64 = 64 * 1024;
/// Most lines of it that are told.
const LINES_MAX: usize = 5;

/// A program that is to talk to one database.
pub struct Program {
    path: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Program {
    /// The client program of this name, for a server of this major version.
    pub fn find(
        name: &str,
        bin_dir: Option<&Path>,
        server_major: u32,
        database: &PgConnectOptions,
    ) -> Result<Self, Error> {
        let path = sira_postgres::client_program(bin_dir, name, server_major)?;
        Ok(Self { path, environment: environment(database) })
    }

    /// A command without our environment: `PG*` variables would change what it does. It is killed when it is dropped.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Starts the command.
    pub fn spawn(&self, command: &mut Command) -> Result<Child, Error> {
        command.spawn().map_err(Error::io(format!("run {}", self.path.display())))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Program`] with what it said.
    pub async fn ended(&self, mut child: Child, said: String) -> Result<(), Error> {
        let status = child.wait().await.map_err(Error::io(format!("wait for {}", self.path.display())))?;
        if status.success() {
            return Ok(());
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Err(Error::Program { name, said })
    }
}

/// Reads to its end what a program says, and keeps what may be told of it.
pub async fn heard(stderr: Option<ChildStderr>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let mut said = Vec::new();
    // What cannot be read was not said.
    let _ = (&mut stderr).take(STDERR_BYTES_MAX).read_to_end(&mut said).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    tellable(&String::from_utf8_lossy(&said))
}

/// Lines that name what went wrong; those that may quote a row are left out.
fn tellable(said: &str) -> String {
    let quotes =
        |line: &str| ["DETAIL", "CONTEXT", "STATEMENT", "Command was"].iter().any(|word| line.contains(word));
    let lines = said.lines().map(str::trim).filter(|line| line.contains("error:") && !quotes(line));
    // A value in an error's own text is quoted.
    let lines = lines.map(|line| {
        let shown: Vec<&str> = line
            .split('"')
            .enumerate()
            .map(|(n, part)| if n % 2 == 1 && !is_name(part) { "..." } else { part })
            .collect();
        shown.join("\"")
    });
    let lines: Vec<String> = lines.take(LINES_MAX).collect();
    if lines.is_empty() { "it said nothing".to_owned() } else { lines.join("; ") }
}

/// As tables, columns and settings are called.
fn is_name(text: &str) -> bool {
    text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.')
}

/// How libpq reaches this database.
fn environment(database: &PgConnectOptions) -> Vec<(&'static str, String)> {
    let url = database.to_url_lossy();
    let host = match database.get_socket() {
        Some(socket) => socket.to_string_lossy().into_owned(),
        None => database.get_host().to_owned(),
    };
    let mut environment = vec![
        ("PGHOST", host),
        ("PGPORT", database.get_port().to_string()),
        ("PGUSER", database.get_username().to_owned()),
        ("PGDATABASE", database.get_database().unwrap_or(database.get_username()).to_owned()),
        ("PGAPPNAME", "sira-backup".to_owned()),
        // A dump of a large table is one statement.
        ("PGOPTIONS", "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0".to_owned()),
    ];
    if let Some(password) = url.password() {
        environment.push(("PGPASSWORD", percent_decode_str(password).decode_utf8_lossy().into_owned()));
    }
    for (name, variable) in [
        ("sslmode", "PGSSLMODE"),
        ("sslrootcert", "PGSSLROOTCERT"),
        ("sslcert", "PGSSLCERT"),
        ("sslkey", "PGSSLKEY"),
    ] {
        let value = url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        environment.extend(value.map(|value| (variable, value)));
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_the_password_by_its_environment_alone() {
        let url = "postgres://sira:p%40ss%3Aw%2Ford@db.example:6432/leads?sslmode=require";
        let found = environment(&url.parse().unwrap());
        let of = |name| found.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(of("PGPASSWORD"), Some("p@ss:w/ord"));
        assert_eq!((of("PGHOST"), of("PGPORT")), (Some("db.example"), Some("6432")));
        assert_eq!((of("PGUSER"), of("PGDATABASE")), (Some("sira"), Some("leads")));
        assert_eq!(of("PGSSLMODE"), Some("require"));
        let socket = "postgres://sira@%2Frun%2Fsira:5432/sira";
        let found = environment(&socket.parse().unwrap());
        assert!(found.contains(&("PGHOST", "/run/sira".to_owned())), "{found:?}");
    }

    #[test]
    fn what_a_program_says_about_a_row_is_not_repeated() {
        let said = "pg_restore: error: could not execute query: ERROR:  duplicate key value violates unique constraint \"users_pkey\"\n\
                    DETAIL:  Key (username)=(ayse) already exists.\n\
                    CONTEXT:  COPY users, line 1: \"1 Ayşe\"\n\
                    pg_restore: error: invalid input \"Ayşe Demo\"\n\
                    Command was: insert";
        let told = tellable(said);
        assert!(told.contains("\"users_pkey\"") && told.contains("invalid input \"...\""), "{told}");
        assert!(!told.contains("ayse") && !told.contains("Ayşe"), "{told}");
        assert_eq!(tellable(""), "it said nothing");
    }
}

//! A throw-away cluster, run as the private PostgreSQL is run, and gone afterwards.

use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;

use anyhow::Context;
use sira_postgres::{Private, Settings};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// What the tests look for.
const URL_VARIABLE: &str = "SIRA_TEST_DATABASE_URL";
/// As shells report it.
const EXIT_INTERRUPTED: u8 = 130;

/// Dropping it stops the cluster and removes it.
pub struct Throwaway {
    /// Some, until dropped.
    private: Option<Private>,
    dir: TempDir,
}

impl Throwaway {
    pub async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("sira-test-").tempdir()?;
        // The user that PostgreSQL runs as must pass through; the cluster's own directory is closed.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711))?;
        let settings = Settings { bin_dir: None, data_dir: dir.path().to_owned() };
        let private = Private::start(&settings, |_| {}).await?;
        Ok(Self { private: Some(private), dir })
    }

    /// A superuser's.
    pub fn url(&self) -> anyhow::Result<String> {
        Ok(self.private.as_ref().expect("running until dropped").url()?)
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        let Some(private) = self.private.take() else { return };
        let state = private.state_dir().to_owned();
        drop(private);
        // The temporary directory removes itself. Where root's is closed to others, the cluster lies elsewhere.
        if !state.starts_with(self.dir.path())
            && let Err(error) = std::fs::remove_dir_all(&state)
        {
            eprintln!("{}: {error}", state.display());
        }
    }
}

/// Ends as the command ended; a signal to us ends it and removes the cluster all the same.
pub async fn run(command: &[String]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command")?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let cluster = Throwaway::start().await?;
    let mut child = Command::new(program)
        .args(arguments)
        .env(URL_VARIABLE, cluster.url()?)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {program}"))?;
    tokio::select! {
        code = ended(&mut child) => code,
        _ = terminated.recv() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
        // The terminal has told the command as well: its own end is waited for.
        _ = interrupted.recv() => ended(&mut child).await,
    }
}

async fn ended(child: &mut Child) -> anyhow::Result<ExitCode> {
    let code = child.wait().await?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(EXIT_INTERRUPTED)))
}

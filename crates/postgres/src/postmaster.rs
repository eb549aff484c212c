//! The postmaster process: spawned, watched, started again, stopped and reaped by one thread of its own.
//!
//! **Invariant:** the thread outlives the process. The kernel's parent-death signal follows the thread that spawned,
//! not the process: a thread of a pool would take the database down when it goes idle.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
use crate::account::Account;
use crate::binaries::Binaries;
use crate::cluster;
use crate::places::Places;

const WATCH_POLL: Duration = Duration::from_millis(100);
const STOP_POLL: Duration = Duration::from_millis(10);
/// How long a fast shutdown may take; then an immediate one, which costs a crash recovery and loses nothing.
const FAST_STOP_MAX: Duration = Duration::from_secs(30);
const IMMEDIATE_STOP_MAX: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A postmaster that ran this long begins the backoff anew.
const STEADY: Duration = Duration::from_secs(30);

/// Connections: the pool, the engine's own, and the tests' many databases.
const CONNECTIONS_MAX: u16 = 200;

pub struct Postmaster {
    state: Arc<State>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// Zero: none.
    pid: AtomicU32,
    deaths: AtomicU32,
}

struct Launch {
    account: Account,
    program: PathBuf,
    places: Places,
}

impl Postmaster {
    /// Starts it and keeps it running until dropped.
    pub fn supervise(account: Account, binaries: &Binaries, places: &Places) -> Result<Self, Error> {
        let launch = Launch { account, program: binaries.dir.join("postgres"), places: places.clone() };
        let state = Arc::new(State::default());
        let (stop, stopped) = channel();
        let seen = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("postmaster".to_owned())
            .spawn(move || keep_running(&launch, &seen, &stopped))
            .map_err(Error::io("start the thread that watches PostgreSQL"))?;
        Ok(Self { state, stop: Some(stop), thread: Some(thread) })
    }

    /// How many postmasters ended without being asked to.
    pub fn deaths(&self) -> u32 {
        self.state.deaths.load(Ordering::Relaxed)
    }

    pub fn pid(&self) -> Option<u32> {
        Some(self.state.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its own hook; the kernel has told the postmaster to stop.
            let _ = thread.join();
        }
    }
}

fn keep_running(launch: &Launch, state: &State, stopped: &Receiver<()>) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let began = Instant::now();
        match launch.spawn() {
            Ok(mut child) => {
                state.pid.store(child.id(), Ordering::Relaxed);
                let asked = watch(&mut child, stopped);
                state.pid.store(0, Ordering::Relaxed);
                if asked {
                    return;
                }
            }
            Err(error) => tracing::error!(%error, "PostgreSQL could not be spawned"),
        }
        state.deaths.fetch_add(1, Ordering::Relaxed);
        if began.elapsed() > STEADY {
            backoff = BACKOFF_MIN;
        }
        if matches!(stopped.recv_timeout(backoff), Err(RecvTimeoutError::Disconnected)) {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
        // Backends outlive a killed postmaster for a moment, and keep the next one from starting.
        if let Err(error) = cluster::stop_orphans(&launch.places, &|note| tracing::warn!("{note}")) {
            tracing::error!(%error, "what a dead postmaster left behind does not end");
        }
    }
}

/// Waits for the end of the process; true when it was asked for.
fn watch(child: &mut Child, stopped: &Receiver<()>) -> bool {
    loop {
        if matches!(stopped.recv_timeout(WATCH_POLL), Err(RecvTimeoutError::Disconnected)) {
            shut_down(child);
            return true;
        }
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                tracing::warn!(%status, "PostgreSQL ended by itself; it is started again");
                return false;
            }
            Err(error) => {
                tracing::error!(%error, "PostgreSQL's process cannot be watched");
                return false;
            }
        }
    }
}

fn shut_down(child: &mut Child) {
    for (signal, patience) in [(Signal::INT, FAST_STOP_MAX), (Signal::QUIT, IMMEDIATE_STOP_MAX)] {
        // It is our child and not reaped yet: the id cannot be another process'.
        let _ = kill_process(Pid::from_child(child), signal);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(STOP_POLL),
                Ok(Some(_)) => return,
                Err(_) => break,
            }
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

impl Launch {
    fn spawn(&self) -> Result<Child, Error> {
        let log = self.places.open_log()?;
        let mut command = self.account.command(&self.program);
        command.arg("-D").arg(&self.places.cluster);
        self.set(&mut command);
        command.stdout(Stdio::null()).stderr(log);
        command.spawn().map_err(Error::io("run setpriv and postgres"))
    }

    /// What it always runs with, whatever the files in the cluster say.
    fn set(&self, command: &mut Command) {
        let sockets = format!("unix_socket_directories={}", self.places.sockets.display());
        let connections = format!("max_connections={CONNECTIONS_MAX}");
        let settings = [
            "cluster_name=sira",
            "listen_addresses=",
            "port=5432",
            &sockets,
            "unix_socket_permissions=0700",
            &connections,
            "shared_buffers=128MB",
            // Durability is the product.
            "fsync=on",
            "full_page_writes=on",
            "synchronous_commit=on",
            "jit=off",
            "timezone=UTC",
            "log_timezone=UTC",
            "logging_collector=off",
            "log_destination=stderr",
            // Statements, their values and the texts of errors may hold personal data; the log must not. Whoever
            // caused an error is told, and logs it; the server's own events are logged here.
            "log_min_messages=log",
            "log_statement=none",
            "log_min_error_statement=panic",
            "log_error_verbosity=terse",
            "log_parameter_max_length=0",
            "log_parameter_max_length_on_error=0",
        ];
        for setting in settings {
            command.args(["-c", setting]);
        }
    }
}

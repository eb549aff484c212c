//! The cluster on disk: making it, refusing another version's, and ending what an earlier run left behind.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::Account;
use crate::binaries::Binaries;
use crate::places::Places;
use crate::{Error, SUPERUSER};

/// How long an orphan may take for its shutdown.
const ORPHANS_MAX: Duration = Duration::from_secs(30);
const ORPHANS_POLL: Duration = Duration::from_millis(50);

/// Makes the cluster in a directory beside its place and moves it there whole: half a cluster is never found.
pub fn create(places: &Places, binaries: &Binaries, account: &Account) -> Result<(), Error> {
    let new = places.cluster.with_extension("new");
    let password_file = places.sockets.join("password");
    remove_dir(&new)?;
    // Without a version file it is no cluster, only what an interrupted removal left.
    remove_dir(&places.cluster)?;
    fs::create_dir(&new).map_err(Error::io(format!("make {}", new.display())))?;
    account.give(&new)?;
    // initdb reads the password as the account, which cannot read ours.
    let password = places.make_password()?;
    fs::write(&password_file, password).map_err(Error::io("write the password for initdb"))?;
    account.give(&password_file)?;
    let made = run_initdb(&new, &password_file, binaries, account);
    fs::remove_file(&password_file).map_err(Error::io("remove the password for initdb"))?;
    made?;
    fs::rename(&new, &places.cluster).map_err(Error::io(format!("rename {}", new.display())))
}

fn run_initdb(new: &Path, password_file: &Path, binaries: &Binaries, account: &Account) -> Result<(), Error> {
    let mut initdb = account.command(&binaries.dir.join("initdb"));
    initdb.arg("-D").arg(new).arg("--pwfile").arg(password_file).args([
        "--username",
        SUPERUSER,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--data-checksums",
    ]);
    let output = initdb.stdout(Stdio::null()).output().map_err(Error::io("run setpriv and initdb"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Initdb(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", dir.display()))(error))
        }
        _ => Ok(()),
    }
}

pub fn refuse_foreign_major(places: &Places, binaries: &Binaries) -> Result<(), Error> {
    let version = places.cluster.join("PG_VERSION");
    let made_by = fs::read_to_string(&version).map_err(Error::io(format!("read {}", version.display())))?;
    let made_by = made_by.trim().to_owned();
    if made_by == binaries.major.to_string() {
        return Ok(());
    }
    let (cluster, bin_dir) = (places.cluster.clone(), binaries.dir.clone());
    Err(Error::ForeignMajor { cluster, made_by, found: binaries.major, bin_dir })
}

/// Ends the processes that a killed supervisor left in the cluster, and the stale lock file after them.
///
/// We hold the lock, so whoever still works in the directory is nobody's. PostgreSQL itself is fooled by a lock
/// file whose process id now belongs to something else; we look at who has the directory as its own.
pub fn stop_orphans(places: &Places, tell: &dyn Fn(&str)) -> Result<(), Error> {
    let cluster = &places.cluster;
    let lock_file = cluster.join("postmaster.pid");
    let postmaster =
        fs::read_to_string(&lock_file).ok().and_then(|text| text.lines().next()?.trim().parse().ok());
    let deadline = Instant::now() + ORPHANS_MAX;
    let mut pids = processes_in(cluster);
    if !pids.is_empty() {
        tell("stopping the PostgreSQL that an earlier run left behind");
        if let Some(pid) = postmaster.filter(|pid| pids.contains(pid)).and_then(Pid::from_raw) {
            // Its fast shutdown. It may be on its way out already.
            let _ = kill_process(pid, Signal::INT);
        }
    }
    while !pids.is_empty() {
        if Instant::now() > deadline {
            return Err(Error::Orphans { cluster: cluster.clone(), pids });
        }
        std::thread::sleep(ORPHANS_POLL);
        pids = processes_in(cluster);
    }
    match fs::remove_file(&lock_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", lock_file.display()))(error))
        }
        _ => Ok(()),
    }
}

/// PostgreSQL's processes have their data directory as working directory, all of them.
fn processes_in(cluster: &Path) -> Vec<i32> {
    let Ok(cluster) = cluster.canonicalize() else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == cluster)).collect()
}

//! Claims about the private PostgreSQL: clusters of their own, made by the installed PostgreSQL.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sira_postgres::{Error, Private, Settings, running};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_mins(1);

/// A directory that the unprivileged user can enter, so that the cluster stays in it also when we are root.
fn temp_data() -> (TempDir, Settings) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).expect("it is ours");
    let settings = Settings { bin_dir: None, data_dir: dir.path().join("data") };
    (dir, settings)
}

async fn start(settings: &Settings) -> Private {
    Private::start(settings, |_| {}).await.expect("the private PostgreSQL starts")
}

async fn connect(private: &Private) -> PgConnection {
    PgConnection::connect_with(&private.options()).await.expect("it answers")
}

async fn setting(conn: &mut PgConnection, name: &str) -> String {
    sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(conn).await.expect("a setting")
}

#[tokio::test]
async fn it_is_durable_and_reached_by_its_socket_only() {
    let (_dir, settings) = temp_data();
    let private = start(&settings).await;
    let mut conn = connect(&private).await;
    for (name, value) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
    ] {
        assert_eq!(setting(&mut conn, name).await, value, "{name}");
    }
    let wrong = private.options().password("wrong");
    assert!(PgConnection::connect_with(&wrong).await.is_err(), "a wrong password must not open it");
    for secret in ["postgres.password", "postgres.log"] {
        let found = std::fs::metadata(private.state_dir().join(secret)).expect("it exists");
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{secret}");
    }
    conn.close().await.expect("closed");
    private.stop().await;
}

#[tokio::test]
async fn data_survives_a_stop_and_a_url_reaches_it() {
    let (_dir, settings) = temp_data();
    let private = start(&settings).await;
    let mut conn = connect(&private).await;
    sqlx::raw_sql("create table kept as select 7 as n").execute(&mut conn).await.expect("created");
    drop(conn);
    let pid = private.pid().expect("a postmaster");
    private.stop().await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "stopped and reaped");

    let private = start(&settings).await;
    let url = private.url().expect("the password is there");
    let mut conn = PgConnection::connect(&url).await.expect("the URL is one");
    let n: i32 = sqlx::query_scalar("select n from kept").fetch_one(&mut conn).await.expect("kept");
    assert_eq!(n, 7);
}

#[tokio::test]
async fn a_second_supervisor_is_refused_and_told_where_the_first_one_is() {
    let (_dir, settings) = temp_data();
    assert!(running(&settings).expect("looked").is_none());
    let private = start(&settings).await;
    let second = Private::start(&settings, |_| {}).await;
    assert!(matches!(second, Err(Error::InUse { .. })));
    let options = running(&settings).expect("looked").expect("it runs");
    PgConnection::connect_with(&options).await.expect("others may connect");
    private.stop().await;
    assert!(running(&settings).expect("looked").is_none());
}

#[tokio::test]
async fn a_killed_postmaster_is_started_again_with_its_data() {
    let (_dir, settings) = temp_data();
    let private = start(&settings).await;
    let mut conn = connect(&private).await;
    sqlx::raw_sql("create table kept as select 7 as n").execute(&mut conn).await.expect("created");
    kill_9(private.pid().expect("a postmaster"));

    let deadline = Instant::now() + PATIENCE;
    let mut conn = loop {
        match PgConnection::connect_with(&private.options()).await {
            // The killed one's last backend may still answer nobody; only a new postmaster accepts.
            Ok(conn) => break conn,
            Err(error) => assert!(Instant::now() < deadline, "it did not come back: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let n: i32 = sqlx::query_scalar("select n from kept").fetch_one(&mut conn).await.expect("kept");
    assert_eq!(n, 7);
    drop(conn);
    private.stop().await;
}

#[tokio::test]
async fn a_start_after_a_kill_recovers() {
    let (_dir, settings) = temp_data();
    let private = start(&settings).await;
    let mut conn = connect(&private).await;
    sqlx::raw_sql("create table kept as select 7 as n").execute(&mut conn).await.expect("created");
    kill_9(private.pid().expect("a postmaster"));
    drop(private);

    let private = start(&settings).await;
    let mut conn = connect(&private).await;
    let n: i32 = sqlx::query_scalar("select n from kept").fetch_one(&mut conn).await.expect("kept");
    assert_eq!(n, 7);
}

#[tokio::test]
async fn an_orphaned_postmaster_is_stopped_and_replaced() {
    let (_dir, settings) = temp_data();
    let private = start(&settings).await;
    let orphan_command = command_of(private.pid().expect("a postmaster"));
    private.stop().await;
    let mut orphan = orphan(&orphan_command, &settings);
    let lock_file = settings.data_dir.join("pg/postmaster.pid");
    let deadline = Instant::now() + PATIENCE;
    while !lock_file.exists() {
        assert!(Instant::now() < deadline, "the orphan does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // The orphan is our child: it must be reaped for its end to be seen.
    let reaping = tokio::task::spawn_blocking(move || orphan.wait());
    let private = start(&settings).await;
    connect(&private).await.close().await.expect("closed");
    assert!(reaping.await.expect("joined").expect("waited").success(), "a fast shutdown, not a kill");
}

#[tokio::test]
async fn another_major_versions_cluster_is_refused_with_the_way_out() {
    let (_dir, settings) = temp_data();
    start(&settings).await.stop().await;
    std::fs::write(settings.data_dir.join("pg/PG_VERSION"), "9\n").expect("written");
    let refused = Private::start(&settings, |_| {}).await.err().expect("refused");
    assert!(matches!(&refused, Error::ForeignMajor { made_by, .. } if made_by == "9"), "{refused}");
    assert!(refused.to_string().contains("postgres.bin_dir"), "{refused}");
    assert!(settings.data_dir.join("pg").exists(), "and left alone");
}

#[tokio::test]
async fn half_a_cluster_is_made_anew() {
    let (_dir, settings) = temp_data();
    std::fs::create_dir_all(settings.data_dir.join("pg.new/base")).expect("made");
    let private = start(&settings).await;
    assert!(!settings.data_dir.join("pg.new").exists());
    private.stop().await;
}

#[tokio::test]
async fn root_keeps_the_cluster_of_a_closed_directory_elsewhere() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).expect("it is ours");
    let settings = Settings { bin_dir: None, data_dir: dir.path().join("data") };
    let private = start(&settings).await;
    let state = private.state_dir().to_owned();
    private.stop().await;
    if std::fs::metadata(dir.path()).expect("ours").uid() == 0 {
        assert!(state.starts_with("/var/lib/sira"), "{}", state.display());
        std::fs::remove_dir_all(state).expect("removed");
    } else {
        assert_eq!(state, settings.data_dir);
    }
}

/// The program and arguments of a process.
fn command_of(pid: u32) -> Vec<String> {
    let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs");
    words.split_terminator('\0').map(str::to_owned).collect()
}

/// A postmaster without a supervisor, as a killed one leaves it.
fn orphan(command: &[String], settings: &Settings) -> Child {
    let owner = std::fs::metadata(settings.data_dir.join("pg")).expect("a cluster");
    let mut orphan = Command::new(&command[0]);
    orphan.args(&command[1..]).uid(owner.uid()).gid(owner.gid()).current_dir("/");
    orphan.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spawned")
}

fn kill_9(pid: u32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs");
    assert!(status.success());
}

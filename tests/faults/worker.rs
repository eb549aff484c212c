//! A worker process: runs jobs until it is killed or told to stop, and does to itself what it was told to at a failpoint.

use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use sira_engine::{CatchUp, Engine, EngineError, Link, Registry, Running, Schedule, Settings};
use sira_kernel::Clock;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::kinds::{
    Bug, Cx, Herd, Hold, Inside, MEMORY_MAX, NewSteps, Once, Outside, Poison, QUEUE, SIDE, Side, Steps, Tick,
};
use crate::ledger::Ledger;

/// Connections of the handlers when nothing else is said.
const CONNECTIONS: u32 = 10;
/// Before a new session is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(30);

/// Arguments: database URL, ledger directory, name, lease in milliseconds, then any number of `failpoint=hit:act`,
/// `old` (an older version), `stays` (a lost session is followed by a new one), `short-of-memory`, `connections=N`, `apart` and `new-key` (bugs).
pub async fn main(args: &[String]) -> ExitCode {
    let [url, dir, name, lease_ms, rest @ ..] = args else { return ExitCode::from(2) };
    let lease_ttl = Duration::from_millis(lease_ms.parse().expect("the harness hands over a number"));
    let (mut old, mut stays, mut bug, mut connections) = (false, false, None, CONNECTIONS);
    for arg in rest {
        match (arg.as_str(), arg.strip_prefix("connections=")) {
            (_, Some(most)) => connections = most.parse().expect("the harness hands over a number"),
            ("old", _) => old = true,
            ("stays", _) => stays = true,
            ("apart", _) => bug = Some(Bug::Apart),
            ("new-key", _) => bug = Some(Bug::NewKey),
            ("short-of-memory", _) => {
                let most = Some(MEMORY_MAX as u64);
                setrlimit(Resource::As, Rlimit { current: most, maximum: most }).expect("a limit may be set");
            }
            (fault, _) => arm(fault),
        }
    }
    let mut stop = signal(SignalKind::terminate()).expect("signals can be heard");
    let options = PgConnectOptions::from_str(url)
        .expect("the harness hands over a URL")
        .options([("idle_in_transaction_session_timeout", lease_ttl.as_millis().to_string())]);
    let pool = PgPoolOptions::new().max_connections(connections).connect_with(options).await;
    let pool = pool.expect("the scenario's database answers");
    let engine = Engine::new(&pool, Clock::system(), Link::Direct);
    let ledger = Arc::new(Ledger::open(Path::new(dir), name));
    ledger.write(&format!("clock {}", Clock::system().now().timestamp()));
    let cx = Cx { pool, engine: engine.clone(), ledger, lease_ttl, bug };
    let settings = Settings {
        lease_ttl,
        renew_every: lease_ttl * 3 / 20,
        fence_after: lease_ttl * 7 / 10,
        poll_every: Duration::from_millis(100),
        prefetch: 4,
        ..Settings::new(name.as_str(), "faults")
    };
    let mut running = open(&engine, old, &cx, &settings).await.expect("the session can be opened");
    loop {
        tokio::select! {
            () = running.lost() => {
                // What a zombie still has in its hands gets its chance to do harm.
                tokio::time::sleep(lease_ttl / 4).await;
                if !stays {
                    return ExitCode::from(3);
                }
                drop(running);
                running = loop {
                    match open(&engine, old, &cx, &settings).await {
                        Ok(opened) => break opened,
                        Err(_) => tokio::time::sleep(AGAIN).await,
                    }
                };
            }
            _ = stop.recv() => {
                running.drain(DRAIN).await;
                return ExitCode::SUCCESS;
            }
        }
    }
}

async fn open(engine: &Engine, old: bool, cx: &Cx, settings: &Settings) -> Result<Running, EngineError> {
    engine.start(registry(old), &[QUEUE, SIDE], cx.clone(), settings.clone()).await
}

fn registry(old: bool) -> Registry<Cx> {
    let ticks =
        Schedule::of::<Cx, _>("faults.ticks", "* * * * * *", "UTC", CatchUp::All, &Tick { slot: None });
    let registry = Registry::new().job::<Inside>().job::<Outside>().job::<Once>().workflow::<Steps>();
    let registry = registry.job::<Herd>().job::<Hold>().job::<Poison>().job::<Tick>().schedule(ticks);
    if old { registry } else { registry.job::<Side>().workflow::<NewSteps>() }
}

/// `engine::after_claim=2:kill`: at the third hit, kill -9. Also `stop` (SIGSTOP), `hang` (from then on) and `on`.
fn arm(fault: &str) {
    let (point, rest) = fault.split_once('=').expect("a fault is point=hit:act");
    let (hit, act) = rest.split_once(':').expect("a fault is point=hit:act");
    if act == "on" {
        fail::cfg(point, "return").expect("the action parses");
        return;
    }
    let hit: u64 = hit.parse().expect("a hit is a number");
    let act = act.to_owned();
    let hits = AtomicU64::new(0);
    let callback = move || {
        let now = hits.fetch_add(1, Ordering::SeqCst);
        match act.as_str() {
            "kill" if now == hit => kill_process(getpid(), Signal::KILL).expect("a process may kill itself"),
            "stop" if now == hit => kill_process(getpid(), Signal::STOP).expect("a process may stop itself"),
            "hang" if now >= hit => std::thread::sleep(Duration::from_hours(1)),
            _ => {}
        }
    };
    fail::cfg_callback(point, callback).expect("the failpoint takes a callback");
}

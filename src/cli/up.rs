//! `up`, `serve`, `work`: the long-running commands. `up` does everything in one process and brings its own
//! PostgreSQL; `serve` and `work` take one part each and meet in the database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args as ClapArgs;
use sira_domain::identity::Passwords;
use sira_engine::Queue;
use sira_jobs::queues;
use sira_sandbox::Sandbox;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Exit, check, say};
use crate::app::{Parts, Workers, keep_metrics, prepare_database, record_metrics};
use crate::config::Config;
use crate::database::{self, Database};
use crate::{demo, http, sandbox};

/// What `up` starts besides the product itself.
#[derive(Debug, ClapArgs)]
pub struct UpArgs {
    /// Seed a small demo team, and let the sandbox send leads
    #[arg(long)]
    demo: bool,
    /// Drive one real lead through everything on a data directory of its own, print what happened, and end
    #[arg(long)]
    check: bool,
}

impl UpArgs {
    /// Whether it is the check that ends by itself.
    pub fn is_check(&self) -> bool {
        self.check
    }
}

/// Which queues `work` runs.
#[derive(Debug, ClapArgs)]
pub struct WorkArgs {
    /// Names, separated by commas; all of them when left out
    #[arg(long, value_delimiter = ',')]
    queues: Vec<String>,
}

/// Tells what was done and how long it took.
pub struct Progress(Instant);

impl Progress {
    /// The clock of the first step starts.
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// One step is done; the next one's clock starts.
    pub fn done(&mut self, what: &str) -> Duration {
        let took = self.0.elapsed();
        say(&format!("  {what:<58} {:>8.2} s", took.as_secs_f64()));
        self.0 = Instant::now();
        took
    }
}

/// Everything that `up` runs, up to the moment when it serves.
pub struct Up {
    /// The parts.
    pub parts: Parts,
    /// Where the API answers.
    pub address: SocketAddr,
    /// The providers' other side, when it plays.
    pub sandbox: Option<Sandbox>,
    /// Whether the demo team was seeded just now.
    pub seeded: bool,
    config: Config,
    database: Database,
    workers: Workers,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

impl Up {
    /// Starts everything, in the order in which one thing needs another.
    pub async fn start(mut config: Config, progress: &mut Progress) -> anyhow::Result<Self> {
        let stand_in = config.sandbox.enabled;
        let sandbox = if stand_in { Some(sandbox::start(&mut config).await?) } else { None };
        let database = Database::open(&config).await?;
        progress.done(if database.private().is_some() {
            "private PostgreSQL ready"
        } else {
            "PostgreSQL answers"
        });
        let applied = prepare_database(&config, database.pool()).await?;
        progress.done(&format!("schema up to date ({applied} migrations applied)"));
        let metrics = record_metrics()?;
        let parts = Parts::assemble(&config, database.pool().clone()).await?;
        let seeded = stand_in && demo::seed(&parts.cx.db, &Passwords::new(), &config.data.dir).await?;
        if stand_in {
            progress.done(if seeded { "demo team seeded" } else { "demo team found" });
        }
        let workers = parts.work(&queues::ALL).await?;
        let listener = listen(config.http.listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let state = parts.http(metrics.clone(), &stop)?;
        let (settings, live) = (state.settings.clone(), state.live.clone());
        let router = http::router(state)?;
        let serving = {
            let stop = stop.clone();
            async move {
                tokio::select! {
                    () = http::serve(listener, router, &settings, stop) => {}
                    () = keep_metrics(metrics) => {}
                }
                live.ended().await;
            }
        };
        #[expect(clippy::disallowed_methods, reason = "owned: `finish` stops it by the token and awaits it")]
        let server = tokio::spawn(serving);
        if let Some(sandbox) = &sandbox {
            sandbox.aim(format!("http://{address}/webhooks/meta"));
            sandbox.aim_calls(format!("http://{address}/webhooks/telephony"));
            sandbox::announce(&config.data.dir, sandbox)?;
        }
        progress.done("API and workers up");
        Ok(Self { parts, address, sandbox, seeded, config, database, workers, stop, server })
    }

    /// Connections to its database.
    pub fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    /// Where the private PostgreSQL keeps everything, when there is one.
    pub fn state_dir(&self) -> Option<PathBuf> {
        self.database.private().map(|private| private.state_dir().to_owned())
    }

    /// Stops in the reverse order: no new requests, no new jobs, running ones finished, database closed.
    pub async fn finish(self) -> anyhow::Result<()> {
        if let Some(sandbox) = self.sandbox {
            sandbox::withdraw(&self.config.data.dir);
            sandbox.stop().await;
        }
        self.stop.cancel();
        self.server.await.context("the HTTP server")?;
        if !self.workers.drain(Duration::from_millis(self.config.engine.drain_ms)).await {
            say("some jobs did not finish in time; they run again at the next start");
        }
        self.database.close().await;
        Ok(())
    }

    /// [`Up::finish`], then removes all data, the private PostgreSQL's too.
    pub async fn wipe(self) -> anyhow::Result<()> {
        let data = self.config.data.dir.clone();
        let cluster = self.state_dir();
        self.finish().await?;
        for directory in [Some(data), cluster].into_iter().flatten().filter(|directory| directory.exists()) {
            std::fs::remove_dir_all(&directory)
                .with_context(|| format!("removing {}", directory.display()))?;
        }
        Ok(())
    }
}

/// `sira up`.
pub async fn up(mut config: Config, args: &UpArgs) -> anyhow::Result<Exit> {
    config.sandbox.enabled |= args.demo || args.check;
    if args.check {
        return check::run(config).await;
    }
    ensure!(
        !args.demo || config.private_postgres().is_some(),
        "`--demo` seeds users with known names, so it refuses the database that database.url names"
    );
    let mut progress = Progress::begin();
    let rate = config.sandbox.leads_per_minute;
    let up = Up::start(config, &mut progress).await?;
    if let Some(sandbox) = &up.sandbox {
        sandbox.start_live(rate);
    }
    greet(&up, rate);
    let stopped = until_stopped().await;
    say("stopping: requests and running jobs are finished first");
    up.finish().await?;
    stopped.map(|()| Exit::Ok)
}

/// `sira serve`.
pub async fn serve(config: &Config) -> anyhow::Result<Exit> {
    refuse_private(config, "serve")?;
    let database = Database::open(config).await?;
    refuse_drift(&database).await?;
    let parts = Parts::assemble(config, database.pool().clone()).await?;
    let listener = listen(config.http.listen).await?;
    say(&format!("serving on http://{}", listener.local_addr()?));
    let metrics = record_metrics()?;
    let stop = CancellationToken::new();
    let state = parts.http(metrics.clone(), &stop)?;
    let (settings, live) = (state.settings.clone(), state.live.clone());
    let serving = http::serve(listener, http::router(state)?, &settings, stop.clone());
    let stopping = async {
        let stopped = until_stopped().await;
        stop.cancel();
        stopped
    };
    let serving = async {
        tokio::select! {
            () = serving => {}
            () = keep_metrics(metrics) => {}
        }
        live.ended().await;
    };
    let ((), stopped) = tokio::join!(serving, stopping);
    database.close().await;
    stopped.map(|()| Exit::Ok)
}

/// `sira work`.
pub async fn work(config: &Config, args: &WorkArgs) -> anyhow::Result<Exit> {
    refuse_private(config, "work")?;
    let queues = named(&args.queues)?;
    let database = Database::open(config).await?;
    refuse_drift(&database).await?;
    let parts = Parts::assemble(config, database.pool().clone()).await?;
    let workers = parts.work(&queues).await?;
    say(&format!("working on {}", queues.iter().map(|queue| queue.name).collect::<Vec<_>>().join(", ")));
    let stopped = until_stopped().await;
    workers.drain(Duration::from_millis(config.engine.drain_ms)).await;
    database.close().await;
    stopped.map(|()| Exit::Ok)
}

fn refuse_private(config: &Config, command: &str) -> anyhow::Result<()> {
    ensure!(
        config.private_postgres().is_none(),
        "`sira {command}` needs database.url: the private PostgreSQL belongs to `sira up`"
    );
    Ok(())
}

/// A schema that this binary does not fit is an error at the start, not at the first row.
async fn refuse_drift(database: &Database) -> anyhow::Result<()> {
    let drift = database::drift(&mut *database.pool().acquire().await?).await?;
    ensure!(
        drift.pending.is_empty() && drift.changed.is_empty(),
        "the database lacks migrations, or has others under their names: run `sira migrate`, then `sira doctor`"
    );
    Ok(())
}

fn named(names: &[String]) -> anyhow::Result<Vec<Queue>> {
    if names.is_empty() {
        return Ok(queues::ALL.to_vec());
    }
    let find = |name: &String| {
        let known = || queues::ALL.map(|queue| queue.name).join(", ");
        let found = queues::ALL.into_iter().find(|queue| queue.name == name);
        found.with_context(|| format!("no queue is called {name}; there are {}", known()))
    };
    names.iter().map(find).collect()
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "listening on {address}: is another process there? Choose one by SIRA__HTTP__LISTEN=127.0.0.1:0"
        )
    })
}

/// Waits for Ctrl-C or SIGTERM.
async fn until_stopped() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn greet(up: &Up, rate: u32) {
    let (address, data) = (up.address, up.config.data.dir.display());
    let base = format!("http://{address}{}", up.config.http.base_path);
    let mut lines =
        vec![format!("\nSira is up: http://{address}   (API documentation: http://{address}/docs)")];
    if let Some(sandbox) = &up.sandbox {
        let file = demo::passwords_file(&up.config.data.dir);
        lines.push(format!(
            "The sandbox plays Meta, which sends {rate} leads a minute, and a telephone provider: nobody's phone rings."
        ));
        if let (true, Ok(password)) = (up.seeded, demo::password_of(&up.config.data.dir, "admin")) {
            lines.push(format!("Sign in as:  admin / {password}   (shown once)"));
        }
        lines.push(format!("Passwords of the demo team: {}", file.display()));
        lines.push(format!(
            "The sandbox listens on {}   (README, \"A tour\": how to make it fail)",
            sandbox.base_url()
        ));
        lines.push("\nTry:".to_owned());
        lines.push(format!(
            "  TOKEN=$(curl -s {base}/auth/login -H 'content-type: application/json' \\\n    -d \"{{\\\"username\\\":\\\"admin\\\",\\\"password\\\":\\\"$(sed -n 's/^admin //p' {})\\\"}}\" | sed 's/.*\"accessToken\":\"\\([^\"]*\\)\".*/\\1/')",
            file.display()
        ));
        lines.push(format!("  curl -s '{base}/leads?limit=3' -H \"authorization: Bearer $TOKEN\""));
        lines.push(format!("  curl -s '{base}/ops/jobs?limit=3' -H \"authorization: Bearer $TOKEN\""));
    }
    lines.push(format!("\nStop: Ctrl-C.  Data: {data}"));
    if let Some(state) = up.state_dir() {
        let within = state.canonicalize().ok() == up.config.data.dir.canonicalize().ok();
        let state = if within { String::new() } else { format!(" {}", state.display()) };
        lines.push(format!("Wipe: rm -rf {data}{state}"));
    }
    say(&lines.join("\n"));
}

//! Rounds over all tests and subjects, their medians and ratios.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::str::FromStr;

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::process::Command;

use crate::hardware;
use crate::load::Figures;

const URL_VARIABLE: &str = "SIRA_TEST_DATABASE_URL";
const DATABASE: &str = "bench";
/// How long senders send where a rate or a wait is measured.
const SECONDS: u64 = 5;

pub struct Plan {
    pub peers: PathBuf,
    pub json: bool,
    pub rounds: usize,
    pub only: Vec<Test>,
    pub jobs: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[clap(rename_all = "snake_case")]
pub enum Test {
    Drain,
    DrainBehindMillion,
    DrainFailing,
    DrainUnderSnapshot,
    Enqueue,
    Bulk,
    Pickup,
    Workflows,
    Atomic,
    AtomicBatch,
}

impl Test {
    fn name(self) -> String {
        self.to_possible_value().expect("no test is hidden").get_name().to_owned()
    }
}

/// Who is measured: `floor` has variants of a test, and so has our engine.
struct Subject {
    /// In the table.
    name: &'static str,
    program: Program,
    /// Tests, what the subject calls them, and how many jobs they take where that is not `--jobs`.
    tests: &'static [(Test, &'static str, Option<u64>)],
    version: &'static str,
}

enum Program {
    Own(&'static str),
    Node(&'static str),
}

const SUBJECTS: [Subject; 8] = [
    Subject {
        name: "sira",
        program: Program::Own("sira"),
        version: env!("CARGO_PKG_VERSION"),
        tests: &[
            (Test::Drain, "drain", None),
            (Test::DrainBehindMillion, "drain_behind_million", None),
            (Test::DrainFailing, "drain_failing", None),
            (Test::DrainUnderSnapshot, "drain_under_snapshot", None),
            (Test::Enqueue, "enqueue", None),
            (Test::Bulk, "bulk", None),
            (Test::Pickup, "pickup", None),
            (Test::Workflows, "workflows", Some(20_000)),
            (Test::Atomic, "atomic", Some(20_000)),
            (Test::AtomicBatch, "atomic_batch", None),
        ],
    },
    Subject {
        name: "sira, across processes",
        program: Program::Own("sira"),
        version: env!("CARGO_PKG_VERSION"),
        tests: &[(Test::Pickup, "pickup_across", None)],
    },
    Subject {
        name: "floor",
        program: Program::Own("floor"),
        version: "lease in one statement, delete in the next",
        tests: &[
            (Test::Drain, "drain_lease", None),
            (Test::Enqueue, "enqueue", None),
            (Test::Bulk, "bulk", None),
            (Test::Atomic, "atomic", Some(20_000)),
        ],
    },
    Subject {
        name: "floor, unsafe",
        program: Program::Own("floor"),
        version: "claim and delete in one statement",
        tests: &[(Test::Drain, "drain_delete", None)],
    },
    Subject {
        name: "graphile_worker (Rust)",
        program: Program::Own("graphile_worker"),
        version: "0.14.1",
        tests: &[
            (Test::Drain, "drain", None),
            (Test::Enqueue, "enqueue", None),
            (Test::Bulk, "bulk", None),
            (Test::Pickup, "pickup", None),
        ],
    },
    Subject {
        name: "graphile-worker (npm)",
        program: Program::Node("graphile_worker.mjs"),
        version: "0.17.3",
        tests: &[
            (Test::Drain, "drain", None),
            (Test::Enqueue, "enqueue", None),
            (Test::Bulk, "bulk", None),
            (Test::Pickup, "pickup", None),
        ],
    },
    Subject {
        name: "pg-boss (npm)",
        program: Program::Node("pg_boss.mjs"),
        version: "10.4.2",
        tests: &[
            (Test::Drain, "drain", None),
            (Test::DrainBehindMillion, "drain_behind_million", None),
            (Test::Enqueue, "enqueue", None),
            (Test::Bulk, "bulk", None),
            (Test::Pickup, "pickup", None),
        ],
    },
    Subject {
        name: "DBOS (npm)",
        program: Program::Node("dbos.mjs"),
        version: "5.3.0",
        tests: &[
            (Test::Enqueue, "enqueue", None),
            (Test::Pickup, "pickup", None),
            (Test::Workflows, "workflows", Some(1000)),
        ],
    },
];
const PEERS: [&str; 4] = ["graphile_worker (Rust)", "graphile-worker (npm)", "pg-boss (npm)", "DBOS (npm)"];

/// Figures of one round, by test and subject.
type Round = BTreeMap<(Test, &'static str), Figures>;

pub async fn run(plan: &Plan) -> anyhow::Result<()> {
    let url = std::env::var(URL_VARIABLE)
        .with_context(|| format!("{URL_VARIABLE} is not set: use benches/engine/run"))?;
    let admin = PgConnectOptions::from_str(&url)?.disable_statement_logging();
    let mut conn = PgConnection::connect_with(&admin).await?;
    let (server, _) = url.rsplit_once('/').context("a URL ends in a database")?;
    let fresh_url = format!("{server}/{DATABASE}");
    // Not counted: whoever is first touches the server's memory and its log for the first time.
    fresh(&mut conn).await?;
    let floor = SUBJECTS.iter().find(|subject| subject.name == "floor").context("the floor is a subject")?;
    measure(plan, floor, "drain_lease", plan.jobs, &fresh_url).await?;
    let mut rounds = Vec::new();
    for number in 1..=plan.rounds {
        let mut round = Round::new();
        for test in
            Test::value_variants().iter().filter(|test| plan.only.is_empty() || plan.only.contains(test))
        {
            for subject in &SUBJECTS {
                let Some((_, alias, jobs)) = subject.tests.iter().find(|(known, ..)| known == test) else {
                    continue;
                };
                fresh(&mut conn).await?;
                let figures = measure(plan, subject, alias, jobs.unwrap_or(plan.jobs), &fresh_url)
                    .await
                    .with_context(|| format!("{} of {}", test.name(), subject.name))?;
                eprintln!("round {number}: {:<20} {:<24} {}", test.name(), subject.name, shown(&figures));
                round.insert((*test, subject.name), figures);
            }
        }
        rounds.push(round);
    }
    let mut medians = Round::new();
    for of in rounds.first().into_iter().flat_map(Round::keys) {
        medians.insert(*of, median(rounds.iter().filter_map(|round| round.get(of))));
    }
    // What stood beside each other in one round is compared: the machine's moods last longer than one.
    let compared: Vec<_> = rounds.iter().map(ratios).collect();
    let ratios = median(compared.iter());
    for ((test, subject), figures) in &medians {
        println!("{:<20} {subject:<24} {}", test.name(), shown(figures));
    }
    println!();
    for (name, value) in &ratios {
        println!("{name:<32} {value:.3}");
    }
    if plan.json {
        let mut figures: BTreeMap<String, BTreeMap<&str, &Figures>> = BTreeMap::new();
        for ((test, subject), of) in &medians {
            figures.entry(test.name()).or_default().insert(subject, of);
        }
        let versions: BTreeMap<_, _> =
            SUBJECTS.iter().map(|subject| (subject.name, subject.version)).collect();
        let hardware = hardware::describe(&mut conn).await?;
        let object: Value = json!({
            "rounds": plan.rounds, "jobs": plan.jobs, "hardware": hardware, "versions": versions,
            "figures": figures, "ratios": ratios,
        });
        println!("{object}");
    }
    Ok(())
}

async fn fresh(conn: &mut PgConnection) -> anyhow::Result<()> {
    for sql in [
        format!("drop database if exists {DATABASE} with (force)"),
        format!("create database {DATABASE}"),
        "checkpoint".to_owned(),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    }
    Ok(())
}

async fn measure(
    plan: &Plan,
    subject: &Subject,
    test: &str,
    jobs: u64,
    url: &str,
) -> anyhow::Result<Figures> {
    let mut command = match subject.program {
        Program::Own(name) => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["subject", name, test]);
            command
        }
        Program::Node(script) => {
            let mut command = Command::new("node");
            command.arg(script).arg(test).current_dir(&plan.peers);
            command
        }
    };
    let ended = command
        .env("DATABASE_URL", url)
        .env("JOBS", jobs.to_string())
        .env("SECONDS", SECONDS.to_string())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    let printed = String::from_utf8(ended.stdout)?;
    anyhow::ensure!(ended.status.success(), "it ended with {}", ended.status);
    let last = printed.lines().last().context("it printed nothing")?;
    serde_json::from_str(last).with_context(|| format!("it printed {last:?}"))
}

fn median<'a>(rounds: impl Iterator<Item = &'a Figures>) -> Figures {
    let mut values: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for (name, value) in rounds.flatten() {
        values.entry(name).or_default().push(*value);
    }
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        f64::midpoint(low, high)
    };
    values.into_iter().map(|(name, values)| (name.clone(), middle(values))).collect()
}

fn shown(figures: &Figures) -> String {
    let all: Vec<_> = figures
        .iter()
        .map(|(name, value)| match name.strip_suffix("_ms") {
            Some(name) => format!("{name} {value:.1} ms"),
            None => format!("{value:.0} /s"),
        })
        .collect();
    all.join(", ")
}

/// More is better, except where the name ends in `_ms` or begins with `pickup`.
fn ratios(round: &Round) -> Figures {
    let figure = |test, subject, name: &str| round.get(&(test, subject))?.get(name).copied();
    let per_s = |test, subject| figure(test, subject, "per_s");
    let best_peer = |test| PEERS.iter().filter_map(|peer| per_s(test, peer)).max_by(f64::total_cmp);
    let soonest_peer =
        || PEERS.iter().filter_map(|peer| figure(Test::Pickup, peer, "p50_ms")).min_by(f64::total_cmp);
    let sira = |test| per_s(test, "sira");
    let divided = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
    let all = [
        ("drain_vs_best_peer", divided(sira(Test::Drain), best_peer(Test::Drain))),
        ("drain_vs_floor", divided(sira(Test::Drain), per_s(Test::Drain, "floor"))),
        ("drain_vs_unsafe_floor", divided(sira(Test::Drain), per_s(Test::Drain, "floor, unsafe"))),
        ("drain_behind_million", divided(sira(Test::DrainBehindMillion), sira(Test::Drain))),
        ("drain_failing", divided(sira(Test::DrainFailing), sira(Test::Drain))),
        ("drain_under_snapshot", divided(sira(Test::DrainUnderSnapshot), sira(Test::Drain))),
        ("enqueue_vs_floor", divided(sira(Test::Enqueue), per_s(Test::Enqueue, "floor"))),
        ("enqueue_vs_best_peer", divided(sira(Test::Enqueue), best_peer(Test::Enqueue))),
        ("bulk_vs_best_peer", divided(sira(Test::Bulk), best_peer(Test::Bulk))),
        ("bulk_vs_floor", divided(sira(Test::Bulk), per_s(Test::Bulk, "floor"))),
        ("pickup_p50_ms", figure(Test::Pickup, "sira", "p50_ms")),
        ("pickup_p99_ms", figure(Test::Pickup, "sira", "p99_ms")),
        ("pickup_across_p50_ms", figure(Test::Pickup, "sira, across processes", "p50_ms")),
        ("pickup_vs_best_peer", divided(figure(Test::Pickup, "sira", "p50_ms"), soonest_peer())),
        ("workflows_vs_best_peer", divided(sira(Test::Workflows), best_peer(Test::Workflows))),
        ("workflows_per_s", sira(Test::Workflows)),
        ("atomic_vs_floor", divided(sira(Test::Atomic), per_s(Test::Atomic, "floor"))),
        ("atomic_batch_per_s", sira(Test::AtomicBatch)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

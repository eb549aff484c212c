//! The engine under faults. Each scenario loads a database of its own with jobs and workflows, runs workers as
//! processes of their own, does something terrible to one of them, and checks at quiescence, against ledgers that
//! are kept in files outside PostgreSQL:
//!
//! - every accepted job with an effect in the database has it exactly once, and so has every workflow's step;
//! - every effect outside happened at least once, and only under one key;
//! - an effect outside that cannot be deduplicated happened at most once;
//! - every slot of a schedule that fires each second was fired exactly once;
//! - no slot was fired before its time, by the database's clock;
//! - every job came to its end, in one attempt where nothing was taken from under it.
//!
//! In the last scenarios a bug is put in: there the checker must find what it breaks.

mod acts;
mod check;
mod kinds;
mod ledger;
mod proxy;
mod scenario;
mod stage;
mod worker;

use std::io::Write;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use scenario::{SCENARIOS, Scenario, Verdict};

const USAGE: &str = "usage: tests/faults/run [--seeds N] [--only NAME] [--lease-ms N]

  --seeds N      rounds; each hits its victims elsewhere (1)
  --only NAME    this scenario alone
  --lease-ms N   the workers' lease, 1000 to 30000 (2000; the product's is 10000). Renewals, stop-after and waits
                 follow it, the jobs' work does not: under a long lease kill-before-renew finds it done";
/// The workers' lease when nothing else is said: short, so that a scenario takes seconds.
const LEASE_MS: u64 = 2_000;
/// Leases that the scenarios are made for: below, a busy machine alone may lose one; above, the jobs' own timeout may
/// come first.
const LEASE_MS_RANGE: RangeInclusive<u64> = 1_000..=kinds::LEASE_MS_MAX;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    if args.first().is_some_and(|arg| arg == "worker") {
        return runtime.block_on(worker::main(&args[1..]));
    }
    match runtime.block_on(run(&args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(usage) => {
            say(&usage);
            ExitCode::from(2)
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").expect("standard output takes a line");
}

/// What the command line asks for.
struct Options {
    seeds: u64,
    chosen: Vec<&'static Scenario>,
    lease_ttl: Duration,
}

/// # Errors
/// What is wrong with the arguments, to be shown.
fn options(args: &[String]) -> Result<Options, String> {
    let mut seeds = 1u64;
    let mut only = None;
    let mut lease_ms = LEASE_MS;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: &String| text.parse().map_err(|_| format!("{arg} takes a number"));
        match arg.as_str() {
            "--seeds" => seeds = number(value()?)?,
            "--only" => only = Some(value()?.clone()),
            "--lease-ms" => lease_ms = number(value()?)?,
            _ => return Err(USAGE.to_owned()),
        }
    }
    if !LEASE_MS_RANGE.contains(&lease_ms) {
        let (least, most) = LEASE_MS_RANGE.into_inner();
        return Err(format!("--lease-ms takes {least} to {most}"));
    }
    let chosen: Vec<_> =
        SCENARIOS.iter().filter(|s| only.as_ref().is_none_or(|name| name == s.name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = SCENARIOS.iter().map(|s| s.name).collect();
        return Err(format!("no such scenario; there are: {}", names.join(", ")));
    }
    Ok(Options { seeds, chosen, lease_ttl: Duration::from_millis(lease_ms) })
}

async fn run(args: &[String]) -> Result<bool, String> {
    let Options { seeds, chosen, lease_ttl } = options(args)?;
    say(&format!("{:<28} {:>4}  {:>12}  result", "scenario", "seed", "recovery ms"));
    let mut good = true;
    for seed in 0..seeds {
        for scenario in &chosen {
            let Verdict { recovery, violations } = scenario.run(seed, lease_ttl).await;
            let found = |bug: &&&str| violations.iter().any(|violation| violation.starts_with(**bug));
            let (held, result) = match scenario.must_find {
                [] if violations.is_empty() => (true, "ok".to_owned()),
                [] => (false, format!("VIOLATION: {}", violations.join("; "))),
                bugs => match bugs.iter().find(found) {
                    Some(bug) => (true, format!("ok: the seeded bug was found: {bug}")),
                    None => (false, format!("VIOLATION: not found, but: {}", violations.join("; "))),
                },
            };
            good &= held;
            let recovery = recovery.map_or("-".to_owned(), |time| time.as_millis().to_string());
            say(&format!("{:<28} {seed:>4}  {recovery:>12}  {result}", scenario.name));
        }
    }
    Ok(good)
}

//! The checker: compares the ledgers with the database at quiescence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::PgPool;

use crate::kinds::STEPS;
use crate::ledger::read_all;

/// Violations shown per rule.
const SHOWN_MAX: usize = 3;

pub const NOT_ONCE: &str = "an effect in the database not exactly once";
pub const NOT_DONE: &str = "accepted and not done";
pub const NOT_ONE_KEY: &str = "an effect outside not under one key";

/// Everything that does not hold. Where nothing was to be `undisturbed`, attempts may have ended otherwise than well.
pub async fn violations(pool: &PgPool, dir: &Path, undisturbed: bool) -> Vec<String> {
    let lines = read_all(dir);
    let mut found = Findings::default();
    // Read before the slots are: one that was settled in between would have no effect here.
    let effects: Vec<String> =
        sqlx::query_scalar("select name from effects").fetch_all(pool).await.expect("the database answers");
    let effects = tally(effects.iter().map(String::as_str));
    let events = tally(lines.iter().map(String::as_str));
    let accepted = |kind: &str| -> Vec<u32> {
        let prefix = format!("accepted {kind} ");
        lines.iter().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect()
    };
    let exactly_once = |found: &mut Findings, name: String| {
        let times = effects.get(name.as_str()).copied().unwrap_or(0);
        found.unless(times == 1, NOT_ONCE, || format!("{name}: {times}"));
    };
    for n in accepted("inside") {
        exactly_once(&mut found, format!("inside {n}"));
    }
    for kind in ["side", "hold"] {
        for n in accepted(kind) {
            exactly_once(&mut found, format!("{kind} {n}"));
        }
    }
    for (kind, steps) in [("steps", "step"), ("new-steps", "new step")] {
        for n in accepted(kind) {
            (1..=STEPS).for_each(|step| exactly_once(&mut found, format!("{steps} {n} {step}")));
        }
    }
    for n in accepted("outside") {
        let prefix = format!("outside {n} ");
        let keys: BTreeSet<_> = lines.iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
        found.unless(keys.len() == 1, NOT_ONE_KEY, || format!("{n}: {keys:?}"));
    }
    for n in accepted("once") {
        let sent = events.get(format!("once {n}").as_str()).copied().unwrap_or(0);
        let reconciled = events.get(format!("reconciled {n}").as_str()).copied().unwrap_or(0);
        found.unless(sent <= 1, "an effect that cannot be undone happened twice", || n.to_string());
        found.unless(sent + reconciled > 0, "an effect outside was forgotten", || n.to_string());
    }
    for line in &lines {
        if let Some(n) = line.strip_prefix("committed ") {
            let there = effects.contains_key(format!("inside {n}").as_str());
            found.unless(there, "a commit was lost", || n.to_owned());
        }
    }
    for slot in due_slots(pool).await {
        exactly_once(&mut found, format!("tick {slot}"));
    }
    let early = "select name from effects where name like 'tick %'
        and at < to_timestamp(substr(name, 6)::bigint)";
    let early: Vec<String> = sqlx::query_scalar(early).fetch_all(pool).await.expect("the database answers");
    found.all.extend(early.into_iter().map(|name| ("a slot fired before its time", name)));
    found.all.extend(unfinished(pool, &lines).await);
    if undisturbed {
        let ended =
            "select kind || ' ' || a.outcome from engine.attempts a join engine.finished f on f.id = a.job_id
            where a.outcome not in ('released', 'snoozed')";
        let ended: Vec<String> =
            sqlx::query_scalar(ended).fetch_all(pool).await.expect("the database answers");
        found.all.extend(ended.into_iter().map(|what| ("an attempt was in vain", what)));
    }
    found.summary()
}

async fn unfinished(pool: &PgPool, lines: &[String]) -> Vec<(&'static str, String)> {
    let noted = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
    let count = async |sql: &'static str| -> i64 {
        sqlx::query_scalar(sql).fetch_one(pool).await.expect("the database answers")
    };
    let mut found = Vec::new();
    let live = "select count(*) from engine.jobs where kind <> 'faults.tick' and (kind <> 'faults.poison' or state <> 'dead')";
    let live = count(live).await;
    if live > 0 {
        found.push(("jobs that did not end", live.to_string()));
    }
    let twice = count("select count(*) - count(distinct id) from engine.finished").await;
    if twice > 0 {
        found.push(("jobs that ended twice", twice.to_string()));
    }
    let ended = count(
        "select (select count(*) from engine.finished where outcome = 'done' and workflow_id is null
                and kind not in ('faults.tick', 'faults.herd'))
            + (select count(*) from engine.workflows where status = 'done')",
    )
    .await;
    let accepted = noted("accepted ");
    if ended != accepted as i64 {
        found.push((NOT_DONE, format!("{accepted} accepted, {ended} done")));
    }
    let herd: i64 = lines.iter().filter_map(|line| line.strip_prefix("herd ")?.parse::<i64>().ok()).sum();
    let through =
        count("select count(*) from engine.finished where outcome = 'done' and kind = 'faults.herd'").await;
    if through != herd {
        found.push(("not all of the herd came through", format!("{through} of {herd}")));
    }
    let dead =
        count("select count(*) from engine.jobs where kind = 'faults.poison' and state = 'dead'").await;
    if dead != noted("poisoned") as i64 {
        found.push(("poison that is not dead", format!("{dead} of {}", noted("poisoned"))));
    }
    found
}

/// Every second that a slot was due at, up to a few seconds ago, whether or not it was settled.
async fn due_slots(pool: &PgPool) -> Vec<i64> {
    let due = "select extract(epoch from s)::bigint from generate_series(
        (select min(slot) from engine.schedule_slots), now() - interval '3 s', interval '1 s') as s";
    sqlx::query_scalar(due).fetch_all(pool).await.expect("the database answers")
}

fn tally<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, u32> {
    let mut times = BTreeMap::new();
    for name in names {
        *times.entry(name).or_default() += 1;
    }
    times
}

#[derive(Default)]
struct Findings {
    all: Vec<(&'static str, String)>,
}

impl Findings {
    fn unless(&mut self, holds: bool, rule: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.all.push((rule, what()));
        }
    }

    /// One line per rule, with a few examples.
    fn summary(self) -> Vec<String> {
        let mut rules: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (rule, what) in self.all {
            rules.entry(rule).or_default().push(what);
        }
        let line = |(rule, all): (&str, Vec<String>)| {
            let shown: Vec<_> = all.iter().take(SHOWN_MAX).cloned().collect();
            format!("{rule} ({}): {}", all.len(), shown.join(", "))
        };
        rules.into_iter().map(line).collect()
    }
}

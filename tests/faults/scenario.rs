//! The scenarios: what is done, and what must be seen to hold.

use std::time::{Duration, Instant};

use crate::acts::Played;
use crate::check;
use crate::stage::{LOAD, Stage};

pub struct Scenario {
    pub name: &'static str,
    fault: Fault,
    /// No attempt may have ended but well.
    undisturbed: bool,
    /// A bug that is put in while the work is accepted.
    load_bug: Option<&'static str>,
    /// A bug was put in, and the checker must find one of these.
    pub must_find: &'static [&'static str],
}

enum Fault {
    /// kill -9 at this failpoint, of a worker with these arguments.
    Kill(&'static str, &'static [&'static str]),
    /// SIGSTOP at this failpoint, past the lease, then SIGCONT; with more faults.
    Zombie(&'static str, &'static [&'static str]),
    /// kill -9 at random times, one worker after the other.
    Random,
    /// kill -9 of a process of the database, which then ends them all and recovers from its log; with a worker's fault before.
    Crash(&'static [&'static str]),
    /// All connections are cut, again and again.
    Cut,
    /// SIGTERM amid long jobs.
    Stop,
    /// A network that drops everything without a word.
    Silence,
    /// Processes whose clocks tell other times.
    Clocks,
    /// Jobs that panic, abort, use up all memory, or cannot be read.
    Poison,
    /// Two versions at once, a migration meanwhile, and the way back.
    Upgrade,
    /// All connections of the handlers are held.
    Starve,
    /// The database has no connections left.
    Refuse,
    /// Very many jobs at one moment.
    Herd,
    /// A snapshot is held while very many jobs end.
    Snapshot,
}

const fn scenario(name: &'static str, fault: Fault) -> Scenario {
    Scenario { name, fault, undisturbed: false, load_bug: None, must_find: &[] }
}

const fn kill(name: &'static str, point: &'static str) -> Scenario {
    scenario(name, Fault::Kill(point, &[]))
}

const fn undisturbed(name: &'static str, fault: Fault) -> Scenario {
    Scenario { undisturbed: true, ..scenario(name, fault) }
}

const fn bug(name: &'static str, fault: Fault, must_find: &'static [&'static str]) -> Scenario {
    Scenario { must_find, ..scenario(name, fault) }
}

/// The zombie's renewal never notices: only the fence on the rows is left.
const STARVED: &[&str] = &["engine::before_renew=2:hang"];
const STARVED_UNFENCED: &[&str] = &["engine::before_renew=2:hang", "engine::no_fence=0:on"];

pub const SCENARIOS: &[Scenario] = &[
    kill("kill-after-claim", "engine::after_claim"),
    kill("kill-before-handler", "engine::before_handler"),
    kill("kill-before-commit", "engine::before_commit"),
    kill("kill-after-handler", "engine::after_handler"),
    kill("kill-before-complete", "engine::before_complete"),
    kill("kill-after-complete", "engine::after_complete"),
    kill("kill-before-renew", "engine::before_renew"),
    kill("kill-mid-slots", "engine::before_slots"),
    scenario("kill-at-random", Fault::Random),
    scenario("database-crash", Fault::Crash(&[])),
    scenario("database-crash-mid-rescue", Fault::Crash(&["engine::before_handler=5:kill"])),
    scenario("connections-cut", Fault::Cut),
    scenario("connections-refused", Fault::Refuse),
    undisturbed("connections-held", Fault::Starve),
    scenario("network-silent", Fault::Silence),
    undisturbed("stopped-by-sigterm", Fault::Stop),
    undisturbed("clocks-apart", Fault::Clocks),
    undisturbed("rolling-upgrade", Fault::Upgrade),
    undisturbed("herd", Fault::Herd),
    undisturbed("snapshot-held", Fault::Snapshot),
    scenario("poison", Fault::Poison),
    scenario("zombie", Fault::Zombie("engine::before_handler", &[])),
    scenario("zombie-starved", Fault::Zombie("engine::before_handler", STARVED)),
    scenario("zombie-mid-transaction", Fault::Zombie("engine::before_commit", STARVED)),
    scenario("zombie-mid-slots", Fault::Zombie("engine::before_slots", &[])),
    bug(
        "seeded-bug-no-fence",
        Fault::Zombie("engine::before_handler", STARVED_UNFENCED),
        &[check::NOT_ONCE, check::NOT_DONE],
    ),
    bug("seeded-bug-effect-apart", Fault::Kill("faults::apart", &["apart"]), &[check::NOT_ONCE]),
    bug("seeded-bug-new-key", Fault::Kill("faults::outside", &["new-key"]), &[check::NOT_ONE_KEY]),
    Scenario {
        load_bug: Some("engine::no_dedupe"),
        ..bug("seeded-bug-no-conflict", Fault::Random, &[check::NOT_ONCE])
    },
];

pub struct Verdict {
    /// From the fault until everything was done.
    pub recovery: Option<Duration>,
    pub violations: Vec<String>,
}

impl Scenario {
    /// With workers of this lease; every wait is in proportion to it.
    pub async fn run(&self, seed: u64, lease_ttl: Duration) -> Verdict {
        let stage = Stage::new(self.name, seed, lease_ttl).await;
        if let Some(bug) = self.load_bug {
            fail::cfg(bug, "return").expect("the action parses");
        }
        stage.load(0..LOAD).await;
        if let Some(bug) = self.load_bug {
            fail::remove(bug);
        }
        let Played { hurt, workers, broken: mut violations } = match self.fault {
            Fault::Kill(point, more) => stage.kill_at(point, more, seed).await,
            Fault::Zombie(point, more) => stage.zombie_at(point, more).await,
            Fault::Random => stage.kill_at_random(seed).await,
            Fault::Crash(before) => stage.crash(before, seed).await,
            Fault::Cut => stage.cut(seed).await,
            Fault::Stop => stage.stop().await,
            Fault::Silence => stage.silence().await,
            Fault::Clocks => stage.clocks().await,
            Fault::Poison => stage.poison().await,
            Fault::Upgrade => stage.upgrade().await,
            Fault::Starve => stage.starve().await,
            Fault::Refuse => stage.refuse().await,
            Fault::Herd => stage.herd().await,
            Fault::Snapshot => stage.hold_snapshot().await,
        };
        let quiet = stage.until_quiet().await;
        let recovery = hurt.map(|at: Instant| at.elapsed());
        violations.extend(check::violations(&stage.db.pool, &stage.dir, self.undisturbed).await);
        if hurt.is_none() {
            violations.push("the fault did not happen".to_owned());
        }
        if !quiet {
            violations.push(format!("not quiet after {} s", stage.quiet_deadline().as_secs()));
        }
        drop(workers);
        Verdict { recovery, violations }
    }
}

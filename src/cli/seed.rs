//! `sira seed`: leads of people who do not exist, as a file, into a database, or live.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use chrono::NaiveDate;
use clap::ArgGroup;
use sira_domain::identity::Passwords;
use sira_domain::imports::{self, Counts, Import, PAGE_MAX, State};
use sira_domain::nouns::UserId;
use sira_engine::ops;
use sira_jobs::queues;
use sira_kernel::{Actor, Clock};
use sira_sandbox::Remote;
use sira_synthetic::{CsvStyle, Dataset};

use super::leads::{look_until_ended, progress_bar, send};
use super::{Exit, on_database, print, say};
use crate::app::{Parts, prepare_database};
use crate::config::Config;
use crate::database::Database;
use crate::sandbox;
use crate::seed::work::Looked;
use crate::seed::{DAYS_DEFAULT, Plan, SEED_DEFAULT, floor, holds_real_leads, live, work};

/// Leads of whoever names no number.
const LEADS_DEFAULT: usize = 1_000;
/// The first day of a file of whoever names none, a Monday: the same seed gives the same bytes on every day.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 5).expect("a day of the calendar");
/// The zone of the file's times, which name their own.
const TIME_ZONE: &str = "Europe/Istanbul";
/// Leads a second: the most that the sandbox plays.
const RATE_MAX: f64 = 100.0;
/// How long the job that is under way may take at the end.
const DRAIN: Duration = Duration::from_secs(30);
/// Between two looks at whether the leads are given.
const LOOK: Duration = Duration::from_millis(200);
/// How long they may take.
const GIVING_MAX: Duration = Duration::from_mins(10);
/// How often all leads are gone over: each time, those that found room meanwhile are worked on.
const ROUNDS_MAX: usize = 20;

const HELP: &str = "\
The truth file is a CSV with one record for each row of the file of leads:
  row       the row, from 1            line      the line in which it begins
  person    who it is, as a number     verdict   created, joined, doubtful or bad
  of_row    the row that made the lead which this one joins, or looks like
  phones    in E.164                   email     in its normal form
  reason    why a bad row is bad       pool      whose agents share the lead
  status    in which the lead is to end once it was worked on
  owner     who is to own the lead, if every lead comes at its time and none is closed before the last
  given_at  since when
Who works when and carries how much stands in staff.csv beside it, or where --staff says.

--demo makes a staff with shifts and absences, sends the file through the same import as any other, waits until the leads
are given, and works on them. Run again it goes on where it stopped. It refuses a database with leads that are not of a
demo: those whose form is none of the generator's or the sandbox's.

--demo --rate plays a day's arrivals live, through the sandbox of a running `sira up --demo`.";

/// What is made.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, group = ArgGroup::new("what").required(true).args(["csv", "demo"]))]
pub struct Args {
    /// Write the leads to this file; needs no database
    #[arg(long, value_name = "FILE", requires = "truth")]
    csv: Option<PathBuf>,
    /// Write the truth about them to this file
    #[arg(long, value_name = "FILE", requires = "csv")]
    truth: Option<PathBuf>,
    /// Write who shares them to this file
    #[arg(long, value_name = "FILE", requires = "csv")]
    staff: Option<PathBuf>,
    /// Fill the database of the running `sira up`, or the one that it would run on
    #[arg(long)]
    demo: bool,
    /// Rows, duplicates and bad ones included; 1000 when not given
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    leads: Option<usize>,
    /// Decides everything; 1 when not given, another one each time with --rate
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// So many days the leads are spread over; 30 when not given
    #[arg(long, value_name = "D", conflicts_with = "rate")]
    days: Option<u32>,
    /// The first day, Turkish time; when not given, 2026-01-05 for a file, and so that it ends yesterday for --demo
    #[arg(long, value_name = "DATE", conflicts_with = "rate")]
    from: Option<NaiveDate>,
    /// Play so many leads a second live instead, on average
    #[arg(long, value_name = "R", requires = "demo")]
    rate: Option<f64>,
    /// So many seconds; 60 when not given
    #[arg(long = "for", value_name = "SECONDS", requires = "rate")]
    for_s: Option<u32>,
    /// Fill the database even though it holds leads that are not of a demo
    #[arg(long, requires = "demo", conflicts_with = "rate")]
    among_real_leads: bool,
}

/// Makes them.
pub async fn run(config: &Config, args: Args) -> anyhow::Result<Exit> {
    match (&args.csv, args.rate) {
        (Some(leads), _) => write(leads, &args),
        (None, Some(rate)) => play(config, &args, rate).await,
        (None, None) => on_database(config, async |database| fill(config, database, &args).await).await,
    }
}

/// The files alone.
fn write(leads: &Path, args: &Args) -> anyhow::Result<Exit> {
    let plan = Plan {
        seed: args.seed.unwrap_or(SEED_DEFAULT),
        leads: args.leads.unwrap_or(LEADS_DEFAULT),
        days: args.days.unwrap_or(DAYS_DEFAULT),
        from: args.from.unwrap_or(FIRST_DAY),
    };
    let dataset = plan.dataset()?;
    write_file(leads, |to| dataset.write_csv(to, CsvStyle::default()))?;
    if let Some(truth) = &args.truth {
        write_file(truth, |to| dataset.write_truth(to))?;
    }
    if let Some(staff) = &args.staff {
        write_file(staff, |to| dataset.write_staff(to))?;
    }
    print(&format!("{plan}\n{}", counted(&dataset)))?;
    Ok(Exit::Ok)
}

fn write_file(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let place = || format!("writing {}", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(place)?);
    content(&mut file).with_context(place)?;
    file.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(place)?;
    Ok(())
}

/// What the truth says in all.
fn counted(dataset: &Dataset) -> String {
    let tally = dataset.tally();
    let (created, joined, doubtful, bad) = (tally.created, tally.joined, tally.doubtful, tally.bad);
    format!("expected  created {created}  joined {joined}  doubtful {doubtful}  bad {bad}")
}

async fn fill(config: &Config, database: &Database, args: &Args) -> anyhow::Result<Exit> {
    prepare_database(config, database.pool()).await?;
    let parts = Parts::assemble(config, database.pool().clone()).await?;
    let (marker, plan) = prepare(config, &parts, args).await?;
    let dataset = plan.dataset()?;
    let home = config.data.dir.join("synthetic");
    std::fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
    let file = home.join("leads.csv");
    write_file(&file, |to| dataset.write_csv(to, CsvStyle::default()))?;
    write_file(&home.join("truth.csv"), |to| dataset.write_truth(to))?;
    write_file(&home.join("staff.csv"), |to| dataset.write_staff(to))?;
    say(&format!("{plan}: files and truth lie in {}", home.display()));
    // Whichever process is faster does the work: this one, or a running one.
    let workers = parts.work(&[queues::IMPORTS, queues::DISTRIBUTION]).await?;
    let filled = tokio::select! {
        filled = give_and_work(&parts, marker, &dataset, &file) => filled,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped; the same command goes on where it was")),
    };
    workers.drain(DRAIN).await;
    let (import, worked) = filled?;
    let Counts { created, joined, reopened, bad, .. } = import.counts;
    print(&format!(
        "{plan}\n{}\nimported  created {created}  joined {joined}  reopened {reopened}  bad {bad}\n\
         worked on {worked} leads\ntruth     {}\nstaff     {}\npasswords {}",
        counted(&dataset),
        home.join("truth.csv").display(),
        home.join("staff.csv").display(),
        floor::passwords_file(&config.data.dir).display(),
    ))?;
    Ok(Exit::Ok)
}

/// Finds the dataset that was begun, or makes the staff of a new one.
async fn prepare(config: &Config, parts: &Parts, args: &Args) -> anyhow::Result<(UserId, Plan)> {
    let mut conn = parts.cx.db.read().await?;
    ensure!(
        args.among_real_leads || !holds_real_leads(&mut conn).await?,
        "this database holds leads that are not of a demo: they came by forms that are none of the generator's. Name \
         another database (SIRA__DATABASE__URL, or SIRA__DATA__DIR for a private one), or say --among-real-leads"
    );
    let found = floor::find(&mut conn).await?;
    drop(conn);
    if let Some((marker, plan)) = found {
        // What was not said is as it was.
        let is_asked_for = args.seed.is_none_or(|seed| seed == plan.seed)
            && args.leads.is_none_or(|leads| leads == plan.leads)
            && args.days.is_none_or(|days| days == plan.days)
            && args.from.is_none_or(|from| from == plan.from);
        ensure!(
            is_asked_for,
            "this database holds another dataset already: {plan}. Ask for that one to go on with it; for this one wipe \
             the database, or name another by SIRA__DATA__DIR or SIRA__DATABASE__URL"
        );
        return Ok((marker, plan));
    }
    let days = args.days.unwrap_or(DAYS_DEFAULT);
    let plan = Plan {
        seed: args.seed.unwrap_or(SEED_DEFAULT),
        leads: args.leads.unwrap_or(LEADS_DEFAULT),
        days,
        from: args.from.unwrap_or_else(|| Plan::first_day(parts.cx.clock.now(), days)),
    };
    let dataset = plan.dataset()?;
    say("making the staff: each password is hashed, slowly on purpose");
    let marker = floor::open(&parts.cx.db, &Passwords::new(), &config.data.dir, &plan, &dataset).await?;
    Ok((marker, plan))
}

/// The import, the giving, the work. Says how it ended, and how many leads were worked on.
async fn give_and_work(
    parts: &Parts,
    marker: UserId,
    dataset: &Dataset,
    file: &Path,
) -> anyhow::Result<(Import, u64)> {
    let import = import(parts, marker, file).await?;
    let bar = progress_bar()?;
    let mut worked = 0;
    for _ in 0..ROUNDS_MAX {
        until_given(parts).await?;
        bar.reset();
        bar.set_length(dataset.options().leads as u64);
        let told = |looked: Looked| {
            worked += looked.moved;
            bar.inc(looked.rows);
            bar.set_message(format!("{worked} leads worked on"));
        };
        if work::go_over(&parts.cx, dataset, told).await? == 0 {
            break;
        }
    }
    bar.finish_and_clear();
    Ok((import, worked))
}

/// The import of this dataset, to its end; one that was begun goes on.
async fn import(parts: &Parts, marker: UserId, file: &Path) -> anyhow::Result<Import> {
    let known = imports::list(&mut *parts.cx.db.read().await?, None, PAGE_MAX).await?;
    let begun = known
        .into_iter()
        .find(|import| import.user == Some(marker) && matches!(import.state, State::Running | State::Done));
    let id = if let Some(import) = begun {
        import.id
    } else {
        let (checked, _) = send(parts, Some(marker), file, TIME_ZONE).await?;
        let mut uow = parts.cx.begin(Actor::User(marker.uuid())).await?;
        imports::start(&mut uow, checked.id, None).await?;
        uow.commit().await?;
        checked.id
    };
    let bar = progress_bar()?;
    let ended = look_until_ended(parts, id, &bar).await;
    bar.finish_and_clear();
    let ended = ended?;
    match ended.state {
        State::Done => Ok(ended),
        State::Failed => bail!("the import failed: {}", ended.failure.as_deref().unwrap_or("unknown")),
        other => bail!("the import is {}: the same command begins a new one", other.code()),
    }
}

/// Until nobody gives leads to agents at this moment: whatever waits then waits for an hour or for room.
async fn until_given(parts: &Parts) -> anyhow::Result<()> {
    let given = async {
        loop {
            let queues = ops::count_jobs(&mut *parts.cx.db.read().await?).await?;
            let is_giving = |job: &ops::QueueCount| {
                job.queue == queues::DISTRIBUTION.name && ["ready", "running"].contains(&job.state.as_str())
            };
            if !queues.iter().any(is_giving) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(GIVING_MAX, given).await.context("the leads are not given to agents")?
}

/// A day of arrivals, through the sandbox of another process.
async fn play(config: &Config, args: &Args, rate: f64) -> anyhow::Result<Exit> {
    ensure!(rate > 0.0 && rate <= RATE_MAX, "--rate: above 0, and at most {RATE_MAX} leads a second");
    let seconds = args.for_s.unwrap_or(60);
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let leads = (rate * f64::from(seconds)).round() as usize;
    let plan = Plan { seed, leads, days: 1, from: Plan::first_day(Clock::system().now(), 1) };
    let dataset = plan.dataset()?;
    let remote = Remote::new(&sandbox::find(&config.data.dir)?)?;
    let home = config.data.dir.join("synthetic");
    std::fs::create_dir_all(&home).with_context(|| format!("making {}", home.display()))?;
    let truth = home.join("live-truth.csv");
    write_file(&truth, |to| dataset.write_truth(to))?;
    say(&format!(
        "{plan}: a day's arrivals in {seconds} s, seed {seed}; the truth lies in {}",
        truth.display()
    ));
    let bar = progress_bar()?;
    bar.set_length(leads as u64);
    let length = Duration::from_secs(u64::from(seconds));
    let told = |_taken| bar.inc(1);
    let played = tokio::select! {
        played = live::play(&dataset, &remote, length, told) => played,
        _ = tokio::signal::ctrl_c() => bail!("stopped; what was announced is on its way"),
    };
    bar.finish_and_clear();
    let live::Played { taken, failed } = played.context("is `sira up --demo` still running?")?;
    print(&format!("{plan}\n{}\nannounced {taken}  failed {failed}", counted(&dataset)))?;
    ensure!(failed == 0, "{failed} leads were not announced");
    Ok(Exit::Ok)
}

//! `sira leads`: leads by the file, at a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sira_domain::imports::{self, BadRow, Counts, Format, Import, NewImport, PAGE_MAX, State, Upload};
use sira_domain::ingestion::answers::Question;
use sira_domain::nouns::{ImportId, UserId};
use sira_domain::privacy::Subject;
use sira_jobs::queues;
use sira_kernel::Actor;
use tokio::io::AsyncReadExt as _;

use super::{Exit, imports as imports_list, mending, on_database, print, say};
use crate::app::{Parts, prepare_database};
use crate::config::Config;
use crate::database::Database;

/// Bytes that are read from the file at once.
const READ_BYTES: usize = 256 * 1024;
/// Between two looks at the progress.
const LOOK: Duration = Duration::from_millis(200);
/// How long the chunk that is under way may take after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(30);

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring in a CSV file; encoding, delimiter and columns are found out
    Import(ImportArgs),
    /// Mend bad rows of an import by a CSV of what is right
    Mend(mending::Mend),
    /// Take an import's leads back, as far as nobody has worked on them
    Undo(Undo),
    /// List imports, newest first
    Imports(imports_list::Ls),
}

/// Which file, and how it is read.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file
    file: PathBuf,
    /// Take a column for a field, as in `--map "Cep No=phone"`; empty after the sign: keep it as an answer
    #[arg(long, value_name = "HEADING=FIELD")]
    map: Vec<String>,
    /// The zone in which times without one are meant
    #[arg(long, default_value = "Europe/Istanbul")]
    time_zone: String,
    /// Show what would be read, and import nothing
    #[arg(long)]
    dry_run: bool,
    /// Where the list of bad rows goes: line, column, code, advice; next to the file when not given
    #[arg(long, value_name = "PATH")]
    errors: Option<PathBuf>,
}

/// Which import.
#[derive(Debug, Args)]
pub struct Undo {
    /// Its id
    import: ImportId,
}

/// Runs one of them, on the running system or on its database. The work is done by this process, or by a running one if it
/// is faster.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    on_database(config, async |database| with(config, database, command).await).await
}

async fn with(config: &Config, database: &Database, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Import(args) => import(&assemble(config, database).await?, &args).await,
        Command::Mend(args) => mending::run(&assemble(config, database).await?, &args).await,
        Command::Undo(args) => undo(&assemble(config, database).await?, args.import).await,
        Command::Imports(args) => imports_list::run(database, args).await,
    }
}

async fn assemble(config: &Config, database: &Database) -> anyhow::Result<Parts> {
    prepare_database(config, database.pool()).await?;
    Parts::assemble(config, database.pool().clone()).await
}

async fn import(parts: &Parts, args: &ImportArgs) -> anyhow::Result<Exit> {
    let (checked, format) = send(parts, None, &args.file, &args.time_zone).await?;
    let id = checked.id;
    let mapping = remap(&format.headings, &checked.mapping, &args.map)?;
    say(&describe(&checked, &format.headings, &mapping));
    if args.dry_run {
        let mut uow = parts.cx.begin(Actor::System).await?;
        imports::cancel(&mut uow, id).await?;
        uow.commit().await?;
        return Ok(Exit::Ok);
    }
    let mut uow = parts.cx.begin(Actor::System).await?;
    imports::start(&mut uow, id, Some(mapping)).await?;
    uow.commit().await?;
    let ended = follow(parts, id).await?;
    report(&ended)?;
    if ended.counts.bad > 0 {
        let path = args.errors.clone().unwrap_or_else(|| beside(&args.file));
        let rows = write_errors(parts, id, &path).await?;
        say(&format!("{rows} bad rows: {}", path.display()));
    }
    match ended.state {
        State::Done => Ok(Exit::Ok),
        State::Failed => bail!("the import failed: {}", ended.failure.as_deref().unwrap_or("unknown")),
        other => bail!("the import is {}", other.code()),
    }
}

/// Makes an import of a file and sends it, up to the point where it can be started.
pub(super) async fn send(
    parts: &Parts,
    user: Option<UserId>,
    path: &Path,
    time_zone: &str,
) -> anyhow::Result<(Import, Format)> {
    let place = || format!("reading {}", path.display());
    let mut file = tokio::fs::File::open(path).await.with_context(place)?;
    let id = create(parts, user, path, time_zone).await?;
    let mut upload = Upload::begin(&parts.cx.db, &parts.cx.cipher, Actor::System, id).await?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer).await.with_context(place)?;
        if read == 0 {
            break;
        }
        upload.write(&buffer[..read]).await?;
    }
    upload.finish().await.with_context(|| path.display().to_string())
}

async fn create(
    parts: &Parts,
    user: Option<UserId>,
    path: &Path,
    time_zone: &str,
) -> anyhow::Result<ImportId> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let id = ImportId::new();
    let key = parts.cx.cipher.create_key(Subject::Import(id), parts.cx.clock.now()).await?;
    let region = &parts.cx.settings.phone_region;
    let new = NewImport { user, name: &name, region, time_zone };
    let mut uow = parts.cx.begin(Actor::System).await?;
    imports::create(&mut uow, &key, id, &new).await?;
    uow.commit().await?;
    Ok(id)
}

async fn undo(parts: &Parts, id: ImportId) -> anyhow::Result<Exit> {
    let mut uow = parts.cx.begin(Actor::System).await?;
    imports::request_undo(&mut uow, id).await?;
    uow.commit().await?;
    let ended = follow(parts, id).await?;
    print(&format!("removed {}  kept {}", ended.counts.removed, ended.counts.kept))?;
    Ok(Exit::Ok)
}

/// The mapping that was found, changed as was asked.
fn remap(
    headings: &[String],
    found: &[Option<Question>],
    asked: &[String],
) -> anyhow::Result<Vec<Option<Question>>> {
    let mut mapping = found.to_vec();
    for text in asked {
        let (heading, field) = text.rsplit_once('=').context("--map wants HEADING=FIELD")?;
        let place = headings.iter().position(|known| known.trim() == heading.trim());
        let place = place.with_context(|| format!("--map: no column is headed {heading:?}"))?;
        mapping[place] = match field.trim() {
            "" => None,
            field => Some(Question::parse(field).with_context(|| {
                let known = Question::codes().collect::<Vec<_>>().join(", ");
                format!("--map: no field is called {field}; there are {known}")
            })?),
        };
    }
    Ok(mapping)
}

fn describe(import: &Import, headings: &[String], mapping: &[Option<Question>]) -> String {
    let delimiter = import.delimiter.as_deref().unwrap_or_default().replace('\t', "tab");
    let columns = headings.iter().zip(mapping).map(|(heading, question)| {
        let field = question.map_or("(kept as an answer)", Question::code);
        format!("\n  {heading:<30} {field}")
    });
    format!(
        "import {}: {} bytes, {}, delimiter {delimiter}{}",
        import.id,
        import.bytes,
        import.encoding.as_deref().unwrap_or_default(),
        columns.collect::<String>()
    )
}

/// Works on it until it has ended. Ctrl-C lets the chunk that is under way end; the rest goes on at the next start.
async fn follow(parts: &Parts, id: ImportId) -> anyhow::Result<Import> {
    let workers = parts.work(&[queues::IMPORTS]).await?;
    let bar = progress_bar()?;
    let looked = tokio::select! {
        looked = look_until_ended(parts, id, &bar) => Some(looked),
        _ = tokio::signal::ctrl_c() => None,
    };
    bar.finish_and_clear();
    workers.drain(DRAIN).await;
    looked.with_context(|| format!("stopped; import {id} goes on where it is when sira runs again"))?
}

/// On stderr, for people only.
pub(super) fn progress_bar() -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template("{bar:40} {percent}% {msg} {elapsed}")?);
    Ok(bar)
}

/// Looks at an import until it has ended; somebody must work on it meanwhile.
pub(super) async fn look_until_ended(
    parts: &Parts,
    id: ImportId,
    bar: &ProgressBar,
) -> anyhow::Result<Import> {
    loop {
        let import = imports::get(&mut *parts.cx.db.read().await?, id).await?;
        if import.finished_at.is_some() {
            return Ok(import);
        }
        let (done, total) = if import.state == State::Undoing {
            (import.counts.removed, import.counts.created)
        } else {
            (import.bytes_done, import.bytes)
        };
        bar.set_length(total.max(1).cast_unsigned());
        bar.set_position(done.cast_unsigned());
        bar.set_message(format!("{} rows", import.rows_done));
        tokio::time::sleep(LOOK).await;
    }
}

fn report(import: &Import) -> anyhow::Result<()> {
    let Import { id, rows_done, counts: Counts { created, joined, reopened, bad, .. }, .. } = import;
    print(&format!(
        "import {id}  {}\nrows {rows_done}  created {created}  joined {joined}  reopened {reopened}  bad {bad}",
        import.state.code()
    ))?;
    Ok(())
}

/// `leads.csv` -> `leads.errors.csv`.
fn beside(file: &Path) -> PathBuf {
    file.with_extension("errors.csv")
}

async fn write_errors(parts: &Parts, id: ImportId, path: &Path) -> anyhow::Result<usize> {
    let place = || format!("writing {}", path.display());
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).with_context(place)?);
    write!(out, "{}", BadRow::CSV_HEADING).with_context(place)?;
    let (mut after, mut count) = (0, 0);
    loop {
        let rows = imports::list_bad(&mut *parts.cx.db.read().await?, id, after, PAGE_MAX).await?;
        let Some(last) = rows.last() else { break };
        after = last.line;
        count += rows.len();
        for row in &rows {
            write!(out, "{}", row.csv_line()).with_context(place)?;
        }
    }
    out.flush().with_context(place)?;
    ensure!(count > 0, "the bad rows are gone");
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_mapped_anew_by_their_headings() {
        let headings = ["Cep No".to_owned(), "a=b".to_owned()];
        let found = [None, Some(Question::Email)];
        let ask = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|text| (*text).to_owned()).collect();
            remap(&headings, &found, &asked)
        };
        assert_eq!(ask(&["Cep No=phone"]).unwrap(), [Some(Question::Phone), Some(Question::Email)]);
        assert_eq!(ask(&["a=b="]).unwrap(), [None, None]);
        assert!(ask(&["Nobody=phone"]).unwrap_err().to_string().contains("no column is headed"));
        assert!(ask(&["Cep No=fax"]).unwrap_err().to_string().contains("there are"));
    }
}

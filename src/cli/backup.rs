//! `sira backup` and `sira restore`.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget};
use sira_domain::audit::{PublicKey, SigningKey};
use sira_domain::privacy::Fingerprints;

use super::{Exit, print, say};
use crate::backup::{self, Examined, Manifest, Restored, Step};
use crate::config::Config;
use crate::database::Database;
use crate::{sealer, secrets};

/// Where to.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// A directory to make, or a name that ends in .tar; nothing may be there yet
    to: PathBuf,
}

/// Where from.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A directory or a tar that `sira backup` wrote
    from: PathBuf,
}

/// Backs up the running system's database, or the one that is configured.
pub async fn backup(config: &Config, args: &BackupArgs) -> anyhow::Result<Exit> {
    let database = Database::join(config).await?;
    let bar = bar();
    let taken = backup::take(config, database.pool(), &args.to, &|step| show(&bar, step)).await;
    bar.finish_and_clear();
    database.close().await;
    let manifest = taken?;
    print(&summary("backed up", &manifest, &args.to))?;
    remind(&config.data.key_file(), manifest.keys.as_ref());
    Ok(Exit::Ok)
}

/// Restores into an empty database: that of a new data directory, or the one that is configured.
pub async fn restore(config: &Config, args: &RestoreArgs) -> anyhow::Result<Exit> {
    let bar = bar();
    let tell = |step| show(&bar, step);
    let examined = Examined::of(config, &args.from, &tell).await?;
    let database = Database::join(config).await?;
    let restored = examined.restore(config, database.pool(), &tell).await;
    bar.finish_and_clear();
    database.close().await;
    let restored = restored?;
    print(&summary("restored", examined.manifest(), &args.from))?;
    say(&what_next(examined.manifest(), &restored));
    if let Some(key) = &restored.sealed_by {
        say(&whose_seal(config, key));
    }
    Ok(Exit::Ok)
}

fn bar() -> ProgressBar {
    // Hidden by itself where stderr is no terminal.
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
}

fn show(bar: &ProgressBar, step: Step) {
    match step {
        Step::Counting => bar.set_message("counting rows"),
        Step::Bytes(bytes) => bar.set_message(format!("{} of the dump", HumanBytes(bytes))),
        Step::Checking => bar.set_message("comparing checksums"),
        Step::Analyzing => bar.set_message("analyzing"),
    }
    bar.tick();
}

fn summary(done: &str, manifest: &Manifest, place: &Path) -> String {
    let bytes: u64 = manifest.parts.iter().map(|part| part.bytes).sum();
    let rows: i64 = manifest.rows.values().sum();
    let leads = manifest.rows.get("public.leads").copied().unwrap_or(0);
    format!(
        "{done} {}: {leads} leads, {rows} rows of {} tables, {} of dump, schema {}, as of {}",
        place.display(),
        manifest.rows.len(),
        HumanBytes(bytes),
        manifest.schema,
        manifest.taken_at.to_rfc3339()
    )
}

fn remind(key_file: &Path, keys: Option<&Fingerprints>) {
    let Some(keys) = keys else {
        say(
            "\nNothing is sealed in this database yet, and there is no key file. Back up again when there is.",
        );
        return;
    };
    say(&format!(
        "\n!!! THE KEY FILE IS NOT IN THIS BACKUP, and without it nobody reads a name or a number of it, ever.\n\
         !!! It lies at   {}\n\
         !!! Fingerprint  {}\n\
         !!! Keep a copy of it where this backup is not: whoever has both reads everybody, and a backup that holds its\n\
         !!! own key brings erased people back. See docs/KEYS.md.\n\
         The key of the audit log, secrets/audit_key, is not in it either: keep a copy beside that of the key file.",
        std::path::absolute(key_file).unwrap_or_else(|_| key_file.to_owned()).display(),
        backup::in_words(keys)
    ));
}

/// Whether the audit log can be sealed further here.
fn whose_seal(config: &Config, key: &PublicKey) -> String {
    let path = sealer::key_file(config);
    let ours = secrets::load_key(&path).ok().and_then(|pkcs8| SigningKey::of_pkcs8(&pkcs8).ok());
    if ours.is_some_and(|ours| ours.public() == *key) {
        return "  sira audit verify          later checkpoints than the backup's, if you have any, tell that the log was set back"
            .to_owned();
    }
    format!(
        "!!! The audit log is sealed with the key {}, which is not at {}: put it there, or nothing more is sealed.\n\
         !!! See docs/AUDIT.md.",
        key.id(),
        path.display()
    )
}

fn what_next(manifest: &Manifest, restored: &Restored) -> String {
    let as_of = manifest.taken_at.to_rfc3339();
    let proof = if restored.opened {
        "Every table has the rows that were backed up, and a sealed contact was opened with the key file."
    } else {
        "Every table has the rows that were backed up. No contact is sealed in it."
    };
    let mut lines = vec![format!("\n{proof}\n\nNext:")];
    if restored.pending > 0 {
        lines.push(format!(
            "  sira migrate               its schema is older by {} migrations",
            restored.pending
        ));
    }
    lines.extend([
        format!(
            "  erase again                who was erased after {as_of}: their keys came back (docs/KEYS.md)"
        ),
        format!(
            "  sira jobs ls --state ready what was done after {as_of} is not known to be done, and runs again"
        ),
        "  sira doctor                then start sira as before".to_owned(),
    ]);
    lines.join("\n")
}

//! `sira leads mend`: bad rows of an import, mended by a CSV of what is right.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use sira_domain::imports::{self, ImportError, MendError, Mended};
use sira_domain::leads::{LeadError, RACES_MAX};
use sira_domain::nouns::ImportId;
use sira_kernel::Actor;

use super::{Exit, print, say};
use crate::app::Parts;

/// Columns of the list of bad rows that say nothing about a person.
const OF_THE_LIST: [&str; 3] = ["column", "code", "advice"];

/// Largest file of what is right: hundreds of thousands of rows.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Which rows, and what is right.
#[derive(Debug, Args)]
pub struct Mend {
    /// The import
    import: ImportId,
    /// A CSV in UTF-8: a column `line`, as in the list of bad rows, and the columns to put right under their headings of the
    /// imported file; where it has no column, or an empty cell, the imported file's value stays
    file: PathBuf,
}

/// Mends row by row; each is answered.
pub async fn run(parts: &Parts, args: &Mend) -> anyhow::Result<Exit> {
    let rows = read(&args.file)?;
    let mut refused = 0_usize;
    for (line, values) in &rows {
        match mend(parts, args.import, *line, values).await {
            Ok(Mended { lead, effect }) => print(&format!("line {line}: {effect} {lead}"))?,
            Err(MendError::Import(error @ ImportError::WrongState { .. })) => {
                say(&format!("sira: {error}"));
                return Ok(Exit::Refused);
            }
            Err(MendError::Import(error)) => return Err(error.into()),
            Err(error) => {
                refused += 1;
                say(&format!("line {line}: {error}"));
            }
        }
    }
    say(&format!("{} rows: {} mended, {refused} as they were", rows.len(), rows.len() - refused));
    Ok(if refused == 0 { Exit::Ok } else { Exit::Refused })
}

async fn mend(
    parts: &Parts,
    import: ImportId,
    line: i64,
    values: &[(String, String)],
) -> Result<Mended, MendError> {
    let cx = &parts.cx;
    for _ in 0..RACES_MAX {
        let row = imports::prepare_row(&cx.db, &cx.cipher, (import, line), values).await?;
        let mut uow = cx.begin(Actor::System).await.map_err(ImportError::from)?;
        match imports::settle_row(&mut uow, &row).await {
            Err(MendError::Import(ImportError::Leads(LeadError::Raced))) => {}
            Err(error) => return Err(error),
            Ok(mended) => {
                uow.commit().await.map_err(ImportError::from)?;
                return Ok(mended);
            }
        }
    }
    Err(LeadError::Raced.into())
}

/// A line of the imported file, and what is right there, by heading.
type Right = (i64, Vec<(String, String)>);

/// No value is repeated in an error.
fn read(path: &Path) -> anyhow::Result<Vec<Right>> {
    let place = || format!("reading {}", path.display());
    let bytes = std::fs::metadata(path).with_context(place)?.len();
    ensure!(bytes <= FILE_BYTES_MAX, "{} is larger than 64 MiB: split it", path.display());
    parse(&std::fs::read_to_string(path).with_context(place)?).with_context(place)
}

fn parse(text: &str) -> anyhow::Result<Vec<Right>> {
    let first = text.lines().next().unwrap_or_default();
    // Spreadsheets write what their country writes.
    let delimiter = if first.contains(';') { b';' } else { b',' };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(csv::Trim::Headers)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let headings = reader.headers()?.clone();
    let of_line = headings.iter().position(|heading| heading == "line");
    let of_line = of_line.context("there is no column `line`")?;
    let given = |place: usize, heading: &str| place != of_line && !OF_THE_LIST.contains(&heading);
    if !headings.iter().enumerate().any(|(place, heading)| given(place, heading)) {
        bail!(
            "there is no column to put right beside `line`: give it the heading that it has in the imported file"
        );
    }
    let mut rows = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let at = || format!("record {} behind the headings", number + 1);
        let record = record.with_context(at)?;
        let line =
            record[of_line].trim().parse().ok().with_context(|| format!("{}: `line` is no number", at()))?;
        let values = headings.iter().zip(&record).enumerate();
        let values =
            values.filter(|(place, (heading, value))| given(*place, heading) && !value.trim().is_empty());
        rows.push((
            line,
            values.map(|(_, (heading, value))| (heading.to_owned(), value.to_owned())).collect(),
        ));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_what_is_right_is_read_by_its_headings() {
        let text = "line,column,code,advice, Telefon \n7,2,no_usable_contact,\"mend it\",0555 000 00 17\n";
        let expected = vec![(7, vec![("Telefon".to_owned(), "0555 000 00 17".to_owned())])];
        assert_eq!(parse(text).unwrap(), expected);
        let of_a_spreadsheet = "\u{feff}line;Telefon;E-Posta\r\n7;0555 000 00 17;\r\n";
        assert_eq!(parse(of_a_spreadsheet).unwrap(), expected, "an empty cell takes nothing away");
        for (text, said) in [
            ("Telefon\n0555 000 00 17\n", "no column `line`"),
            ("line,code\n7,x\n", "no column to put right"),
            ("line,Telefon\nseven,0555\n", "record 1"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(said) && !error.contains("0555"), "{error}");
        }
    }
}

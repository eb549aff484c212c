//! How lists are written: aligned for people, JSON and CSV for programs. One module, so that every list has all three.
//!
//! **Invariant:** stdout holds the rows and nothing else; that there are more of them is said on stderr.

use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Exit, print, say};

/// Most rows of one page, of any list.
pub const PAGE_MAX: u16 = 200;

/// How something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, for people
    Table,
    /// For programs: an array of objects
    Json,
    /// For spreadsheets: a heading, then a line a row
    Csv,
}

/// What every list takes besides its filters and its place to go on from.
#[derive(Debug, Clone, Args)]
pub struct Listing {
    /// At most so many, 1 to 200
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=i64::from(PAGE_MAX)))]
    pub limit: u16,
    /// How the list is written
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// What a list takes that is short enough to be printed as a whole.
#[derive(Debug, Clone, Args)]
pub struct Whole {
    /// How the list is written
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

impl Whole {
    /// Prints it.
    pub fn print<R: Row>(&self, rows: &[R]) -> anyhow::Result<Exit> {
        print(&written(self.output, rows)?)?;
        Ok(Exit::Ok)
    }
}

/// A row of a list. As JSON it is what it serialises to; as a table and as CSV it is its cells.
pub trait Row: Serialize {
    /// The columns' headings, in capitals.
    const HEADINGS: &'static [&'static str];
    /// The option that takes [`Row::position`] to go on behind this row.
    const NEXT: &'static str = "--before";
    /// One cell a column.
    fn cells(&self) -> Vec<String>;
    /// What the next page goes on from.
    fn position(&self) -> String;
}

impl Listing {
    /// Rows to ask the database for: one more than are shown tells whether there are others.
    pub fn rows_wanted(&self) -> u16 {
        self.limit + 1
    }

    /// Prints the page, and says on stderr how to go on when there is more.
    pub fn print<R: Row>(&self, mut rows: Vec<R>) -> anyhow::Result<()> {
        let more = rows.len() > usize::from(self.limit);
        rows.truncate(usize::from(self.limit));
        print(&written(self.output, &rows)?)?;
        if let (true, Some(last)) = (more, rows.last()) {
            say(&format!("there are more: {} {}", R::NEXT, last.position()));
        }
        Ok(())
    }
}

/// The rows as text, without a line break at the end.
pub fn written<R: Row>(format: Format, rows: &[R]) -> anyhow::Result<String> {
    match format {
        Format::Table => Ok(table(rows)),
        Format::Json => Ok(serde_json::to_string_pretty(rows)?),
        Format::Csv => csv_of(rows),
    }
}

fn table<R: Row>(rows: &[R]) -> String {
    let head = R::HEADINGS.iter().map(|heading| (*heading).to_owned()).collect();
    let shown = |row: &R| row.cells().iter().map(|cell| on_one_line(cell)).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows.iter().map(shown)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..R::HEADINGS.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A cell for a terminal: what would move its cursor is a space.
fn on_one_line(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn csv_of<R: Row>(rows: &[R]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(R::HEADINGS.iter().map(|heading| heading.to_lowercase()))?;
    for row in rows {
        let cells = row.cells();
        ensure!(
            cells.len() == R::HEADINGS.len(),
            "a row has another number of cells than there are headings"
        );
        writer.write_record(cells.iter().map(|cell| without_formula(cell)))?;
    }
    let text = String::from_utf8(writer.into_inner()?)?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// A cell that a spreadsheet does not run: what begins as a formula does gets an apostrophe before it, a plain number
/// alone excepted.
fn without_formula(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number(cell) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}

/// As in `-12` and `-0.5`. A number with a plus sign is a telephone number, which a spreadsheet would round.
fn is_number(cell: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = cell.strip_prefix('-').unwrap_or(cell);
    match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Named {
        id: i64,
        name: &'static str,
    }

    impl Row for Named {
        const HEADINGS: &'static [&'static str] = &["ID", "NAME"];
        fn cells(&self) -> Vec<String> {
            vec![self.id.to_string(), self.name.to_owned()]
        }
        fn position(&self) -> String {
            self.id.to_string()
        }
    }

    #[test]
    fn a_list_is_aligned_and_an_object_a_row_and_a_line_a_row() {
        let rows = [Named { id: 1000, name: "Çağrı, \"A\"" }, Named { id: 7, name: "" }];
        assert_eq!(written(Format::Table, &rows).unwrap(), "ID    NAME\n1000  Çağrı, \"A\"\n7");
        assert_eq!(written(Format::Csv, &rows).unwrap(), "id,name\n1000,\"Çağrı, \"\"A\"\"\"\n7,");
        let json: serde_json::Value = serde_json::from_str(&written(Format::Json, &rows).unwrap()).unwrap();
        assert_eq!(json[1]["id"], 7);
        assert_eq!(written::<Named>(Format::Csv, &[]).unwrap(), "id,name");
        assert_eq!(written::<Named>(Format::Json, &[]).unwrap(), "[]");
    }

    #[test]
    fn no_cell_is_a_formula_and_numbers_stay_numbers() {
        for (cell, expected) in [
            ("=1+1", "'=1+1"),
            ("+905550000017", "'+905550000017"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2+3", "'-2+3"),
            ("-", "'-"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("-12", "-12"),
            ("-0.5", "-0.5"),
            ("12", "12"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(without_formula(cell), expected, "{cell:?}");
        }
    }

    #[test]
    fn a_cell_moves_no_cursor() {
        let rows = [Named { id: 1, name: "a\u{1b}[2Jb\nc" }];
        assert_eq!(written(Format::Table, &rows).unwrap(), "ID  NAME\n1   a [2Jb c");
    }
}

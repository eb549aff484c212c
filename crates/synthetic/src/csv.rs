//! The files: rows as somebody's export writes them, and the truth beside them.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use csv::{Terminator, Writer, WriterBuilder};

use crate::rows::{Row, Source};
use crate::staff::{Absence, Agent, Pool, Shift};
use crate::truth::Truth;
use crate::{Dataset, Lead};

/// Columns of a file.
const COLUMNS: usize = 23;
/// What some programs write before the text to say that it is UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";
/// Between the phones of one row of the truth.
const BETWEEN_PHONES: &str = " ";
/// Between the shifts, and between the absences, of one agent.
const BETWEEN_SPANS: &str = "; ";

/// The header in English.
pub const HEADER_ENGLISH: [&str; COLUMNS] = [
    "Row",
    "Acquired At",
    "Channel",
    "Campaign ID",
    "Campaign",
    "Ad Set ID",
    "Ad Set",
    "Ad ID",
    "Ad",
    "Form ID",
    "Form",
    "Full Name",
    "Phone",
    "E-mail",
    "Language",
    "Country",
    "City",
    "Operation",
    "Call Consent",
    "WhatsApp Consent",
    "SMS Consent",
    "E-mail Consent",
    "Status",
];
/// The header in Turkish.
pub const HEADER_TURKISH: [&str; COLUMNS] = [
    "Sıra",
    "Başvuru Tarihi",
    "Kanal",
    "Kampanya No",
    "Kampanya",
    "Reklam Seti No",
    "Reklam Seti",
    "Reklam No",
    "Reklam",
    "Form No",
    "Form",
    "Ad Soyad",
    "Telefon",
    "E-posta",
    "Dil",
    "Ülke",
    "Şehir",
    "İşlem",
    "Arama İzni",
    "WhatsApp İzni",
    "SMS İzni",
    "E-posta İzni",
    "Durum",
];
/// The header of the truth; what stands in the columns: see the crate.
pub const TRUTH_HEADER: [&str; 12] = [
    "row", "line", "person", "verdict", "of_row", "phones", "email", "reason", "pool", "status", "owner",
    "given_at",
];
/// The header of the staff. Shifts are `weekday from-to` in minutes of the day, 1 is Monday; absences `from/to`, both days
/// included; Turkish time. No shift at all: always.
pub const STAFF_HEADER: [&str; 8] =
    ["username", "pool", "weight", "languages", "capacity", "day_capacity", "shifts", "absences"];

/// The language of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderLanguage {
    /// [`HEADER_TURKISH`].
    #[default]
    Turkish,
    /// [`HEADER_ENGLISH`].
    English,
}

/// What stands between columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delimiter {
    /// `,`
    #[default]
    Comma,
    /// `;`, as spreadsheets write it where the comma is the decimal sign.
    Semicolon,
}

impl Delimiter {
    const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
        }
    }
}

/// How a file is written. The usual one: Turkish header, comma, no byte order mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CsvStyle {
    /// The language of the header.
    pub header: HeaderLanguage,
    /// What stands between columns.
    pub delimiter: Delimiter,
    /// Whether the file begins with a byte order mark.
    pub byte_order_mark: bool,
}

impl Dataset {
    /// Writes all rows: RFC 4180 but for the delimiter, lines end in CR LF. One row is in memory at a time.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_csv(&self, to: &mut impl Write, style: CsvStyle) -> io::Result<()> {
        if style.byte_order_mark {
            to.write_all(BYTE_ORDER_MARK.as_bytes())?;
        }
        let mut writer = writer(to, style.delimiter);
        writer.write_record(match style.header {
            HeaderLanguage::Turkish => HEADER_TURKISH,
            HeaderLanguage::English => HEADER_ENGLISH,
        })?;
        for Lead { row, .. } in self.rows() {
            write_row(&mut writer, &row)?;
        }
        writer.flush()
    }

    /// Writes the truth about all rows, with commas and [`TRUTH_HEADER`]. Holds eight bytes a row in memory: the owners.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_truth(&self, to: &mut impl Write) -> io::Result<()> {
        let owners = self.owners();
        let usernames: Vec<&str> = self.staff().agents().map(|agent| agent.username.as_str()).collect();
        let mut writer = writer(to, Delimiter::Comma);
        writer.write_record(TRUTH_HEADER)?;
        // After the headings.
        let mut line = 2;
        for Lead { row, truth } in self.rows() {
            let given = owners.of_row(truth.row).map(|given| (usernames[given.agent], moment(given.at)));
            write_truth_row(&mut writer, &truth, line, given)?;
            line += lines_of(&row);
        }
        writer.flush()
    }

    /// Writes who takes leads, when, and how many, with commas and [`STAFF_HEADER`].
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_staff(&self, to: &mut impl Write) -> io::Result<()> {
        let mut writer = writer(to, Delimiter::Comma);
        writer.write_record(STAFF_HEADER)?;
        for pool in &self.staff().pools {
            for agent in &pool.agents {
                write_agent(&mut writer, pool, agent)?;
            }
        }
        writer.flush()
    }
}

/// Lines of the file that a row takes: somebody typed the second number below the first.
fn lines_of(row: &Row) -> u64 {
    1 + row.phone.matches('\n').count() as u64
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn writer<W: Write>(to: W, delimiter: Delimiter) -> Writer<W> {
    WriterBuilder::new().delimiter(delimiter.byte()).terminator(Terminator::CRLF).from_writer(to)
}

fn write_row<W: Write>(writer: &mut Writer<W>, row: &Row) -> io::Result<()> {
    let number = row.row.to_string();
    let acquired_at = moment(row.acquired_at);
    let source = row.source.as_ref().map_or([""; 6], |Source { campaign, ad_set, ad }| {
        [campaign.id.as_str(), campaign.name, ad_set.id.as_str(), ad_set.name, ad.id.as_str(), ad.name]
    });
    let before = [number.as_str(), acquired_at.as_str(), row.channel];
    let after = [
        row.form.id.as_str(),
        row.form.name,
        &row.full_name,
        &row.phone,
        &row.email,
        row.language,
        row.country,
        row.city,
        row.operation,
    ];
    let fields = before.into_iter().chain(source).chain(after).chain(row.consents).chain([row.status]);
    Ok(writer.write_record(fields)?)
}

fn write_truth_row<W: Write>(
    writer: &mut Writer<W>,
    truth: &Truth,
    line: u64,
    given: Option<(&str, String)>,
) -> io::Result<()> {
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let (owner, given_at) = given.unwrap_or_default();
    Ok(writer.write_record([
        truth.row.to_string().as_str(),
        &line.to_string(),
        &number(truth.person),
        truth.verdict.code(),
        &number(truth.verdict.of_row()),
        &truth.phones.join(BETWEEN_PHONES),
        truth.email.as_deref().unwrap_or_default(),
        truth.verdict.reason().unwrap_or_default(),
        truth.pool.unwrap_or_default(),
        truth.status.unwrap_or_default(),
        owner,
        &given_at,
    ])?)
}

fn write_agent<W: Write>(writer: &mut Writer<W>, pool: &Pool, agent: &Agent) -> io::Result<()> {
    let shift = |s: &Shift| format!("{} {}-{}", s.weekday, s.from_minute, s.to_minute);
    let absence = |away: &Absence| format!("{}/{}", away.from, away.to);
    let join = |all: Vec<String>| all.join(BETWEEN_SPANS);
    Ok(writer.write_record([
        agent.username.as_str(),
        pool.code,
        &agent.weight.to_string(),
        &agent.languages.join(BETWEEN_PHONES),
        &agent.capacity.to_string(),
        &agent.day_capacity.to_string(),
        &join(agent.shifts.iter().map(shift).collect()),
        &join(agent.absences.iter().map(absence).collect()),
    ])?)
}

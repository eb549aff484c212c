//! The files: rows as somebody's export writes them, and the truth beside them.

use std::io::{self, Write};

use chrono::SecondsFormat;
use csv::{Terminator, Writer, WriterBuilder};

use crate::rows::{Row, Source};
use crate::truth::Truth;
use crate::{Dataset, Lead};

/// Columns of a file.
const COLUMNS: usize = 23;
/// What some programs write before the text to say that it is UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";
/// Between the phones of one row of the truth.
const BETWEEN_PHONES: &str = " ";

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
/// The header of the truth. `phones` are separated by spaces.
pub const TRUTH_HEADER: [&str; 8] =
    ["row", "person", "verdict", "of_row", "phones", "email", "reason", "pool"];

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

    /// Writes the truth about all rows, with commas and [`TRUTH_HEADER`].
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_truth(&self, to: &mut impl Write) -> io::Result<()> {
        let mut writer = writer(to, Delimiter::Comma);
        writer.write_record(TRUTH_HEADER)?;
        for Lead { truth, .. } in self.rows() {
            write_truth_row(&mut writer, &truth)?;
        }
        writer.flush()
    }
}

fn writer<W: Write>(to: W, delimiter: Delimiter) -> Writer<W> {
    WriterBuilder::new().delimiter(delimiter.byte()).terminator(Terminator::CRLF).from_writer(to)
}

fn write_row<W: Write>(writer: &mut Writer<W>, row: &Row) -> io::Result<()> {
    let number = row.row.to_string();
    let acquired_at = row.acquired_at.to_rfc3339_opts(SecondsFormat::Secs, true);
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

fn write_truth_row<W: Write>(writer: &mut Writer<W>, truth: &Truth) -> io::Result<()> {
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    Ok(writer.write_record([
        truth.row.to_string().as_str(),
        &number(truth.person),
        truth.verdict.code(),
        &number(truth.verdict.of_row()),
        &truth.phones.join(BETWEEN_PHONES),
        truth.email.as_deref().unwrap_or_default(),
        truth.verdict.reason().unwrap_or_default(),
        truth.pool.unwrap_or_default(),
    ])?)
}

//! What a file is: its encoding, its delimiter and its headings, found from its bytes; or why it is none of ours.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::records::{Record, Records, Step};

/// So much of the beginning is kept to find the delimiter and the headings.
const HEAD_BYTES: usize = 64 * 1024;
/// Records that are compared to find the delimiter.
const SAMPLE_RECORDS: usize = 50;
/// What may stand between columns, in the order of preference.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Most columns.
pub const COLUMNS_MAX: usize = 200;
/// Turkish files without a mark of their encoding are the likeliest.
const LIKELY_COUNTRY: &[u8] = b"tr";

/// How other files begin.
const SIGNATURES: [(&[u8], Unreadable); 13] = [
    (b"PK\x03\x04", Unreadable::Spreadsheet),
    (b"\xd0\xcf\x11\xe0", Unreadable::Spreadsheet),
    (b"\x1f\x8b", Unreadable::Compressed),
    (b"BZh", Unreadable::Compressed),
    (b"7z\xbc\xaf\x27\x1c", Unreadable::Compressed),
    (b"Rar!", Unreadable::Compressed),
    (b"\xfd7zXZ", Unreadable::Compressed),
    (b"\x28\xb5\x2f\xfd", Unreadable::Compressed),
    (b"%PDF", Unreadable::Document),
    (b"{\\rtf", Unreadable::Document),
    (b"<", Unreadable::Document),
    (b"\x89PNG", Unreadable::Document),
    (b"\xff\xd8\xff", Unreadable::Document),
];

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// A label of the WHATWG encoding standard.
    pub encoding: &'static str,
    /// What stands between columns.
    pub delimiter: u8,
    /// The first record.
    pub headings: Vec<String>,
    /// Some records after it.
    pub sample: Vec<Vec<String>>,
}

/// Why a file cannot be read as a table at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing, or nothing but spaces.
    #[error("the file is empty")]
    Empty,
    /// Headings and nothing else.
    #[error("the file has headings and no rows")]
    NoRows,
    /// Excel's own formats, or an archive.
    #[error("this is a spreadsheet or an archive: save it as CSV UTF-8 and send that")]
    Spreadsheet,
    /// A compressed file.
    #[error("the file is compressed: unpack it first")]
    Compressed,
    /// PDF, HTML, an image.
    #[error("this is a document and no table: export the table as CSV")]
    Document,
    /// Bytes that are no text in any encoding.
    #[error("the file is not text: export the table as CSV")]
    Binary,
    /// The first record is a person, not a row of headings.
    #[error("the first line must name the columns, as in: name,phone,email")]
    NoHeadings,
    /// More columns than anybody needs.
    #[error("the file has more than {COLUMNS_MAX} columns: is the delimiter right?")]
    TooManyColumns,
}

impl Unreadable {
    /// A stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "file_empty",
            Self::NoRows => "file_without_rows",
            Self::Spreadsheet => "file_is_spreadsheet",
            Self::Compressed => "file_is_compressed",
            Self::Document => "file_is_document",
            Self::Binary => "file_is_binary",
            Self::NoHeadings => "file_without_headings",
            Self::TooManyColumns => "file_has_too_many_columns",
        }
    }
}

/// Looks at a file while it comes in.
pub struct Inspector {
    head: Vec<u8>,
    /// The end of a chunk that is the beginning of a character.
    carry: Vec<u8>,
    is_utf8: bool,
    detector: EncodingDetector,
    /// Zero bytes at even and odd places of the head.
    zeros: [usize; 2],
}

impl Default for Inspector {
    fn default() -> Self {
        Self {
            head: Vec::new(),
            carry: Vec::new(),
            is_utf8: true,
            detector: EncodingDetector::new(Iso2022JpDetection::Deny),
            zeros: [0; 2],
        }
    }
}

impl Inspector {
    /// The next bytes.
    pub fn feed(&mut self, chunk: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.head.len());
        for (place, byte) in (self.head.len()..).zip(chunk.iter().take(room)) {
            if *byte == 0 {
                self.zeros[place % 2] += 1;
            }
        }
        self.head.extend_from_slice(&chunk[..room.min(chunk.len())]);
        self.detector.feed(chunk, false);
        if self.is_utf8 {
            self.carry.extend_from_slice(chunk);
            match std::str::from_utf8(&self.carry) {
                Ok(_) => self.carry.clear(),
                Err(error) if error.error_len().is_none() => {
                    self.carry.drain(..error.valid_up_to());
                }
                Err(_) => self.is_utf8 = false,
            }
        }
    }

    /// What the file is.
    pub fn finish(mut self) -> Result<Format, Unreadable> {
        if self.head.iter().all(u8::is_ascii_whitespace) {
            return Err(Unreadable::Empty);
        }
        if let Some((_, what)) = SIGNATURES.iter().find(|(start, _)| self.head.starts_with(start)) {
            return Err(*what);
        }
        let encoding = self.encoding()?;
        let (text, _, _) = encoding.decode(&self.head);
        let text = text.trim_start_matches('\u{feff}');
        let complete = self.head.len() < HEAD_BYTES;
        let (delimiter, records) = choose(text, complete);
        let mut records = records.into_iter().map(|record| record.fields);
        let headings = records.next().ok_or(Unreadable::Empty)?;
        if headings.len() > COLUMNS_MAX {
            return Err(Unreadable::TooManyColumns);
        }
        if headings.iter().any(|heading| is_of_a_person(heading)) {
            return Err(Unreadable::NoHeadings);
        }
        let sample: Vec<_> = records.collect();
        if sample.is_empty() && complete {
            return Err(Unreadable::NoRows);
        }
        Ok(Format { encoding: encoding.name(), delimiter, headings, sample })
    }

    fn encoding(&mut self) -> Result<&'static Encoding, Unreadable> {
        if let Some((encoding, _)) = Encoding::for_bom(&self.head) {
            return Ok(encoding);
        }
        // Latin letters in UTF-16 have a zero in every other place.
        let [even, odd] = self.zeros;
        let many = self.head.len() / 8;
        if even + odd > 0 {
            return match () {
                () if odd > many && even == 0 => Ok(UTF_16LE),
                () if even > many && odd == 0 => Ok(UTF_16BE),
                () => Err(Unreadable::Binary),
            };
        }
        if self.is_utf8 && self.carry.is_empty() {
            return Ok(UTF_8);
        }
        self.detector.feed(&[], true);
        Ok(self.detector.guess(Some(LIKELY_COUNTRY), Utf8Detection::Deny))
    }
}

/// Excel's first line that names the delimiter.
pub fn is_excel_hint(record: &str) -> Option<u8> {
    let [delimiter] = record.trim_end().strip_prefix("sep=")?.as_bytes() else { return None };
    Some(*delimiter)
}

/// The delimiter under which most records have as many columns as the first one, and the first records under it.
fn choose(text: &str, complete: bool) -> (u8, Vec<Record>) {
    let first_line = text.split(['\r', '\n']).next().unwrap_or_default();
    if let Some(delimiter) = is_excel_hint(first_line) {
        let rest = text[first_line.len()..].trim_start_matches(['\r', '\n']);
        return (delimiter, sample(rest, delimiter, complete));
    }
    let rated = DELIMITERS.into_iter().rev().map(|delimiter| {
        let records = sample(text, delimiter, complete);
        let columns = records.first().map_or(0, |first| first.fields.len());
        let alike = records.iter().filter(|record| record.fields.len() == columns).count();
        let share = if columns < 2 { 0 } else { alike * 100 / records.len().max(1) };
        ((share >= 80, columns.min(COLUMNS_MAX + 1), share), delimiter, records)
    });
    let best = rated.max_by_key(|(rate, ..)| *rate);
    best.map_or((b',', Vec::new()), |(_, delimiter, records)| (delimiter, records))
}

fn sample(text: &str, delimiter: u8, complete: bool) -> Vec<Record> {
    let mut records = Records::new(delimiter);
    let mut input = text.as_bytes();
    let mut all = Vec::new();
    while all.len() <= SAMPLE_RECORDS {
        match records.next(&mut input, complete) {
            Step::Record(record) => all.push(record),
            Step::Starved | Step::End => break,
        }
    }
    all
}

fn is_of_a_person(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    text.contains('@') || (digits >= 7 && text.chars().all(|c| c.is_ascii_digit() || " +-()./".contains(c)))
}

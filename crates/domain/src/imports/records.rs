//! Records of a delimited text that comes in pieces (RFC 4180, and what people make of it).

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// Largest record. A quotation mark that is never closed takes the rest of the file for one record.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Most columns of one record.
const FIELDS_MAX: usize = 1_024;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it begins, counted from 1.
    pub line: u64,
    /// Its columns; none when it is too large.
    pub fields: Vec<String>,
    /// It was larger than [`RECORD_BYTES_MAX`], or had more than [`FIELDS_MAX`] columns.
    pub too_large: bool,
}

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A record.
    Record(Record),
    /// All input was read, and the record goes on.
    Starved,
    /// Nothing follows.
    End,
}

/// Reads records from text that comes in pieces.
pub struct Records {
    reader: Reader,
    output: Vec<u8>,
    ends: Vec<usize>,
    bytes: usize,
    fields: usize,
    /// The line that is being read.
    line: u64,
    /// Where the record begins; `None` between two records.
    begun: Option<u64>,
    too_large: bool,
}

impl Records {
    /// Nothing read yet.
    pub fn new(delimiter: u8) -> Self {
        Self {
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            output: vec![0; RECORD_BYTES_MAX],
            ends: vec![0; FIELDS_MAX],
            bytes: 0,
            fields: 0,
            line: 1,
            begun: None,
            too_large: false,
        }
    }

    /// The next record; takes what it read off `input`, which must be UTF-8. `last`: nothing comes after `input`.
    pub fn next(&mut self, input: &mut &[u8], last: bool) -> Step {
        loop {
            if self.begun.is_none() {
                self.skip_empty_lines(input);
            }
            if input.is_empty() && !last {
                return Step::Starved;
            }
            self.begun = Some(self.begun.unwrap_or(self.line));
            let (output, ends) = (&mut self.output[self.bytes..], &mut self.ends[self.fields..]);
            let (result, read, written, ended) = self.reader.read_record(input, output, ends);
            self.line += memchr::memchr_iter(b'\n', &input[..read]).count() as u64;
            *input = &input[read..];
            self.bytes += written;
            self.fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                // The rest of the record is read over and over into the same place, and dropped.
                ReadRecordResult::OutputFull => (self.bytes, self.too_large) = (0, true),
                ReadRecordResult::OutputEndsFull => (self.fields, self.too_large) = (0, true),
                ReadRecordResult::Record => return Step::Record(self.take()),
                ReadRecordResult::End => return Step::End,
            }
        }
    }

    /// Counts lines that are not given to [`Records::next`].
    pub fn skip_lines(&mut self, text: &str) {
        self.line += memchr::memchr_iter(b'\n', text.as_bytes()).count() as u64;
    }

    fn skip_empty_lines(&mut self, input: &mut &[u8]) {
        while let [byte @ (b'\r' | b'\n'), rest @ ..] = *input {
            self.line += u64::from(*byte == b'\n');
            *input = rest;
        }
    }

    fn take(&mut self) -> Record {
        let mut start = 0;
        let ends = if self.too_large { &[] } else { &self.ends[..self.fields] };
        let fields = ends.iter().map(|end| {
            let text = String::from_utf8_lossy(&self.output[start..*end]).into_owned();
            start = *end;
            text
        });
        let fields = fields.collect();
        let line = self.begun.take().unwrap_or(self.line);
        let too_large = std::mem::take(&mut self.too_large);
        (self.bytes, self.fields) = (0, 0);
        Record { line, fields, too_large }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, piece: usize) -> Vec<(u64, Vec<String>, bool)> {
        let mut records = Records::new(b',');
        let mut all = Vec::new();
        let bytes = text.as_bytes();
        let mut places = (0..bytes.len()).step_by(piece.max(1)).peekable();
        while let Some(at) = places.next() {
            let end = (at + piece).min(bytes.len());
            let (mut input, last) = (&bytes[at..end], places.peek().is_none());
            while let Step::Record(record) = records.next(&mut input, last) {
                all.push((record.line, record.fields, record.too_large));
            }
        }
        all
    }

    #[test]
    fn records_do_not_depend_on_where_the_pieces_end() {
        let text = "a,b\r\n\r\n\"x\ny\",\"he said \"\"no\"\"\"\n\nç,\n last,line";
        let whole = read(text, text.len());
        let line = |line, fields: [&str; 2]| (line, fields.map(str::to_owned).to_vec(), false);
        assert_eq!(
            whole,
            [
                line(1, ["a", "b"]),
                line(3, ["x\ny", "he said \"no\""]),
                line(6, ["ç", ""]),
                line(7, [" last", "line"])
            ]
        );
        for piece in 1..text.len() {
            assert_eq!(read(text, piece), whole, "pieces of {piece} bytes");
        }
    }

    #[test]
    fn a_quotation_mark_that_is_never_closed_takes_bounded_memory_and_is_told() {
        let text = format!("a,b\nx,\"{}", "y,z\n".repeat(RECORD_BYTES_MAX));
        let all = read(&text, 60_000);
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].0, all[1].2), (2, true));
    }

    #[test]
    fn too_many_columns_are_told() {
        let all = read(&format!("a,b\n{}\nc,d\n", "x,".repeat(5_000)), 1_000);
        assert_eq!(all.len(), 3);
        assert!(all[1].2);
        assert_eq!((all[2].0, all[2].2), (3, false));
    }
}

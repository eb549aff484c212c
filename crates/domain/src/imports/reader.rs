//! A stored file, read record by record as enquiries.

use encoding_rs::{Decoder, Encoding};

use super::format::is_excel_hint;
use super::records::{Record, Records, Step};
use super::rows::{Column, Reading, Refusal, zone};
use super::{Import, ImportError, PIECE, store};
use crate::Db;
use crate::leads::{BATCH_MAX, NewLead};
use crate::privacy::DataKey;

/// A row that cannot become a lead.
pub struct Refused {
    /// The record.
    pub record: Record,
    /// Why.
    pub refusal: Refusal,
}

/// Records that are settled together.
pub struct Chunk {
    /// Those that become leads, in the file's order.
    pub leads: Vec<NewLead>,
    /// Those that do not.
    pub bad: Vec<Refused>,
    /// Bytes of the file up to here.
    pub bytes_done: i64,
    /// Nothing follows.
    pub is_last: bool,
}

impl Chunk {
    /// How many records it holds.
    pub fn rows(&self) -> i64 {
        (self.leads.len() + self.bad.len()) as i64
    }
}

/// Reads the file of an import that was started. Holds one piece of it in memory.
pub struct Reader {
    import: Import,
    reading: Reading,
    decoder: Decoder,
    records: Records,
    position: i32,
    /// Bytes of the file that were decoded.
    read: i64,
    text: String,
    /// So much of the text was taken.
    taken: usize,
    /// The last piece was decoded.
    is_last: bool,
    /// Records to pass over: the headings, and what was settled before.
    skip: i64,
}

impl Reader {
    /// At the record after those that are settled.
    ///
    /// # Errors
    /// [`ImportError::Unreadable`] when the import was never checked.
    pub fn open(key: &DataKey, import: Import) -> Result<Self, ImportError> {
        let stored = || {
            let encoding = Encoding::for_label(import.encoding.as_deref()?.as_bytes())?;
            let [delimiter] = import.delimiter.as_deref()?.as_bytes() else { return None };
            Some((encoding, *delimiter))
        };
        let (encoding, delimiter) = stored().ok_or(ImportError::Unreadable)?;
        let reading = reading_of(key, &import)?;
        let skip = import.rows_done + 1;
        Ok(Self {
            import,
            reading,
            decoder: encoding.new_decoder_with_bom_removal(),
            records: Records::new(delimiter),
            position: 0,
            read: 0,
            text: String::new(),
            taken: 0,
            is_last: false,
            skip,
        })
    }

    /// The next chunk: at most [`BATCH_MAX`] records.
    pub async fn next_chunk(&mut self, db: &Db, key: &DataKey) -> Result<Chunk, ImportError> {
        let mut chunk = Chunk { leads: Vec::new(), bad: Vec::new(), bytes_done: 0, is_last: false };
        while chunk.rows() < BATCH_MAX as i64 {
            let mut input = &self.text.as_bytes()[self.taken..];
            let step = self.records.next(&mut input, self.is_last);
            self.taken = self.text.len() - input.len();
            match step {
                Step::Record(_) if self.skip > 0 => self.skip -= 1,
                Step::Record(record) => match self.reading.read(&record) {
                    Ok(lead) => chunk.leads.push(lead),
                    Err(refusal) => chunk.bad.push(Refused { record, refusal }),
                },
                Step::Starved => self.decode_piece(db, key).await?,
                Step::End => {
                    chunk.is_last = true;
                    break;
                }
            }
        }
        let ahead = (self.text.len() - self.taken) as i64;
        chunk.bytes_done = if chunk.is_last { self.import.bytes } else { (self.read - ahead).max(0) };
        Ok(chunk)
    }

    async fn decode_piece(&mut self, db: &Db, key: &DataKey) -> Result<(), ImportError> {
        let upload = self.import.upload.ok_or(ImportError::Unreadable)?;
        let place = store::Place { import: self.import.id, upload, position: self.position };
        let piece = store::find_piece(&mut *db.read().await?, place).await?;
        let bytes = match piece {
            Some((id, sealed)) => key.open(PIECE, id, &sealed)?,
            None => Vec::new(),
        };
        self.read += bytes.len() as i64;
        self.is_last = self.read >= self.import.bytes;
        if bytes.is_empty() && !self.is_last {
            // A piece is missing: going on would lose rows.
            return Err(ImportError::Unreadable);
        }
        self.text.clear();
        self.taken = 0;
        let room = self.decoder.max_utf8_buffer_length(bytes.len()).ok_or(ImportError::Unreadable)?;
        self.text.reserve(room);
        // What does not decode becomes U+FFFD, by which its row is told.
        let _ = self.decoder.decode_to_string(&bytes, &mut self.text, self.is_last);
        if self.position == 0 {
            self.taken = hint_bytes(&self.text);
            self.records.skip_lines(&self.text[..self.taken]);
        }
        self.position += 1;
        Ok(())
    }
}

/// How the records of an import that was started are read.
pub fn reading_of(key: &DataKey, import: &Import) -> Result<Reading, ImportError> {
    let stored = zone(&import.time_zone).zip(import.started_at);
    let (time_zone, started_at) = stored.ok_or(ImportError::Unreadable)?;
    let columns = super::headings(key, import)?.into_iter().zip(&import.mapping);
    Ok(Reading {
        import: import.id,
        columns: columns.map(|(heading, question)| Column { heading, question: *question }).collect(),
        region: import.region.clone(),
        time_zone,
        started_at,
    })
}

/// The length of Excel's first line that names the delimiter, where there is one.
fn hint_bytes(text: &str) -> usize {
    let line = text.split_inclusive('\n').next().unwrap_or_default();
    if is_excel_hint(line).is_some() { line.len() } else { 0 }
}

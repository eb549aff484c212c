//! A file on its way in: sealed piece by piece, never whole in memory, never in clear on a disk.

use sira_kernel::{Actor, Id};
use uuid::Uuid;

use super::format::{Format, Inspector, Unreadable};
use super::{FILE_BYTES_MAX, HEADINGS, Import, ImportError, PIECE, State, store};
use crate::Db;
use crate::ingestion::answers::Question;
use crate::nouns::ImportId;
use crate::privacy::{Cipher, DataKey, Subject};

/// Size of a sealed piece but the last one.
const PIECE_BYTES: usize = 1024 * 1024;

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is no table.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// It is larger than [`FILE_BYTES_MAX`].
    #[error("the file is larger than {} GiB: split it", FILE_BYTES_MAX / 1024 / 1024 / 1024)]
    TooLarge,
    /// The import is not there, or has its file and was started.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl From<sqlx::Error> for UploadError {
    fn from(error: sqlx::Error) -> Self {
        Self::Import(error.into())
    }
}

/// One upload. One that breaks off changes nothing: the import waits for its file as before.
pub struct Upload {
    db: Db,
    actor: Actor,
    cipher: Cipher,
    key: DataKey,
    import: ImportId,
    id: Uuid,
    inspector: Inspector,
    buffer: Vec<u8>,
    position: i32,
    bytes: u64,
    /// A digest of each piece.
    digests: Vec<u8>,
}

impl Upload {
    /// Begins.
    ///
    /// # Errors
    /// [`ImportError::NotFound`], [`ImportError::WrongState`].
    pub async fn begin(
        db: &Db,
        cipher: &Cipher,
        actor: Actor,
        import: ImportId,
    ) -> Result<Self, UploadError> {
        let state = super::get(&mut *db.read().await?, import).await?.state;
        if !matches!(state, State::AwaitingFile | State::Checked) {
            return Err(ImportError::WrongState { state }.into());
        }
        let key = cipher.key(Subject::Import(import)).await.map_err(ImportError::from)?;
        Ok(Self {
            db: db.clone(),
            actor,
            cipher: cipher.clone(),
            key,
            import,
            id: Id::<Self>::new().uuid(),
            inspector: Inspector::default(),
            buffer: Vec::with_capacity(PIECE_BYTES),
            position: 0,
            bytes: 0,
            digests: Vec::new(),
        })
    }

    /// The next bytes of the file.
    pub async fn write(&mut self, mut chunk: &[u8]) -> Result<(), UploadError> {
        self.bytes += chunk.len() as u64;
        if self.bytes > FILE_BYTES_MAX {
            return Err(UploadError::TooLarge);
        }
        while !chunk.is_empty() {
            let (now, later) = chunk.split_at(chunk.len().min(PIECE_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            chunk = later;
            if self.buffer.len() == PIECE_BYTES {
                self.keep_piece().await?;
            }
        }
        Ok(())
    }

    /// The file is complete: says what it is. From now on it is the import's file, in place of one that came before.
    pub async fn finish(mut self) -> Result<(Import, Format), UploadError> {
        if !self.buffer.is_empty() {
            self.keep_piece().await?;
        }
        let format = std::mem::take(&mut self.inspector).finish()?;
        let headings = serde_json::to_vec(&format.headings).expect("strings are always JSON");
        let mut uow = self.db.begin(self.actor.clone()).await?;
        super::lock(&mut uow, self.import, &[State::AwaitingFile, State::Checked]).await?;
        let now = uow.now();
        let file = store::File {
            upload: self.id,
            bytes: self.bytes,
            fingerprint: self.cipher.fingerprint(&self.digests),
            encoding: format.encoding,
            delimiter: char::from(format.delimiter).to_string(),
            headings: self.key.seal(HEADINGS, self.import.uuid(), &headings),
            mapping: format.headings.iter().map(|heading| Question::recognise(heading)).collect(),
        };
        store::set_file(uow.conn(), self.import, &file, now).await?;
        let import = super::get(uow.conn(), self.import).await?;
        uow.commit().await.map_err(ImportError::from)?;
        Ok((import, format))
    }

    async fn keep_piece(&mut self) -> Result<(), UploadError> {
        self.inspector.feed(&self.buffer);
        self.digests.extend_from_slice(&self.cipher.fingerprint(&self.buffer));
        let row = Id::<Self>::new().uuid();
        let sealed = self.key.seal(PIECE, row, &self.buffer);
        let mut uow = self.db.begin(self.actor.clone()).await?;
        let place = store::Place { import: self.import, upload: self.id, position: self.position };
        store::insert_piece(uow.conn(), place, row, &sealed).await?;
        uow.commit().await.map_err(ImportError::from)?;
        self.buffer.clear();
        self.position += 1;
        Ok(())
    }
}

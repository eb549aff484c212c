//! What a backup says about itself. Written last: a backup without it is none.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sira_domain::privacy::Fingerprints;

use super::{Error, Refused};

/// The form of backups that this binary writes and reads.
pub const FORMAT: u32 = 1;

/// The manifest's file.
pub const MANIFEST: &str = "manifest.json";
/// The dump's file, in PostgreSQL's custom format.
pub const DUMP: &str = "database.dump";
/// A larger manifest is none.
pub const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which form of backups it has.
    pub format: u32,
    /// The version that wrote it.
    pub sira: String,
    /// The newest migration that had been applied.
    pub schema: i64,
    /// The server's major version.
    pub postgres: u32,
    /// When its snapshot was taken: what had been committed by then is in it.
    pub taken_at: DateTime<Utc>,
    /// Its other files.
    pub parts: Vec<Part>,
    /// Rows of each table in the snapshot.
    pub rows: BTreeMap<String, i64>,
    /// What opens it: fingerprints of the keys, never the keys.
    pub keys: Option<Fingerprints>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 over its bytes, in hex.
    pub sha256: String,
}

/// What every form of a manifest has.
#[derive(Deserialize)]
struct AnyForm {
    format: u32,
}

impl Manifest {
    /// Reads one of this binary's form.
    ///
    /// # Errors
    /// [`Refused::NoBackup`], [`Refused::OtherFormat`].
    pub fn read(text: &[u8]) -> Result<Self, Refused> {
        let AnyForm { format } = serde_json::from_slice(text)
            .map_err(|_| Refused::NoBackup("its manifest is damaged".to_owned()))?;
        if format != FORMAT {
            return Err(Refused::OtherFormat { format });
        }
        serde_json::from_slice(text).map_err(|_| Refused::NoBackup("its manifest is damaged".to_owned()))
    }

    /// For its file.
    pub fn write(&self) -> Result<Vec<u8>, Error> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Io { what: "write the manifest".to_owned(), source: error.into() })?;
        text.push(b'\n');
        Ok(text)
    }

    /// The dump.
    ///
    /// # Errors
    /// [`Refused::NoBackup`] when it names none.
    pub fn dump(&self) -> Result<&Part, Refused> {
        let found = self.parts.iter().find(|part| part.file == DUMP);
        found.ok_or_else(|| Refused::NoBackup("its manifest names no dump".to_owned()))
    }

    /// Tables whose rows are others than these: name, rows here, rows there.
    pub fn differences(&self, found: &BTreeMap<String, i64>) -> Vec<(String, i64, i64)> {
        let tables = self.rows.keys().chain(found.keys().filter(|table| !self.rows.contains_key(*table)));
        tables
            .map(|table| {
                let of = |rows: &BTreeMap<String, i64>| rows.get(table).copied().unwrap_or(0);
                (table.clone(), of(&self.rows), of(found))
            })
            .filter(|(_, expected, found)| expected != found)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            sira: "0.1.0".to_owned(),
            schema: 20_261_126_100_000,
            postgres: 15,
            taken_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            parts: vec![Part { file: DUMP.to_owned(), bytes: 3, sha256: "00".to_owned() }],
            rows: BTreeMap::from([("public.leads".to_owned(), 2)]),
            keys: None,
        }
    }

    #[test]
    fn a_manifest_is_read_back_and_another_form_is_refused() {
        let text = manifest().write().unwrap();
        assert_eq!(Manifest::read(&text).unwrap(), manifest());
        let newer = String::from_utf8(text).unwrap().replace("\"format\": 1", "\"format\": 2");
        assert!(matches!(Manifest::read(newer.as_bytes()), Err(Refused::OtherFormat { format: 2 })));
        for damaged in ["", "{}", "{\"format\": 1}", "not json"] {
            assert!(matches!(Manifest::read(damaged.as_bytes()), Err(Refused::NoBackup(_))), "{damaged}");
        }
    }

    #[test]
    fn a_missing_table_and_a_new_one_are_differences() {
        let found = BTreeMap::from([("public.calls".to_owned(), 1)]);
        let expected = [("public.leads".to_owned(), 2, 0), ("public.calls".to_owned(), 0, 1)];
        assert_eq!(manifest().differences(&found), expected);
        assert_eq!(manifest().differences(&manifest().rows), []);
    }
}

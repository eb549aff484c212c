//! Key-encryption keys in a local file: the provider that needs nothing else to be installed.
//!
//! The file is text, one line a key, readable by its owner alone:
//!
//! ```text
//! sira-keys 1
//! active kek-5f0c21aa
//! kek kek-5f0c21aa <64 hex digits>
//! index-root <64 hex digits>
//! ```
//!
//! Several `kek` lines stand during a rotation: all unwrap, the active one wraps. The index root never changes.
//!
//! **What its loss means:** all personal data in the database is unreadable for ever, and known people are no
//! longer recognised. Keep a copy, apart from the database's backups: whoever has both reads everything, and a
//! backup with both undoes erasure. docs/KEYS.md says how.
//!
//! **Invariant:** an existing file is never overwritten, and a file that others can read is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::provider::{
    KEY_BYTES, KeyBytes, KeyProvider, KeyProviderError, KeyProviderFuture, ToUnwrap, ToWrap,
};

/// First line: the form of the file.
const HEADER: &str = "sira-keys 1";
/// Far above any rotation's needs; a larger file is no key file.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Bits that let someone other than the owner at the file.
const OTHERS: u32 = 0o077;

/// Why a key file cannot be used. Never shows what is in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is none.
    #[error("there is no key file at {path}")]
    Missing {
        /// Where it should be.
        path: String,
    },
    /// Others than its owner can read or write it.
    #[error("the key file {path} is open to others (mode {mode:03o}): run `chmod 600 {path}`")]
    Permissions {
        /// Which file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not in the form that the module describes.
    #[error("the key file {path} is damaged: {what}; put it back from its backup (docs/KEYS.md)")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong, with the line's number.
        what: String,
    },
    /// It cannot be read or written.
    #[error("the key file {path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What a key's fingerprint is taken over.
const FINGERPRINT_OF: &[u8] = b"sira key fingerprint v1";
/// Bytes of a fingerprint: enough that no two keys share one, and nothing about the key.
const FINGERPRINT_BYTES: usize = 16;

/// Tells keys apart without telling them: HMAC-SHA-256 under the key over a fixed text, cut to 128 bits, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprints {
    /// Of each key-encryption key, by its name.
    pub keks: BTreeMap<String, String>,
    /// Of the index root.
    pub index_root: String,
}

/// Key-encryption keys and the index root, held in memory. `Debug` shows names only.
pub struct LocalKeyFile {
    active: String,
    keks: Vec<Kek>,
    index_root: KeyBytes,
}

struct Kek {
    id: String,
    key: RandomizedNonceKey,
    fingerprint: String,
}

impl LocalKeyFile {
    /// Loads the file, or makes one with fresh keys when there is none. Of processes that do so at the same time one
    /// makes it and the others load that one. Does not know a database: [`super::Cipher::with_key_file`] does, and
    /// refuses to replace a lost file.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        match Self::load(path) {
            Err(KeyFileError::Missing { .. }) => {}
            loaded => return loaded,
        }
        create(path).map_err(|source| KeyFileError::Io { path: path.display().to_string(), source })?;
        Self::load(path)
    }

    /// Loads the file.
    ///
    /// # Errors
    /// Each says which file and what to do; see [`KeyFileError`].
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let shown = || path.display().to_string();
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyFileError::Missing { path: shown() },
            _ => KeyFileError::Io { path: shown(), source },
        };
        let file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(KeyFileError::Permissions { path: shown(), mode });
        }
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize));
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io)?;
        Self::parse(&text).map_err(|what| KeyFileError::Damaged { path: shown(), what })
    }

    /// Fresh keys that are in no file and are gone with the process: for tests and trials.
    pub fn generate() -> Self {
        Self::parse(&fresh_text()).expect("a fresh key file is well-formed")
    }

    /// Of all its keys.
    pub fn fingerprints(&self) -> Fingerprints {
        let keks = self.keks.iter().map(|kek| (kek.id.clone(), kek.fingerprint.clone())).collect();
        Fingerprints { keks, index_root: fingerprint(&self.index_root) }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        if lines.next().is_none_or(|(_, line)| line != HEADER) {
            return Err(format!("it does not begin with \"{HEADER}\""));
        }
        let (mut active, mut keks, mut index_root) = (None, Vec::<Kek>::new(), None);
        for (number, line) in lines {
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("active"), Some(id), None, None) if active.is_none() => active = Some(id.to_owned()),
                (Some("kek"), Some(id), Some(key), None) if keks.iter().all(|kek| kek.id != id) => {
                    let bytes = parse_key(key).ok_or_else(|| format!("line {number} holds no key"))?;
                    let key = RandomizedNonceKey::new(&AES_256_GCM, bytes.expose());
                    let key = key.expect("AES-256 takes 32 bytes");
                    keks.push(Kek { id: id.to_owned(), key, fingerprint: fingerprint(&bytes) });
                }
                (Some("index-root"), Some(key), None, None) if index_root.is_none() => {
                    index_root = Some(parse_key(key).ok_or_else(|| format!("line {number} holds no key"))?);
                }
                _ => return Err(format!("line {number} is not understood, or is there twice")),
            }
        }
        let active = active.ok_or("no active key is named")?;
        if !keks.iter().any(|kek| kek.id == active) {
            return Err("the active key is not in it".to_owned());
        }
        Ok(Self { active, keks, index_root: index_root.ok_or("the index root is not in it")? })
    }

    fn find(&self, kek_id: &str) -> Result<&Kek, KeyProviderError> {
        let found = self.keks.iter().find(|kek| kek.id == kek_id);
        found.ok_or_else(|| KeyProviderError::WrongKek { kek_id: kek_id.to_owned() })
    }

    fn wrap_all(&self, kek_id: &str, keys: &[ToWrap]) -> Result<Vec<Vec<u8>>, KeyProviderError> {
        let kek = self.find(kek_id)?;
        Ok(keys.iter().map(|item| kek.wrap(item)).collect())
    }

    fn unwrap_all(&self, keys: &[ToUnwrap<'_>]) -> Result<Vec<KeyBytes>, KeyProviderError> {
        let unwrap = |item: &ToUnwrap<'_>| {
            let opened = self.find(item.kek_id)?.unwrap(item);
            opened.ok_or_else(|| KeyProviderError::WrongKek { kek_id: item.kek_id.to_owned() })
        };
        keys.iter().map(unwrap).collect()
    }
}

impl Kek {
    /// `nonce | ciphertext | tag`.
    fn wrap(&self, item: &ToWrap) -> Vec<u8> {
        let mut body = item.key.expose().to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(&item.context), &mut body)
            .expect("32 bytes are below what AES-GCM can seal");
        [nonce.as_ref().as_slice(), &body].concat()
    }

    fn unwrap(&self, item: &ToUnwrap<'_>) -> Option<KeyBytes> {
        let (nonce, body) = item.wrapped.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = Zeroizing::new(body.to_vec());
        let opened = self.key.open_in_place(nonce, Aad::from(&item.context), &mut body).ok()?;
        KeyBytes::from_slice(opened)
    }
}

impl KeyProvider for LocalKeyFile {
    fn active_kek(&self) -> &str {
        &self.active
    }

    fn wrap<'a>(&'a self, kek_id: &'a str, keys: &'a [ToWrap]) -> KeyProviderFuture<'a, Vec<Vec<u8>>> {
        Box::pin(std::future::ready(self.wrap_all(kek_id, keys)))
    }

    fn unwrap<'a>(&'a self, keys: &'a [ToUnwrap<'a>]) -> KeyProviderFuture<'a, Vec<KeyBytes>> {
        Box::pin(std::future::ready(self.unwrap_all(keys)))
    }

    fn index_root(&self) -> &KeyBytes {
        &self.index_root
    }
}

impl fmt::Debug for LocalKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.keks.iter().map(|kek| kek.id.as_str()).collect();
        f.debug_struct("LocalKeyFile")
            .field("active", &self.active)
            .field("keks", &ids)
            .finish_non_exhaustive()
    }
}

fn fingerprint(key: &KeyBytes) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), FINGERPRINT_OF);
    hex::encode(&tag.as_ref()[..FINGERPRINT_BYTES])
}

fn parse_key(text: &str) -> Option<KeyBytes> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(text, &mut *bytes).ok()?;
    KeyBytes::from_slice(&*bytes)
}

fn fresh_text() -> Zeroizing<String> {
    // A random name, so that another installation's file is never taken for this one's.
    let name: [u8; 4] = rand::random();
    let id = format!("kek-{}", hex::encode(name));
    let key = || Zeroizing::new(hex::encode(KeyBytes::random().expose()));
    Zeroizing::new(format!(
        "{HEADER}\n\
         # Whoever has this file and the database reads every person's data; without it nobody does.\n\
         # Keep a copy, apart from the database's backups: docs/KEYS.md.\n\
         active {id}\n\
         kek {id} {}\n\
         index-root {}\n",
        *key(),
        *key(),
    ))
}

/// Writes a whole file beside `path`, then links it there: no reader sees half of it, and of two makers one wins.
fn create(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = draft_path(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let text = fresh_text();
    let linked = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| {
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    fs::remove_file(&draft)?;
    linked?;
    File::open(folder)?.sync_all()
}

fn draft_path(path: &Path) -> PathBuf {
    let random: [u8; 8] = rand::random();
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.draft", hex::encode(random)));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_key_file_is_refused_without_showing_it() {
        let good = fresh_text();
        assert!(LocalKeyFile::parse(&good).is_ok());
        let secret = "ab".repeat(31);
        let last_line = good.lines().last().unwrap_or_default();
        let cases = [
            (String::new(), "does not begin"),
            (good.replace("sira-keys 1", "sira-keys 9"), "does not begin"),
            (good.replace("active ", "aktif "), "not understood"),
            (good.replace("active kek-", "active other-"), "active key is not in it"),
            (good.replace(last_line, ""), "index root is not in it"),
            (good.replace(last_line, &format!("index-root {secret}")), "holds no key"),
            (format!("{}{last_line}\n", *good), "twice"),
        ];
        for (text, expected) in cases {
            let what = LocalKeyFile::parse(&text).err().unwrap_or_default();
            assert!(what.contains(expected), "{expected}: {what}");
            assert!(!what.contains(&secret));
        }
    }

    #[test]
    fn several_keys_unwrap_and_the_active_one_wraps() {
        let old = fresh_text();
        let old_id = LocalKeyFile::parse(&old).unwrap().active;
        let new_key = hex::encode(KeyBytes::random().expose());
        let rotated =
            old.replace(&format!("active {old_id}"), "active kek-new") + &format!("kek kek-new {new_key}\n");
        let (old, rotated) = (LocalKeyFile::parse(&old).unwrap(), LocalKeyFile::parse(&rotated).unwrap());
        let item = ToWrap { key: KeyBytes::random(), context: b"c".to_vec() };
        let wrapped = old.wrap_all(&old_id, std::slice::from_ref(&item)).unwrap();
        let asked = [ToUnwrap { kek_id: &old_id, wrapped: &wrapped[0], context: b"c".to_vec() }];
        let opened = rotated.unwrap_all(&asked).unwrap();
        assert_eq!(opened[0].expose(), item.key.expose());
        assert_eq!(rotated.active_kek(), "kek-new");
    }

    #[test]
    fn a_fingerprint_tells_keys_apart_and_does_not_tell_them() {
        let text = fresh_text();
        let (one, other) = (LocalKeyFile::parse(&text).unwrap(), LocalKeyFile::generate());
        assert_eq!(one.fingerprints(), LocalKeyFile::parse(&text).unwrap().fingerprints());
        assert_ne!(one.fingerprints().index_root, other.fingerprints().index_root);
        let told = format!("{:?}", one.fingerprints());
        let secrets =
            text.lines().filter_map(|line| line.split(' ').next_back()).filter(|word| word.len() == 64);
        assert_eq!(secrets.clone().count(), 2);
        assert!(secrets.into_iter().all(|secret| !told.contains(&secret[..16])), "{told}");
    }
}

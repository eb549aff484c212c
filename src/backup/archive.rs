//! Where the files of a backup lie while it is written, and where they are found when it is read.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use super::manifest::{DUMP, MANIFEST, MANIFEST_BYTES_MAX, Manifest, Part};
use super::{Error, Refused};

/// What a backup is packed into before it gets its name.
const PACKED: &str = "backup.tar";
/// Every file that a directory of work may hold.
const OURS: [&str; 3] = [MANIFEST, DUMP, PACKED];
/// The owner's alone.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// Whether a backup of this name is one tar; else it is a directory.
pub fn is_tar(target: &Path) -> bool {
    target.extension() == Some(OsStr::new("tar"))
}

/// A backup that is being written, beside its place: `<target>.partial`. One process at a time has it.
pub struct Work {
    dir: PathBuf,
    target: PathBuf,
    _lock: File,
}

impl Work {
    /// Makes the directory, or takes over what a killed process left there.
    ///
    /// # Errors
    /// [`Refused::Exists`], [`Refused::Busy`].
    pub fn begin(target: &Path) -> Result<Self, Error> {
        let target =
            std::path::absolute(target).map_err(Error::io(format!("resolve {}", target.display())))?;
        if fs::symlink_metadata(&target).is_ok() {
            return Err(Refused::Exists(target).into());
        }
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let dir = target.with_file_name(name);
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io(format!("make {}", dir.display()))(error));
            }
            _ => {}
        }
        let lock = File::open(&dir).map_err(Error::io(format!("open {}", dir.display())))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Refused::Busy(target).into()),
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(format!("lock {}", dir.display()))(error));
            }
        }
        let work = Self { dir, target, _lock: lock };
        work.clear()?;
        Ok(work)
    }

    /// A new file of this name, the owner's alone.
    pub fn create(&self, name: &str) -> Result<File, Error> {
        let path = self.dir.join(name);
        let created = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path);
        created.map_err(Error::io(format!("create {}", path.display())))
    }

    /// Flushes everything to disk and gives the backup its name, at once or not at all.
    pub fn finish(self) -> Result<(), Error> {
        flush(&self.dir)?;
        let placed = if is_tar(&self.target) {
            pack(&self.dir, self.create(PACKED)?)
                // A link, unlike a rename, does not replace what came there meanwhile.
                .and_then(|()| fs::hard_link(self.dir.join(PACKED), &self.target))
        } else {
            fs::rename(&self.dir, &self.target)
        };
        placed.map_err(Error::io(format!("write {}", self.target.display())))?;
        if is_tar(&self.target) {
            self.abandon();
        }
        let parent = self.target.parent().unwrap_or(Path::new("/"));
        flush(parent)
    }

    /// Removes what was written so far.
    pub fn abandon(&self) {
        // The next one to the same place clears it.
        let _ = self.clear().map(|()| fs::remove_dir(&self.dir));
    }

    fn clear(&self) -> Result<(), Error> {
        for path in OURS.map(|name| self.dir.join(name)) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("remove {}", path.display()))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn flush(dir: &Path) -> Result<(), Error> {
    let flushed = File::open(dir).and_then(|dir| dir.sync_all());
    flushed.map_err(Error::io(format!("flush {}", dir.display())))
}

/// Packs the manifest and the dump, in this order.
fn pack(dir: &Path, tar: File) -> io::Result<()> {
    let mut builder = tar::Builder::new(tar);
    for name in [MANIFEST, DUMP] {
        let mut file = File::open(dir.join(name))?;
        let mut header = tar::Header::new_gnu();
        header.set_size(file.metadata()?.len());
        header.set_mode(FILE_MODE);
        builder.append_data(&mut header, name, &mut file)?;
    }
    builder.into_inner()?.sync_all()
}

/// A backup that was found.
pub struct Found {
    pub manifest: Manifest,
    /// Where the dump lies: in this file, behind so many bytes.
    path: PathBuf,
    offset: u64,
    bytes: u64,
}

impl Found {
    /// Reads the manifest and finds the dump; checks neither.
    ///
    /// # Errors
    /// [`Refused::NoBackup`], [`Refused::OtherFormat`].
    pub fn open(from: &Path) -> Result<Self, Error> {
        let no_backup = |why: String| Error::from(Refused::NoBackup(why));
        let found = fs::metadata(from).map_err(|error| no_backup(format!("{}: {error}", from.display())))?;
        let (text, dump) = if found.is_dir() {
            (read_manifest(File::open(from.join(MANIFEST))), of_file(&from.join(DUMP)))
        } else {
            in_tar(from)
        };
        let text = text.map_err(|error| no_backup(format!("{MANIFEST}: {error}")))?;
        let manifest = Manifest::read(&text)?;
        let (path, offset, bytes) = dump.map_err(|error| no_backup(format!("{DUMP}: {error}")))?;
        Ok(Self { manifest, path, offset, bytes })
    }

    /// Compares the dump with the manifest.
    ///
    /// # Errors
    /// [`Refused::Damaged`].
    pub fn check(&self) -> Result<(), Error> {
        let Part { file, bytes, sha256 } = self.manifest.dump()?;
        let damaged = |what| Err(Refused::Damaged { file: file.clone(), what }.into());
        if *bytes != self.bytes {
            return damaged("size");
        }
        let mut context = Context::new(&SHA256);
        let mut reader = self.reader().map_err(Error::io(format!("read {}", self.path.display())))?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read =
                reader.read(&mut buffer).map_err(Error::io(format!("read {}", self.path.display())))?;
            if read == 0 {
                break;
            }
            context.update(&buffer[..read]);
        }
        if hex::encode(context.finish()) == *sha256 { Ok(()) } else { damaged("checksum") }
    }

    /// The dump's bytes.
    pub fn reader(&self) -> io::Result<io::Take<File>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        Ok(file.take(self.bytes))
    }
}

type Place = (PathBuf, u64, u64);

fn of_file(path: &Path) -> io::Result<Place> {
    Ok((path.to_owned(), 0, fs::metadata(path)?.len()))
}

fn read_manifest(opened: io::Result<impl Read>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    opened?.take(MANIFEST_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

fn in_tar(path: &Path) -> (io::Result<Vec<u8>>, io::Result<Place>) {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "it is not in the tar");
    let (mut text, mut dump) = (Err(missing()), Err(missing()));
    let walked = File::open(path).and_then(|file| {
        for entry in tar::Archive::new(file).entries_with_seek()?.take(OURS.len()) {
            let entry = entry?;
            match entry.path()?.to_str() {
                Some(MANIFEST) => text = read_manifest(Ok(entry)),
                Some(DUMP) => dump = Ok((path.to_owned(), entry.raw_file_position(), entry.size())),
                _ => {}
            }
        }
        Ok(())
    });
    match walked {
        Ok(()) => (text, dump),
        Err(error) => (Err(error), dump),
    }
}

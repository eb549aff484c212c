//! Files that only their owner may read.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Read and write for the owner alone.
const OWNER_ONLY: u32 = 0o600;
/// The same for a directory.
const OWNER_ONLY_DIRECTORY: u32 = 0o700;

/// Writes a file that only its owner may read, replacing an older one at once or not at all. Makes its directory,
/// with the same care, when there is none.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    if !directory.try_exists()? {
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, Permissions::from_mode(OWNER_ONLY_DIRECTORY))?;
    }
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_read_and_no_draft_is_left() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secrets/passwords");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

//! Opaque, signed cursors.
//!
//! A cursor says where a page ended and which list it belongs to: path, filters, sort and the caller's scope.
//! It is good for that list alone, for any length of time, and holds no personal data.

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::catalogue::Code;

/// Of the layout below.
const VERSION: u8 = 1;
/// Bytes of the list's digest that a cursor carries.
const LIST_BYTES: usize = 16;
/// HMAC-SHA-256.
const TAG_BYTES: usize = 32;
/// Longest position: a time and an id.
const POSITION_BYTES_MAX: usize = 64;

/// Which way a page is read from its cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards the end of the list.
    Next,
    /// Towards its beginning.
    Previous,
}

/// Signs and opens cursors.
pub struct Cursors(hmac::Key);

/// Which list a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListId([u8; LIST_BYTES]);

impl ListId {
    /// The list that is made of these parts: path, filters, sort, scope. Their order counts.
    pub fn of(parts: &[&str]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            // With its length, so that no two lists of parts run together.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut id = [0; LIST_BYTES];
        id.copy_from_slice(&context.finish().as_ref()[..LIST_BYTES]);
        Self(id)
    }
}

impl Cursors {
    /// Under this key.
    pub fn new(key: hmac::Key) -> Self {
        Self(key)
    }

    /// A cursor to this position of this list.
    pub fn seal(&self, list: ListId, direction: Direction, position: &[u8]) -> String {
        debug_assert!(position.len() <= POSITION_BYTES_MAX, "a position is a time and an id");
        let way = u8::from(direction == Direction::Previous);
        let mut bytes = vec![VERSION, way];
        bytes.extend_from_slice(&list.0);
        bytes.extend_from_slice(position);
        let tag = hmac::sign(&self.0, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Direction and position of a cursor of this list.
    ///
    /// # Errors
    /// [`Code::CursorInvalid`] when it is not ours or was changed, [`Code::CursorMismatch`] when it belongs to
    /// another list.
    pub fn open(&self, list: ListId, cursor: &str) -> Result<(Direction, Vec<u8>), Code> {
        const HEAD: usize = 2 + LIST_BYTES;
        if cursor.len() > 2 * (HEAD + POSITION_BYTES_MAX + TAG_BYTES) {
            return Err(Code::CursorInvalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Code::CursorInvalid)?;
        let split = bytes.len().checked_sub(TAG_BYTES).filter(|split| *split >= HEAD);
        let (body, tag) = bytes.split_at(split.ok_or(Code::CursorInvalid)?);
        hmac::verify(&self.0, body, tag).map_err(|_| Code::CursorInvalid)?;
        if body[0] != VERSION {
            return Err(Code::CursorInvalid);
        }
        if body[2..HEAD] != list.0 {
            return Err(Code::CursorMismatch);
        }
        let direction = if body[1] == 0 { Direction::Next } else { Direction::Previous };
        Ok((direction, body[HEAD..].to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursors() -> Cursors {
        Cursors::new(hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]))
    }

    proptest! {
        #[test]
        fn a_cursor_opens_in_its_own_list_alone(position in proptest::collection::vec(any::<u8>(), 0..64)) {
            let (list, other) = (ListId::of(&["/leads", "a"]), ListId::of(&["/leads", "b"]));
            let cursor = cursors().seal(list, Direction::Previous, &position);
            prop_assert_eq!(cursors().open(list, &cursor), Ok((Direction::Previous, position)));
            prop_assert_eq!(cursors().open(other, &cursor), Err(Code::CursorMismatch));
        }

        #[test]
        fn a_changed_cursor_does_not_open(at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let list = ListId::of(&["/leads"]);
            let cursor = cursors().seal(list, Direction::Next, &[1; 24]);
            let mut bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap();
            let place = at.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let changed = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(cursors().open(list, &changed), Err(Code::CursorInvalid));
        }

        #[test]
        fn junk_does_not_open(junk in ".{0,300}") {
            prop_assert_eq!(cursors().open(ListId::of(&[]), &junk), Err(Code::CursorInvalid));
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(ListId::of(&["ab", "c"]), ListId::of(&["a", "bc"]));
    }
}

//! Names of persons: normalised for storage, shown masked.

use std::fmt;

/// Longest name kept, in characters; what is longer is cut at a character, never refused: a lead is not lost
/// over its name.
pub const NAME_CHARS_MAX: usize = 200;

/// A person's name with single spaces and no control characters. `Debug` shows the masked form.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonName(String);

impl PersonName {
    /// Normalises a raw name; `None` when nothing is left of it.
    pub fn parse(raw: &str) -> Option<Self> {
        let visible: String = raw.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let joined = visible.split_whitespace().collect::<Vec<_>>().join(" ");
        let cut: String = joined.chars().take(NAME_CHARS_MAX).collect();
        (!cut.is_empty()).then_some(Self(cut))
    }

    /// The name itself: what is encrypted.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What may be shown: the first letter of each of at most four parts: `A*** Y***`.
    pub fn masked(&self) -> String {
        let initial = |part: &str| part.chars().next().map(|c| format!("{c}***"));
        self.0.split(' ').filter_map(initial).take(4).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_turkish_letters_and_show_initials() {
        let name = PersonName::parse("  Şule\t Çağrı  ").expect("a name");
        assert_eq!(name.as_str(), "Şule Çağrı");
        assert_eq!(name.masked(), "Ş*** Ç***");
        assert!(PersonName::parse(" \n ").is_none());
    }
}

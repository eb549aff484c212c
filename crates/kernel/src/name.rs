//! Names of persons: normalised for storage, shown masked.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longest name kept, in characters; what is longer is cut at a character, never refused: a lead is not lost
/// over its name.
pub const NAME_CHARS_MAX: usize = 200;
/// Search tokens of one name.
pub const TOKENS_MAX: usize = 8;
/// Shortest search token, in characters: an initial finds too many.
const TOKEN_CHARS_MIN: usize = 2;

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

    /// The words under which the name is searched: [`folded`], each once, in the name's order. At most
    /// [`TOKENS_MAX`], of at least two characters.
    ///
    /// Whatever is no letter and no digit parts two words: `Ayşe-Nur O'Şen` gives `ayse`, `nur` and `sen`.
    pub fn search_tokens(&self) -> Vec<String> {
        let folded = folded(&self.0);
        let mut tokens: Vec<String> = Vec::new();
        for word in folded.split(is_between).filter(|word| word.chars().nth(TOKEN_CHARS_MIN - 1).is_some()) {
            if tokens.len() < TOKENS_MAX && !tokens.iter().any(|token| token == word) {
                tokens.push(word.to_owned());
            }
        }
        tokens
    }

    /// What may be shown: the first letter of each of at most four parts: `A*** Y***`.
    pub fn masked(&self) -> String {
        let initial = |part: &str| part.chars().next().map(|c| format!("{c}***"));
        self.0.split(' ').filter_map(initial).take(4).collect::<Vec<_>>().join(" ")
    }
}

/// Text as it is compared in a search: lower case, and no marks over or under letters (NFKD without its marks).
///
/// The four letters I, İ, ı and i become one, so that a name is found in whichever case and on whichever keyboard it
/// was typed. Letters that are no letter with a mark, but are typed as one where they are not on the keyboard, follow:
/// ß as ss, ə as e.
pub fn folded(text: &str) -> String {
    let bare = text.nfkd().filter(|letter| !is_combining_mark(*letter)).flat_map(char::to_lowercase);
    let mut folded = String::with_capacity(text.len());
    for letter in bare {
        match letter {
            'ı' => folded.push('i'),
            'ə' => folded.push('e'),
            'ø' => folded.push('o'),
            'đ' => folded.push('d'),
            'ł' => folded.push('l'),
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            _ => folded.push(letter),
        }
    }
    folded
}

/// The two modifier letters are written for an apostrophe.
fn is_between(letter: char) -> bool {
    !letter.is_alphanumeric() || matches!(letter, '\u{2bb}' | '\u{2bc}')
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

    fn tokens(raw: &str) -> Vec<String> {
        PersonName::parse(raw).map(|name| name.search_tokens()).unwrap_or_default()
    }

    #[test]
    fn the_four_turkish_i_are_one_letter() {
        for raw in ["IŞIL", "İŞİL", "ışıl", "işil", "Işıl", "İşil", "I\u{307}s\u{327}il"] {
            assert_eq!(tokens(raw), ["isil"], "{raw}");
        }
    }

    #[test]
    fn marks_do_not_part_names_that_are_the_same() {
        assert_eq!(tokens("Çağrı Gökçe Şükrüoğlu"), ["cagri", "gokce", "sukruoglu"]);
        assert_eq!(tokens("Hâlit Kâmil Nîmet Sûdi"), ["halit", "kamil", "nimet", "sudi"]);
        assert_eq!(tokens("S\u{327}u\u{308}kru\u{308}"), tokens("Şükrü"));
        assert_eq!(tokens("José Groß Łukasz Søren Əli"), ["jose", "gross", "lukasz", "soren", "eli"]);
        assert_eq!(tokens("ＡＹＳＥ"), ["ayse"]);
        assert_eq!(tokens("أحمد"), tokens("احمد"));
    }

    #[test]
    fn spaces_hyphens_and_apostrophes_part_words() {
        assert_eq!(tokens("Ayşe-Nur O'Şen"), ["ayse", "nur", "sen"]);
        assert_eq!(tokens("D’Angelo Nur‐Su K\u{2bc}aan"), ["angelo", "nur", "su", "aan"]);
        assert_eq!(tokens("Dr.Ali (Veli), Can"), ["dr", "ali", "veli", "can"]);
    }

    #[test]
    fn tokens_are_two_letters_or_more_once_and_at_most_eight() {
        assert_eq!(tokens("Ali A. Ali ALİ Su"), ["ali", "su"]);
        assert_eq!(tokens("aa bb cc dd ee ff gg hh ii").len(), TOKENS_MAX);
        assert_eq!(tokens("aa aa aa bb cc dd ee ff gg hh"), ["aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh"]);
        assert!(tokens("A - ' .").is_empty());
    }
}

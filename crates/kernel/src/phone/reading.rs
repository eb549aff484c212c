//! From a text that people typed to a country code and a national number.
//!
//! The steps are those of libphonenumber's `parse`, so that a text means here what it means to every other system that
//! reads it with that library: `tests/phones.rs` holds the two together. The parser of the crate `phonenumber` is not
//! used. It strips the prefixes of the region from foreign numbers (`+39 06…` loses its zero in Turkey), takes a single
//! letter for a digit, and reads fewer kinds of digits and extensions.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

use super::plan::{self, Length, Plan};

/// Longest text that is read; what is longer holds more than a number.
const TEXT_CHARS_MAX: usize = 250;
/// Fewest digits of a national number.
const DIGITS_MIN: usize = 2;
/// Most digits of a national number; some exceed the ITU's 15.
const DIGITS_MAX: usize = 17;
/// Letters from which on a text is dialled by its letters: `0800 FLOWERS`.
const LETTERS_MIN: usize = 3;

const ISDN_PARAMETER: &str = ";isub=";
const CONTEXT_PARAMETER: &str = ";phone-context=";

/// The zeros of the scripts that have digits of their own, full-width ones last. Their nine others follow them.
const ZEROS: [char; 36] = [
    '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}',
    '\u{c66}', '\u{ce6}', '\u{d66}', '\u{de6}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}', '\u{1090}',
    '\u{17e0}', '\u{1810}', '\u{1946}', '\u{19d0}', '\u{1a80}', '\u{1a90}', '\u{1b50}', '\u{1bb0}',
    '\u{1c40}', '\u{1c50}', '\u{a620}', '\u{a8d0}', '\u{a900}', '\u{a9d0}', '\u{a9f0}', '\u{aa50}',
    '\u{abf0}', '\u{ff10}',
];

/// What may stand between the digits: dashes, spaces, dots, slashes, brackets, tildes, and `x` for a carrier.
const BETWEEN: &str = r"\-x\u{2010}-\u{2015}\u{2212}\u{30FC}\u{FF0D}-\u{FF0F} \u{00A0}\u{00AD}\u{200B}\u{2060}\u{3000}()\u{FF08}\u{FF09}\u{FF3B}\u{FF3D}.\[\]/\~\u{2053}\u{223C}\u{FF5E}";

/// An extension behind a number. More digits are believed behind a plainer word.
const EXTENSION: &str = concat!(
    r";ext=[0-9]{1,20}",
    r"|[ \u{A0}\t,]*(?:e?xt(?:ensi(?:o\u{301}?|\u{F3}))?n?|\u{FF45}?\u{FF58}\u{FF54}\u{FF4E}?|доб|anexo)",
    r"[:.\u{FF0E}]?[ \u{A0}\t,\-]*[0-9]{1,20}\#?",
    r"|[ \u{A0}\t,]*(?:[x\u{FF58}\#\u{FF03}\~\u{FF5E}]|int|\u{FF49}\u{FF4E}\u{FF54})",
    r"[:.\u{FF0E}]?[ \u{A0}\t,\-]*[0-9]{1,9}\#?",
    r"|[\- ]+[0-9]{1,6}\#",
    r"|[ \u{A0}\t]*(?:,{2}|;)[:.\u{FF0E}]?[ \u{A0}\t,\-]*[0-9]{1,15}\#?",
    r"|[ \u{A0}\t]*,+[:.\u{FF0E}]?[ \u{A0}\t,\-]*[0-9]{1,9}\#?",
);

/// The shape of a number: two digits, or three and more with what may stand between them, then letters too. The
/// dotless and the dotted Turkish i count as letters, as they do to the reference.
static VIABLE: LazyLock<Regex> = LazyLock::new(|| {
    expression(&format!(
        r"\A(?:[0-9]{{2}}|[+\u{{FF0B}}]*(?:[{BETWEEN}*]*[0-9]){{3,}}[{BETWEEN}*A-Z\u{{130}}\u{{131}}0-9]*(?:{EXTENSION})?)\z"
    ))
});
static EXTENSION_AT_END: LazyLock<Regex> = LazyLock::new(|| expression(&format!(r"(?:{EXTENSION})\z")));
/// A second extension makes two numbers of one: `530 583 6985 x302/x2303`.
static SECOND_NUMBER: LazyLock<Regex> = LazyLock::new(|| expression(r"[\\/] *(?-i:x)"));
/// What RFC 3966 allows behind `;phone-context=`: the beginning of an international number, or a domain.
static CONTEXT: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"\A(?:\+[\-.()0-9]*[0-9][\-.()0-9]*|(?:[A-Z0-9]+(?:-*[A-Z0-9])*\.)*[A-Z]+(?:-*[A-Z0-9])*\.?)\z",
    )
});

fn expression(source: &str) -> Regex {
    RegexBuilder::new(source).case_insensitive(true).build().expect("a constant, compiled by the tests")
}

/// What a text says.
pub struct Reading {
    pub code: u16,
    pub national: String,
}

/// Reads a text; a number without a country code is one of `region`. `None` when there is no number in it.
pub fn read(text: &str, region: &str) -> Option<Reading> {
    let raw: String = text.chars().take(TEXT_CHARS_MAX + 1).collect();
    if raw.chars().count() > TEXT_CHARS_MAX {
        return None;
    }
    let text: String = raw.chars().map(ascii_digit).collect();
    let number = candidate(&text).filter(|number| is_viable(number))?;
    let number = without_extension(&number);
    // Keys bear the digits of one script; what has both letters and other digits is a masked number: `٠٥٥٥ ٠٠٠ XXXX`.
    if text != raw && has_letters(number) {
        return None;
    }
    let home = plan::of_region(region);
    let (plan, national) = match split(number, home) {
        Split::Abroad(code, national) => (plan::of_code(code)?, national),
        Split::National(national) => (home?, national),
        Split::TooShort => return None,
        // `+0090 …` means the prefix that is dialled.
        Split::UnknownCode => match split(without_plus(number)?, home) {
            Split::Abroad(code, national) => (plan::of_code(code)?, national),
            Split::National(_) | Split::UnknownCode | Split::TooShort => return None,
        },
    };
    let bare = plan.without_trunk(&national);
    let national = match plan.length_of(&bare) {
        Length::Possible | Length::TooLong => bare,
        Length::LocalOnly | Length::TooShort | Length::Impossible => national,
    };
    (DIGITS_MIN..=DIGITS_MAX).contains(&national.len()).then_some(Reading { code: plan.code, national })
}

/// The ASCII digit of the same value, or the letter itself.
fn ascii_digit(letter: char) -> char {
    if letter.is_ascii() {
        return letter;
    }
    let digit = |zero: &char| char::from_digit(u32::from(letter).checked_sub(u32::from(*zero))?, 10);
    ZEROS.iter().find_map(digit).unwrap_or(letter)
}

/// The part of a text that may be a number: without words before it and marks behind it.
fn candidate(text: &str) -> Option<String> {
    let Some((before, after)) = text.split_once(CONTEXT_PARAMETER) else {
        return extract(text).map(|number| without_isdn(number).to_owned());
    };
    let context = after.split(';').next().filter(|context| CONTEXT.is_match(context))?;
    let local = before.split_once("tel:").map_or(before, |(_, local)| local);
    let code = if context.starts_with('+') { context } else { "" };
    Some(without_isdn(&format!("{code}{local}")).to_owned())
}

fn extract(text: &str) -> Option<&str> {
    let text = &text[text.find(|letter| is_plus(letter) || letter.is_ascii_digit())?..];
    let text = text.trim_end_matches(|letter: char| letter != '#' && !letter.is_alphanumeric());
    Some(SECOND_NUMBER.find(text).map_or(text, |second| &text[..second.start()]))
}

fn without_isdn(number: &str) -> &str {
    number.find(ISDN_PARAMETER).filter(|at| *at > 0).map_or(number, |at| &number[..at])
}

fn is_plus(letter: char) -> bool {
    matches!(letter, '+' | '\u{ff0b}')
}

fn is_viable(number: &str) -> bool {
    VIABLE.is_match(number)
}

/// The number without its extension, if what is left of it is still one.
fn without_extension(number: &str) -> &str {
    let found = EXTENSION_AT_END.find(number).map(|extension| &number[..extension.start()]);
    found.filter(|bare| is_viable(bare)).unwrap_or(number)
}

/// Without its leading plus signs; none when it has none.
fn without_plus(number: &str) -> Option<&str> {
    number.starts_with(is_plus).then(|| number.trim_start_matches(is_plus))
}

/// The digits of a number. With three letters and more, letters stand for the digits on their keys; with fewer they
/// are slips.
fn digits(number: &str) -> String {
    if has_letters(number) {
        number.chars().filter_map(key).collect()
    } else {
        number.chars().filter(char::is_ascii_digit).collect()
    }
}

fn has_letters(number: &str) -> bool {
    number.chars().filter(char::is_ascii_alphabetic).count() >= LETTERS_MIN
}

/// The key of a telephone that bears this digit or letter (ITU E.161).
fn key(letter: char) -> Option<char> {
    let key = match letter.to_uppercase().next()? {
        digit @ '0'..='9' => digit,
        'A'..='C' => '2',
        'D'..='F' => '3',
        'G'..='I' => '4',
        'J'..='L' => '5',
        'M'..='O' => '6',
        'P'..='S' => '7',
        'T'..='V' => '8',
        'W'..='Z' => '9',
        _ => return None,
    };
    Some(key)
}

/// What stands at the beginning of a number.
enum Split {
    /// A country code, and the rest.
    Abroad(u16, String),
    National(String),
    /// The way out of the country, and no country behind it.
    UnknownCode,
    TooShort,
}

fn split(number: &str, home: Option<&Plan>) -> Split {
    let national = digits(number);
    let abroad = match without_plus(number) {
        Some(_) => Some(national.as_str()),
        None => home.and_then(|home| home.abroad(&national)),
    };
    if let Some(abroad) = abroad {
        return match plan::split_code(abroad) {
            _ if abroad.len() <= DIGITS_MIN => Split::TooShort,
            Some((code, national)) => Split::Abroad(code, national.to_owned()),
            None => Split::UnknownCode,
        };
    }
    // The country's own code without a plus: taken for one only when the digits make no number, or too long a one,
    // with it.
    let own = |home: &Plan| {
        let rest = national.strip_prefix(&home.code.to_string())?;
        let bare = home.without_trunk(rest);
        let mended = !home.is_shaped(&national) && home.is_shaped(&bare);
        let own = mended || home.length_of(&national) == Length::TooLong;
        own.then_some(Split::Abroad(home.code, bare))
    };
    home.and_then(own).unwrap_or(Split::National(national))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn national(text: &str, region: &str) -> Option<String> {
        read(text, region).map(|reading| format!("{} {}", reading.code, reading.national))
    }

    #[test]
    fn digits_of_other_scripts_are_digits() {
        for text in ["٠٥٥٥٠٠٠٠٠١٧", "۰۵۵۵۰۰۰۰۰۱۷", "０５５５０００００１７", "＋９０ ５５５ ０００ ００ １７"]
        {
            assert_eq!(national(text, "TR").as_deref(), Some("90 5550000017"), "{text}");
        }
        assert_eq!(ascii_digit('\u{abf9}'), '9');
        assert_eq!(ascii_digit('ş'), 'ş');
    }

    #[test]
    fn a_foreign_number_keeps_its_own_zeros() {
        assert_eq!(national("+39 06 0000 0017", "TR").as_deref(), Some("39 0600000017"));
        assert_eq!(national("+44 (0) 7700 900017", "TR").as_deref(), Some("44 7700900017"));
    }

    #[test]
    fn the_country_code_is_found_however_it_is_dialled() {
        for text in
            ["0090 555 000 00 17", "+0090 555 000 00 17", "90 555 000 00 17", "++90 (0) 555 000 00 17"]
        {
            assert_eq!(national(text, "TR").as_deref(), Some("90 5550000017"), "{text}");
        }
        assert_eq!(national("+0555 000 00 17", "TR"), None);
        assert_eq!(national("0555 000 00 17", ""), None);
        assert_eq!(national("+999 555 000 00 17", "TR"), None);
    }

    #[test]
    fn extensions_and_parameters_are_no_part_of_the_number() {
        for text in [
            "0555 000 00 17 ext. 12",
            "0555 000 00 17,,12",
            "0555 000 00 17 x12",
            "tel:+905550000017;ext=12",
            "tel:0555-000-00-17;phone-context=+90",
            "tel:0555-000-00-17;phone-context=example.com",
            "tel:+90-555-000-00-17;isub=12345",
        ] {
            assert_eq!(national(text, "TR").as_deref(), Some("90 5550000017"), "{text}");
        }
        assert_eq!(national("tel:0555-000-00-17;phone-context=", "TR"), None);
    }

    #[test]
    fn one_letter_is_a_slip_and_three_are_keys() {
        assert_eq!(national("0555 000 00 17 a", "TR").as_deref(), Some("90 5550000017"));
        assert_eq!(national("1-800-555-BABY", "US").as_deref(), Some("1 8005552229"));
        assert_eq!(national("٠٥٥٥ ٠٠٠ XXXX", "TR"), None);
    }

    #[test]
    fn a_longer_text_is_no_number() {
        let padded = |spaces| format!("0555 000 00 17{}", " ".repeat(spaces));
        assert!(read(&padded(TEXT_CHARS_MAX - 14), "TR").is_some());
        assert!(read(&padded(TEXT_CHARS_MAX - 13), "TR").is_none());
    }
}

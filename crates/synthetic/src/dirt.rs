//! How people and exports spell what they mean: the same phone, e-mail or name in many ways.
//!
//! **Invariant:** two styles of one number are two texts, and both mean that number; the same holds for e-mails.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::catalogue::Country;
use crate::numbers::Number;

/// Turkish numbers as typed: `#` is the next national digit. `p:` is what Meta's export puts in front.
const TURKISH: [&str; 20] = [
    "0### ### ## ##",
    "0##########",
    "##########",
    "+90##########",
    "+90 ### ### ## ##",
    "90##########",
    "90 ### ### ####",
    "0090##########",
    "0090 ### ### ## ##",
    "0(###) ### ## ##",
    "(0###) ###-##-##",
    "+90 (###) ###-##-##",
    "0###-###-##-##",
    "0###.###.##.##",
    "+90.###.###.##.##",
    "p:+90##########",
    "  0### ### #### ",
    "###-###-####",
    "0### ###  ##  ##",
    "+90-###-###-##-##",
];
/// Foreign numbers as typed: what comes before the calling code, what between the groups.
const FOREIGN: [(&str, &str); 8] =
    [("+", ""), ("00", ""), ("+", " "), ("+", "-"), ("00", " "), ("p:+", ""), ("+", "."), (" +", "  ")];

/// Between two numbers in one field.
const BETWEEN: [&str; 7] = [" / ", ";", "; ", "/", ", ", " | ", "\n"];

/// What stands in a phone column when there is no phone.
const NO_PHONE: [&str; 12] =
    ["", "", "", "", "yok", "-", "0", "12345", "bilmiyorum", "0000000000", "+90", "p:"];
/// One in so many of them is a number that no plan assigns.
const UNASSIGNED_ONE_IN: u32 = 8;
/// What stands in an e-mail column when there is no e-mail.
const NO_EMAIL: [&str; 12] =
    ["", "", "", "", "", "", "yok", "-", "@example.com", "demo@", "demo.example.com", "demo@@example.com"];

/// Spellings of an e-mail.
pub(crate) const EMAIL_STYLES: usize = 5;
/// Spellings of a name.
pub(crate) const NAME_STYLES: usize = 6;

/// So many spellings this number has.
pub(crate) fn phone_styles(number: &Number) -> usize {
    if number.country == Country::Turkiye { TURKISH.len() } else { FOREIGN.len() }
}

/// The number as somebody typed it.
pub(crate) fn phone(number: &Number, style: usize) -> String {
    if number.country == Country::Turkiye {
        let mut digits = number.national.chars();
        let template = TURKISH[style % TURKISH.len()];
        return template.chars().map(|c| if c == '#' { digits.next().unwrap_or(c) } else { c }).collect();
    }
    let (before, between) = FOREIGN[style % FOREIGN.len()];
    format!("{before}{}{between}{}", number.country.calling_code(), number.groups().join(between))
}

/// Two numbers in one field.
pub(crate) fn two_phones(one: &str, other: &str, rng: &mut StdRng) -> String {
    let between = BETWEEN.choose(rng).expect("the list is not empty");
    format!("{one}{between}{other}")
}

/// A phone column without a usable phone.
pub(crate) fn no_phone(rng: &mut StdRng) -> String {
    if rng.random_ratio(1, UNASSIGNED_ONE_IN) {
        // Ofcom's mobile numbers for drama: the plan that Sira reads knows no such number.
        return format!("+44 7700 900{:03}", rng.random_range(0..1_000_u32));
    }
    (*NO_PHONE.choose(rng).expect("the list is not empty")).to_owned()
}

/// The e-mail as somebody typed it; `normal` is in small letters.
pub(crate) fn email(normal: &str, style: usize) -> String {
    match style % EMAIL_STYLES {
        0 => normal.to_owned(),
        1 => normal.split('.').map(capital).collect::<Vec<_>>().join("."),
        2 => normal.to_ascii_uppercase(),
        3 => format!("  {normal}"),
        _ => format!("{} ", capital(normal)),
    }
}

/// An e-mail column without a usable e-mail.
pub(crate) fn no_email(rng: &mut StdRng) -> String {
    (*NO_EMAIL.choose(rng).expect("the list is not empty")).to_owned()
}

/// The name as somebody typed it.
pub(crate) fn name(given: &str, surname: &str, style: usize) -> String {
    let plain = format!("{given} {surname}");
    match style % NAME_STYLES {
        0 => plain,
        1 => upper(&plain),
        2 => lower(&plain),
        3 => format!("  {given}   {surname} "),
        4 => plain.chars().map(latin).collect(),
        _ => format!("{given} {}", upper(surname)),
    }
}

/// One of `styles`, and not this one.
pub(crate) fn other_style(style: usize, styles: usize, rng: &mut StdRng) -> usize {
    (style + rng.random_range(1..styles)) % styles
}

/// The letter without what ASCII does not have.
pub(crate) fn latin(letter: char) -> char {
    match letter {
        'ç' => 'c',
        'Ç' => 'C',
        'ğ' => 'g',
        'Ğ' => 'G',
        'ı' => 'i',
        'İ' => 'I',
        'ö' => 'o',
        'Ö' => 'O',
        'ş' => 's',
        'Ş' => 'S',
        'ü' => 'u',
        'Ü' => 'U',
        other => other,
    }
}

fn capital(ascii: &str) -> String {
    let (first, rest) = ascii.split_at(ascii.len().min(1));
    format!("{}{rest}", first.to_ascii_uppercase())
}

/// As Turkish does it: i becomes İ.
fn upper(text: &str) -> String {
    text.chars().map(|c| if c == 'i' { 'İ' } else { c }).flat_map(char::to_uppercase).collect()
}

/// As Turkish does it: I becomes ı.
fn lower(text: &str) -> String {
    let small = |c: char| match c {
        'I' => 'ı',
        'İ' => 'i',
        other => other,
    };
    text.chars().map(small).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use sira_kernel::{EmailAddress, PhoneNumber};

    use super::*;
    use crate::numbers::{NUMBERS, Scatter};
    use crate::seeds::{Stream, rng};

    #[test]
    fn every_style_is_another_text_and_the_same_number() {
        let scatter = Scatter::new(7);
        for ordinal in (0..NUMBERS).step_by(997) {
            let number = scatter.number(ordinal);
            let styles = phone_styles(&number);
            let texts: HashSet<String> = (0..styles).map(|style| phone(&number, style)).collect();
            assert_eq!(texts.len(), styles);
            for text in texts {
                let bare = text.trim().trim_start_matches("p:");
                let parsed = PhoneNumber::parse(bare, "TR").unwrap_or_else(|e| panic!("{text:?}: {e}"));
                assert_eq!(parsed.e164(), number.e164(), "{text:?}");
            }
        }
    }

    #[test]
    fn every_style_is_another_text_and_the_same_email() {
        let normal = "ayse.akbasar.17@example.com";
        let texts: HashSet<String> = (0..EMAIL_STYLES).map(|style| email(normal, style)).collect();
        assert_eq!(texts.len(), EMAIL_STYLES);
        for text in texts {
            assert_eq!(EmailAddress::parse(&text).unwrap().as_str(), normal, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_contact_is_none() {
        let mut rng = rng(7, Stream::Row, 0);
        for _ in 0..500 {
            let (phone, email) = (no_phone(&mut rng), no_email(&mut rng));
            assert!(PhoneNumber::parse(phone.trim_start_matches("p:"), "TR").is_err(), "{phone:?}");
            assert!(EmailAddress::parse(&email).is_err(), "{email:?}");
        }
    }

    #[test]
    fn names_change_case_as_turkish_does() {
        assert_eq!(name("Işıl", "Şenöğüt", 1), "IŞIL ŞENÖĞÜT");
        assert_eq!(name("İpek", "Dağdere", 1), "İPEK DAĞDERE");
        assert_eq!(name("Işıl", "İnce", 2), "ışıl ince");
        assert_eq!(name("Işıl", "Şenöğüt", 4), "Isil Senogut");
    }

    #[test]
    fn another_style_is_never_the_same() {
        let mut rng = rng(7, Stream::Row, 0);
        for style in (0..5).cycle().take(200) {
            let other = other_style(style, 5, &mut rng);
            assert!(other < 5 && other != style);
        }
    }
}

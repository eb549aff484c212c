//! Free text with what looks like a phone number or an e-mail address masked: people type them into notes.

/// Digits in a row, with what people put between them, that make a number.
const NUMBER_DIGITS_MIN: usize = 7;
/// Digits at the end of a number that stay readable.
const DIGITS_SHOWN: usize = 2;

/// Replaces what looks like a phone number (seven digits or more, with spaces, dots, dashes, slashes and brackets
/// between) by its last two digits, and what looks like an e-mail address by its first letter. Dates and short numbers
/// stay.
pub fn mask_contacts(text: &str) -> String {
    let words: Vec<String> = text.split_inclusive(char::is_whitespace).map(mask_email).collect();
    mask_numbers(&words.concat())
}

fn mask_email(word: &str) -> String {
    let bare = word.trim_end();
    let space = &word[bare.len()..];
    match bare.split_once('@') {
        Some((name, domain)) if !name.is_empty() && domain.contains('.') => {
            let first = name.chars().find(|c| c.is_alphanumeric()).unwrap_or('*');
            format!("{first}***@***{space}")
        }
        _ => word.to_owned(),
    }
}

fn is_between(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '.' | '-' | '/' | '(' | ')' | '\t')
}

fn mask_numbers(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let Some((end, digits)) = digits_at(&chars, at) else {
            masked.push(chars[at]);
            at += 1;
            continue;
        };
        let run = &chars[at..end];
        if digits.len() < NUMBER_DIGITS_MIN || is_date(run, digits.len()) {
            masked.extend(run);
        } else {
            masked.push_str("*** ** ");
            masked.extend(&digits[digits.len() - DIGITS_SHOWN..]);
        }
        at = end;
    }
    masked
}

/// As 24.11.2026.
fn is_date(run: &[char], digits: usize) -> bool {
    digits == 8 && run.iter().filter(|c| matches!(c, '.' | '-' | '/')).count() == 2
}

/// Where the digits that begin here end, and which they are.
fn digits_at(chars: &[char], at: usize) -> Option<(usize, Vec<char>)> {
    let begins =
        chars[at].is_numeric() || (matches!(chars[at], '+' | '(') && chars.get(at + 1)?.is_numeric());
    if !begins {
        return None;
    }
    let mut digits = Vec::new();
    let mut end = at;
    for (n, c) in chars.iter().enumerate().skip(at) {
        if c.is_numeric() {
            digits.push(*c);
            end = n + 1;
        } else if !(is_between(*c) || n == at) {
            break;
        }
    }
    Some((end, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_masked_and_the_rest_stays() {
        for (text, expected) in [
            ("Salı günü 14:30'da arayın", "Salı günü 14:30'da arayın"),
            ("call +90 555 000 00 17 please", "call *** ** 17 please"),
            ("0(555)000-00.17", "*** ** 17"),
            ("5550000017/5550000018", "*** ** 18"),
            ("yaz: ayse@example.com bugün", "yaz: a***@*** bugün"),
            ("24.11.2026 tarihinde", "24.11.2026 tarihinde"),
            ("24.11.2026 saat 14:30, 0555 000 00 17", "24.11.2026 saat 14:30, *** ** 17"),
            ("fiyat 12.500 EUR", "fiyat 12.500 EUR"),
            ("", ""),
        ] {
            assert_eq!(mask_contacts(text), expected, "{text}");
        }
    }

    #[test]
    fn digits_of_other_scripts_are_masked_too() {
        assert!(!mask_contacts("٠٥٥٥٠٠٠٠٠١٧").contains("٠٥٥٥"));
    }
}

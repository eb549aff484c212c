//! The form of a body that may be shown: no phone numbers, no secrets.
//!
//! **Invariant:** of a phone number in the original, at most the country's digits and the last two are in the
//! redacted form, wherever and however it was written. What only looks like a number goes too: better a masked order
//! number than a shown phone.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use sira_kernel::PhoneNumber;

/// A stretch with at least so many digits may be a phone number.
pub const DIGITS_MIN: usize = 7;
/// Digits of the longest phone number.
const DIGITS_MAX: usize = 15;
/// Characters of a UUID, and where its dashes are.
const UUID_CHARS: usize = 36;
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];
/// Members whose name holds one of these, in letters and digits alone, are left out.
const SECRET_NAMES: [&str; 8] =
    ["authorization", "apikey", "password", "secret", "token", "signature", "cookie", "credential"];

/// A body of JSON in its redacted form; of any other body only its length: `{"unreadable_bytes": 17}`. Nothing at
/// all is null.
pub fn body(raw: &[u8]) -> Value {
    if raw.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(raw)
        .map_or_else(|_| json!({ "unreadable_bytes": raw.len() }), |value: Value| redacted(&value))
}

/// The same value with masked numbers and without secrets. A text that is a UUID or a time as a whole stays.
pub fn redacted(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(number) => {
            let text = number.to_string();
            if digits(&text) < DIGITS_MIN { value.clone() } else { Value::String(masked(&text)) }
        }
        Value::String(text) => Value::String(shown(text)),
        Value::Array(values) => values.iter().map(redacted).collect(),
        Value::Object(members) => {
            let shown = members.iter().filter(|(name, _)| !is_secret(name));
            Value::Object(shown.map(|(name, value)| (masked(name), redacted(value))).collect::<Map<_, _>>())
        }
    }
}

fn is_secret(name: &str) -> bool {
    let bare: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    bare == "key" || SECRET_NAMES.iter().any(|secret| bare.contains(secret))
}

fn shown(text: &str) -> String {
    if is_uuid(text) {
        return text.to_owned();
    }
    // Written anew: a fraction of many digits could be anything.
    let time = DateTime::parse_from_rfc3339(text).ok();
    time.map_or_else(
        || masked(text),
        |time| time.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::AutoSi, true),
    )
}

fn is_uuid(text: &str) -> bool {
    text.len() == UUID_CHARS
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if UUID_DASHES.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// Masks each stretch that may be a phone number: digits with anything between them but letters.
fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(char::is_numeric) {
        let stretch = &rest[start..];
        let after = stretch.find(char::is_alphabetic).unwrap_or(stretch.len());
        // Up to its last digit.
        let last = stretch[..after].char_indices().rfind(|(_, letter)| letter.is_numeric());
        let end = last.map_or(after, |(at, letter)| at + letter.len_utf8());
        let (before, number) = (&rest[..start], &stretch[..end]);
        if digits(number) < DIGITS_MIN {
            out.push_str(before);
            out.push_str(number);
        } else {
            out.push_str(before.strip_suffix('+').unwrap_or(before));
            out.push_str(&mask(number));
        }
        rest = &stretch[end..];
    }
    out.push_str(rest);
    out
}

fn digits(text: &str) -> usize {
    text.chars().filter(|letter| letter.is_numeric()).count()
}

/// As the kernel masks it, where the digits are a number with its country; else the last two alone.
fn mask(number: &str) -> String {
    let digits: String = number.chars().filter(|letter| letter.is_numeric()).collect();
    let international = digits.strip_prefix("00").unwrap_or(&digits);
    let phone = (digits.len() <= DIGITS_MAX + 2)
        .then(|| PhoneNumber::parse(&format!("+{international}"), "").ok())
        .flatten();
    phone.map_or_else(
        || {
            let tail = digits.char_indices().rev().nth(1).map_or("", |(at, _)| &digits[at..]);
            format!("*** ** {tail}")
        },
        |phone| phone.masked(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_masked_however_it_is_written() {
        let cases = [
            ("+905550000017", "+90*** ** 17"),
            ("905550000017", "+90*** ** 17"),
            ("00905550000017", "+90*** ** 17"),
            ("+90 (555) 000-00.17", "+90*** ** 17"),
            ("tel:+905550000017;x", "tel:+90*** ** 17;x"),
            ("0555 000 00 17", "*** ** 17"),
            ("call 905550000017 failed at step 3", "call +90*** ** 17 failed at step 3"),
            ("0555000/0017", "*** ** 17"),
            ("1001", "1001"),
            ("123456", "123456"),
            ("1234567", "*** ** 67"),
            ("", ""),
            ("+", "+"),
        ];
        for (text, expected) in cases {
            assert_eq!(redacted(&json!(text)), json!(expected), "{text}");
        }
        assert_eq!(redacted(&json!(905_550_000_017_u64)), json!("+90*** ** 17"));
        assert_eq!(redacted(&json!("٠٥٥٥٠٠٠٠٠١٧")), json!("*** ** ١٧"));
        assert_eq!(redacted(&json!({ "+905550000017": [1] })), json!({ "+90*** ** 17": [1] }));
    }

    #[test]
    fn ids_times_and_small_numbers_stay() {
        let value = json!({
            "id": "01920000-0000-7000-8000-000000000001",
            "at": "2026-11-02T10:00:00.250Z",
            "talk_s": 42, "ok": true, "none": null, "code": 20429,
        });
        assert_eq!(redacted(&value), value);
        assert_eq!(
            redacted(&json!("2026-11-02T10:00:00.905550000017Z")),
            json!("2026-11-02T10:00:00.905550Z")
        );
        assert_eq!(redacted(&json!("2026-11-02")), json!("*** ** 02"));
    }

    #[test]
    fn secrets_are_left_out_at_any_depth() {
        let value = json!({
            "Authorization": "Bearer x", "api_key": "x", "X-Api-Key": "x", "key": "x", "access-token": "x",
            "a": [{ "clientSecret": "x", "webhook-signature": "x", "monkey": "y", "b": 1 }],
        });
        assert_eq!(redacted(&value), json!({ "a": [{ "monkey": "y", "b": 1 }] }));
    }

    #[test]
    fn a_body_that_is_no_json_shows_its_length_alone() {
        assert_eq!(body(b"905550000017 <html>"), json!({ "unreadable_bytes": 19 }));
        assert_eq!(body(b""), Value::Null);
        assert_eq!(body(br#"{"to":"+905550000017"}"#), json!({ "to": "+90*** ** 17" }));
    }

    /// Whether seven digits of the number that stand together are in the text, whatever stands between them there.
    fn survives(number: &str, text: &str) -> bool {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        (0..=number.len() - DIGITS_MIN).any(|at| digits.contains(&number[at..at + DIGITS_MIN]))
    }

    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                found.push(name.clone());
                texts(value, found);
            }),
            other => found.push(other.to_string()),
        }
    }

    proptest! {
        #[test]
        fn no_seven_digits_of_a_number_survive(
            number in "[1-9][0-9]{7,14}",
            prefix in r#"[a-z:"\\ ]{0,8}\+?0{0,2}"#,
            // So few digits that they and a masked form make no seven.
            suffix in r#"([a-z;"\\][a-z0-9]{0,2})?"#,
            separators in prop::collection::vec("[ ./()+*-]{0,2}", 15),
        ) {
            let pairs = number.chars().zip(&separators);
            let separated: String = pairs.flat_map(|(digit, gap)| [digit.to_string(), gap.clone()]).collect();
            let written = format!("{prefix}{separated}{suffix}");
            let as_number: u64 = number.parse().unwrap();
            let value = json!({
                "a": &written, "b": [{ "c": &written }, as_number], "d": as_number as f64, &written: null,
                "e": json!({ "to": &written }).to_string(),
            });
            let mut found = Vec::new();
            texts(&redacted(&value), &mut found);
            for text in found {
                prop_assert!(!survives(&number, &text), "{text}");
            }
            let raw = value.to_string();
            prop_assert!(survives(&number, &raw));
            prop_assert!(!body(raw.as_bytes()).to_string().contains(&number));
        }
    }
}

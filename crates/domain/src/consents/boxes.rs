//! What the check boxes of a form mean: which channels a box speaks of, from the words in its key.
//!
//! A box that names channels speaks of those; one that names commercial messages without a channel speaks of all;
//! any other (a privacy notice, terms) says nothing about contact. A box that says "do not" is a refusal when it is
//! ticked and says nothing when it is not. A consent that nobody gave is never assumed.

use std::collections::BTreeMap;

use super::{Channel, Decision, NewConsent};

/// A check box of a form and whether it was ticked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentBox {
    /// The form's key for it, as in `whatsapp_consent`.
    pub key: String,
    /// Ticked.
    pub ticked: bool,
}

/// Longest wording reference stored, in characters.
const TEXT_VERSION_CHARS_MAX: usize = 200;

/// Words (or beginnings of words) that name a channel.
const CHANNEL_WORDS: [(&str, Channel); 12] = [
    ("call", Channel::Call),
    ("phone", Channel::Call),
    ("telefon", Channel::Call),
    ("arama", Channel::Call),
    ("whatsapp", Channel::Whatsapp),
    ("sms", Channel::Sms),
    ("text", Channel::Sms),
    ("mesaj", Channel::Sms),
    ("email", Channel::Email),
    ("mail", Channel::Email),
    ("eposta", Channel::Email),
    ("posta", Channel::Email),
];

/// Words that name commercial messages as such.
const ALL_CHANNELS_WORDS: [&str; 5] = ["marketing", "commercial", "promotion", "ticari", "pazarlama"];

/// Words that make a question a consent.
const CONSENT_WORDS: [&str; 9] =
    ["consent", "izin", "izni", "onay", "optin", "optout", "permission", "agree", "riza"];

/// Words that turn a box round: ticking it refuses.
const REFUSAL_WORDS: [&str; 8] =
    ["not", "no", "never", "dont", "optout", "unsubscribe", "istemiyorum", "istemem"];

const YES: [&str; 6] = ["yes", "true", "1", "on", "evet", "kabul"];
const NO: [&str; 6] = ["no", "false", "0", "off", "hayır", "hayir"];

fn words(key: &str) -> Vec<String> {
    let spaced: String = key
        .replace('İ', "i")
        .to_lowercase()
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    let joined = spaced.replace("opt in", "optin").replace("opt out", "optout");
    joined.split_whitespace().map(str::to_owned).collect()
}

fn refuses(key: &str) -> bool {
    words(key).iter().any(|word| REFUSAL_WORDS.contains(&word.as_str()))
}

fn channels_of(key: &str) -> (Vec<Channel>, bool) {
    let words = words(key);
    let named: Vec<Channel> = Channel::ALL
        .into_iter()
        .filter(|channel| {
            CHANNEL_WORDS
                .iter()
                .any(|(start, of)| of == channel && words.iter().any(|w| w.starts_with(start)))
        })
        .collect();
    if !named.is_empty() {
        return (named, true);
    }
    let general = words.iter().any(|w| ALL_CHANNELS_WORDS.iter().any(|start| w.starts_with(start)));
    (if general { Channel::ALL.to_vec() } else { Vec::new() }, false)
}

fn grants(check: &ConsentBox) -> bool {
    check.ticked && !refuses(&check.key)
}

/// The box that a question with one answer stands for: a question about consent that is answered by yes or no.
pub fn box_of_answer(name: &str, values: &[String]) -> Option<ConsentBox> {
    let asks = words(name).iter().any(|w| CONSENT_WORDS.iter().any(|start| w.starts_with(start)));
    let [value] = values else { return None };
    let value = value.trim().to_lowercase();
    let ticked = YES.contains(&value.as_str());
    (asks && (ticked || NO.contains(&value.as_str()))).then(|| ConsentBox { key: name.to_owned(), ticked })
}

/// The decisions that boxes stand for, at most one a channel: a box that names the channel outweighs a general
/// one, and among equals a refusal outweighs a consent. `form` goes into the reference of the wording.
pub fn decide(form: Option<&str>, boxes: &[ConsentBox]) -> Vec<NewConsent> {
    let mut decided: BTreeMap<Channel, (bool, &ConsentBox)> = BTreeMap::new();
    for check in boxes {
        // An unticked "do not" is no consent.
        if refuses(&check.key) && !check.ticked {
            continue;
        }
        let (channels, named) = channels_of(&check.key);
        for channel in channels {
            let outweighs = match decided.get(&channel) {
                None => true,
                Some((before, other)) => {
                    (named && !before) || (named == *before && grants(other) && !grants(check))
                }
            };
            if outweighs {
                decided.insert(channel, (named, check));
            }
        }
    }
    let consent = |(channel, (_, check)): (Channel, (bool, &ConsentBox))| NewConsent {
        channel,
        decision: if grants(check) { Decision::Granted } else { Decision::Refused },
        text_version: Some(
            format!("{}:{}", form.unwrap_or(""), check.key).chars().take(TEXT_VERSION_CHARS_MAX).collect(),
        ),
    };
    decided.into_iter().map(consent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(list: &[(&str, bool)]) -> Vec<ConsentBox> {
        list.iter().map(|(key, ticked)| ConsentBox { key: (*key).to_owned(), ticked: *ticked }).collect()
    }

    #[test]
    fn boxes_decide_the_channels_that_they_name() {
        use Channel::{Call, Email, Sms, Whatsapp};
        type Case<'a> = (&'a [(&'a str, bool)], &'a [(Channel, bool)]);
        let cases: &[Case<'_>] = &[
            (&[], &[]),
            (&[("whatsapp_consent", true)], &[(Whatsapp, true)]),
            (&[("arama_izni", true), ("sms_izni", false)], &[(Call, true), (Sms, false)]),
            (&[("call_and_sms", true)], &[(Call, true), (Sms, true)]),
            (&[("e-posta", true)], &[(Email, true)]),
            (&[("privacy_policy", true), ("kvkk", true)], &[]),
            (&[("marketing_consent", true)], &[(Call, true), (Whatsapp, true), (Sms, true), (Email, true)]),
            // The named box outweighs the general one, in either order.
            (
                &[("sms", false), ("marketing", true)],
                &[(Call, true), (Whatsapp, true), (Sms, false), (Email, true)],
            ),
            (
                &[("marketing", false), ("sms", true)],
                &[(Call, false), (Whatsapp, false), (Sms, true), (Email, false)],
            ),
            // Ticking "do not" refuses; leaving it open grants nothing.
            (&[("do_not_call", true), ("sms_opt_out", false)], &[(Call, false)]),
            (
                &[("WhatsApp istemiyorum", true), ("marketing", true)],
                &[(Call, true), (Whatsapp, false), (Sms, true), (Email, true)],
            ),
            // Among equals the refusal holds.
            (&[("sms", true), ("sms_again", false)], &[(Sms, false)]),
            (&[("sms", false), ("sms_again", true)], &[(Sms, false)]),
        ];
        for (given, expected) in cases {
            let decided = decide(Some("form"), &boxes(given));
            let plain: Vec<_> =
                decided.iter().map(|d| (d.channel, d.decision == Decision::Granted)).collect();
            assert_eq!(&plain, expected, "{given:?}");
        }
    }

    #[test]
    fn the_wording_is_named_by_form_and_box() {
        let decided = decide(Some("f-1"), &boxes(&[("sms_consent", true)]));
        assert_eq!(decided[0].text_version.as_deref(), Some("f-1:sms_consent"));
    }

    #[test]
    fn only_a_clear_answer_to_a_question_of_consent_is_a_box() {
        let cases = [
            ("whatsapp_izni", "Evet", Some(true)),
            ("SMS İzni", "evet", Some(true)),
            ("sms_consent", "no", Some(false)),
            ("email_onayı", "hayır", Some(false)),
            ("sms_opt_in", "true", Some(true)),
            ("sms_consent", "perhaps", None),
            ("sms_option", "yes", None),
            ("phone_number", "1", None),
        ];
        for (name, value, expected) in cases {
            let found = box_of_answer(name, &[value.to_owned()]).map(|b| b.ticked);
            assert_eq!(found, expected, "{name} = {value}");
        }
        assert_eq!(box_of_answer("sms_consent", &["yes".into(), "no".into()]), None);
    }
}

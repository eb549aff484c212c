//! What clients send about leads. Values become the kernel's types here, and errors point at them.

use serde::{Deserialize, Serialize};
use sira_domain::consents::{self, NewConsent};
use sira_domain::leads::{Channel, NewLead, StatusChanged};
use sira_domain::nouns::LeadId;
use sira_kernel::{EmailAddress, PersonName, PhoneNumber};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::catalogue::Text;
use crate::http::problem::{ApiError, FieldError};

/// Consents in one request: one for each channel, and room for a change of mind.
const CONSENTS_MAX: usize = 8;
/// Longest name of a wording, in bytes.
const TEXT_VERSION_MAX: usize = 100;

pub const NO_CONTACT: Text =
    Text { tr: "Telefon ya da e-posta verin.", en: "Give a phone number or an e-mail address." };
pub const UNKNOWN_STATUS: Text =
    Text { tr: "Böyle bir durum kodu yok.", en: "There is no such code of a status." };
pub const NOT_OF_THE_PAIR: Text =
    Text { tr: "Çiftteki kayıtlardan birini verin.", en: "Give one of the pair's leads." };
pub const REASON: Text = Text {
    tr: "Neden bir koddur: en çok 60 küçük harf, rakam ve alt çizgi; cümle değil.",
    en: "A reason is a code of at most 60 lower-case letters, digits and underscores, not a sentence.",
};
pub const NO_TRANSITION: Text = Text {
    tr: "Bu durum, kaydın şimdiki durumunu izlemez. allowed alanına bakın.",
    en: "This status does not follow the present one. See allowed.",
};
pub const REASON_REQUIRED: Text =
    Text { tr: "Bu durum için neden gerekli.", en: "This status wants a reason." };
pub const PHONE: Text = Text {
    tr: "Telefon numarası okunamadı. Ülke koduyla yazın: +90 5xx xxx xx xx.",
    en: "The phone number cannot be read. Write it with its country code: +90 5xx xxx xx xx.",
};
pub const EMAIL: Text = Text { tr: "E-posta adresi geçersiz.", en: "This is not an e-mail address." };
const COUNTRY: Text =
    Text { tr: "ISO 3166 ülke kodu verin: TR.", en: "Give a country code of ISO 3166: TR." };
const LANGUAGE: Text = Text { tr: "BCP 47 dil kodu verin: tr.", en: "Give a language code of BCP 47: tr." };
const TOO_MANY: Text = Text { tr: "En çok 8 izin verin.", en: "Give at most 8 consents." };
const TEXT_VERSION: Text = Text {
    tr: "Metin sürümü bir koddur: en çok 100 İngilizce harf, rakam ve . _ : - işareti; cümle değil.",
    en: "A version of a text is a code of at most 100 ASCII letters, digits and . _ : -, not a sentence.",
};

/// A change of a lead.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchLead {
    /// Code of the status to go to.
    #[schema(example = "interested")]
    pub status: String,
    /// A code, not a sentence: at most 60 lower-case letters, digits, underscores.
    #[schema(example = "asked_for_price")]
    pub reason: Option<String>,
}

/// What a change left.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusPatched {
    id: Uuid,
    /// The status that it has.
    status: String,
    /// The status that it left.
    previous_status: String,
    /// Its version, as in the ETag.
    version: i64,
}

impl StatusPatched {
    pub fn new(id: LeadId, changed: StatusChanged) -> Self {
        Self { id: id.uuid(), status: changed.to, previous_status: changed.from, version: changed.version }
    }
}

/// A lead typed in by hand. A phone number or an e-mail address is needed.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateLead {
    /// Full name.
    name: Option<String>,
    /// With its country code, or national of the configured region.
    #[schema(example = "+90 555 000 00 17")]
    phone: Option<String>,
    #[schema(example = "ayse@example.com")]
    email: Option<String>,
    /// ISO 3166 alpha-2.
    #[schema(example = "TR")]
    country: Option<String>,
    /// BCP 47.
    #[schema(example = "tr")]
    language: Option<String>,
    /// What the person decided about commercial messages.
    #[serde(default)]
    consents: Vec<Consent>,
}

/// A decision about one channel.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Consent {
    channel: ConsentChannel,
    decision: ConsentDecision,
    /// Which wording was shown: a code, not a sentence, of at most 100 ASCII letters, digits, `.`, `_`, `:`, `-`.
    #[schema(example = "kvkk:2026-01")]
    text_version: Option<String>,
}

/// A way to reach a person.
#[derive(Deserialize, ToSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum ConsentChannel {
    /// A telephone call.
    Call,
    /// A WhatsApp message.
    Whatsapp,
    /// A text message.
    Sms,
    /// An e-mail.
    Email,
}

/// What the person decided.
#[derive(Deserialize, ToSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum ConsentDecision {
    /// May be contacted.
    Granted,
    /// Was asked and said no.
    Refused,
    /// Had said yes and took it back.
    Withdrawn,
}

impl CreateLead {
    /// The lead in the domain's words; all that is wrong is said at once. No value is repeated.
    pub fn parse(self, phone_region: &str, now: chrono::DateTime<chrono::Utc>) -> Result<NewLead, ApiError> {
        let mut wrong = Vec::new();
        let phone = checked(self.phone, "/phone", PHONE, &mut wrong, |raw| {
            PhoneNumber::parse(raw, phone_region).ok()
        });
        let email = checked(self.email, "/email", EMAIL, &mut wrong, |raw| EmailAddress::parse(raw).ok());
        let country = checked(self.country, "/country", COUNTRY, &mut wrong, |raw| {
            let valid = raw.len() == 2 && raw.bytes().all(|b| b.is_ascii_uppercase());
            valid.then(|| raw.to_owned())
        });
        let language = checked(self.language, "/language", LANGUAGE, &mut wrong, |raw| {
            let word =
                |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
            let valid = raw.len() <= 35 && raw.split('-').all(word);
            valid.then(|| raw.to_owned())
        });
        if self.consents.len() > CONSENTS_MAX {
            wrong.push(FieldError::body("/consents", "too_many", TOO_MANY));
        }
        let mut consents = Vec::new();
        for (n, consent) in self.consents.into_iter().take(CONSENTS_MAX).enumerate() {
            if !consent.text_version.as_deref().is_none_or(is_text_version) {
                let pointer = format!("/consents/{n}/textVersion");
                wrong.push(FieldError::body(pointer, "wrong_value", TEXT_VERSION));
            }
            consents.push(consent.into());
        }
        ApiError::check(wrong)?;
        Ok(NewLead {
            channel: Channel::Api,
            acquired_at: now,
            name: self.name.as_deref().and_then(PersonName::parse),
            phones: phone.into_iter().collect(),
            emails: email.into_iter().collect(),
            answers: Vec::new(),
            origin: sira_domain::campaigns::Origin::default(),
            country,
            language,
            consents,
            consent_source: "api",
            inbound: None,
            import: None,
            is_test: false,
        })
    }
}

/// Stored in clear for ever, so nobody's words may stand there.
fn is_text_version(text: &str) -> bool {
    (1..=TEXT_VERSION_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

/// The parsed value of a field that was given, or a note of what is wrong with it.
pub fn checked<T>(
    raw: Option<String>,
    pointer: &str,
    detail: Text,
    wrong: &mut Vec<FieldError>,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let raw = raw?;
    let parsed = parse(raw.trim());
    if parsed.is_none() {
        wrong.push(FieldError::body(pointer, "wrong_value", detail));
    }
    parsed
}

impl From<Consent> for NewConsent {
    fn from(consent: Consent) -> Self {
        let channel = match consent.channel {
            ConsentChannel::Call => consents::Channel::Call,
            ConsentChannel::Whatsapp => consents::Channel::Whatsapp,
            ConsentChannel::Sms => consents::Channel::Sms,
            ConsentChannel::Email => consents::Channel::Email,
        };
        let decision = match consent.decision {
            ConsentDecision::Granted => consents::Decision::Granted,
            ConsentDecision::Refused => consents::Decision::Refused,
            ConsentDecision::Withdrawn => consents::Decision::Withdrawn,
        };
        Self { channel, decision, text_version: consent.text_version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_a_text_is_a_code_and_never_a_sentence() {
        for (text, expected) in [
            ("v3", true),
            ("kvkk:2026-01_web.tr", true),
            ("", false),
            ("Ayşe", false),
            ("said yes", false),
            ("+905550000017", false),
            (&"x".repeat(TEXT_VERSION_MAX), true),
            (&"x".repeat(TEXT_VERSION_MAX + 1), false),
        ] {
            assert_eq!(is_text_version(text), expected, "{text}");
        }
    }
}

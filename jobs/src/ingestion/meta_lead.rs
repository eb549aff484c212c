//! What a Meta lead says, in our words.
//!
//! Meta's standard questions have English field names; a form's own questions have any name in any language. What
//! is recognised is read, everything is kept with the answers.

use sira_domain::campaigns::{Origin, Source};
use sira_domain::consents::{self, ConsentBox};
use sira_domain::leads::{Channel, NewLead};
use sira_domain::nouns::InboundId;
use sira_kernel::{EmailAddress, PersonName, PhoneNumber};
use sira_providers::meta::{MetaLead, MetaSource};

const FULL_NAME: [&str; 5] = ["full_name", "name", "ad_soyad", "adı_soyadı", "isim"];
const FIRST_NAME: [&str; 2] = ["first_name", "ad"];
const LAST_NAME: [&str; 2] = ["last_name", "soyad"];
const PHONE: [&str; 7] =
    ["phone_number", "phone", "work_phone_number", "whatsapp_number", "telefon", "telefon_numarası", "gsm"];
const EMAIL: [&str; 5] = ["email", "work_email", "e_mail", "e_posta", "eposta"];
const COUNTRY: [&str; 2] = ["country", "ülke"];
const LANGUAGE: [&str; 2] = ["language", "dil"];

/// Meta's testing tool fills its forms with `<test lead: dummy data for full_name>`.
const TEST_MARK: &str = "test lead: dummy data";
/// What people put between two numbers in one field.
const SEPARATORS: [char; 5] = ['/', ';', ',', '|', '\n'];
/// Parts of one field that are tried as a number.
const PARTS_MAX: usize = 8;

/// Reads a fetched lead. `region` is where national phone numbers are at home.
pub fn read(lead: &MetaLead, inbound: InboundId, region: &str) -> NewLead {
    let answers = Answers(&lead.answers);
    let boxes: Vec<ConsentBox> = lead
        .consents
        .iter()
        .map(|(key, ticked)| ConsentBox { key: key.clone(), ticked: *ticked })
        .chain(lead.answers.iter().filter_map(|(name, values)| consents::box_of_answer(name, values)))
        .collect();
    NewLead {
        channel: Channel::Meta,
        acquired_at: lead.created_at,
        name: answers.name(),
        phones: answers.phones(region),
        emails: answers.of(&EMAIL).filter_map(|text| EmailAddress::parse(text).ok()).collect(),
        answers: lead.answers.clone(),
        origin: Origin {
            campaign: lead.campaign.as_ref().map(source),
            ad_set: lead.ad_set.as_ref().map(source),
            ad: lead.ad.as_ref().map(source),
            form: lead.form_id.as_ref().map(|id| Source { external_id: id.clone(), name: None }),
        },
        country: answers.of(&COUNTRY).find_map(country),
        language: answers.of(&LANGUAGE).find_map(language),
        consents: consents::decide(lead.form_id.as_deref(), &boxes),
        consent_source: "meta_form",
        inbound: Some(inbound),
        is_test: answers.are_dummies(),
    }
}

fn source(source: &MetaSource) -> Source {
    Source { external_id: source.id.clone(), name: source.name.clone() }
}

/// An ISO 3166 alpha-2 code. A country in words stays with the sealed answers: a clear column takes no free text.
fn country(text: &str) -> Option<String> {
    let code = text.trim().to_ascii_uppercase();
    (code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase())).then_some(code)
}

/// The language of a BCP 47 tag or a platform's locale: `tr`, `tr-TR`, `tr_TR`.
fn language(text: &str) -> Option<String> {
    let code = text.trim().split(['-', '_']).next().unwrap_or("").to_ascii_lowercase();
    (matches!(code.len(), 2 | 3) && code.bytes().all(|b| b.is_ascii_lowercase())).then_some(code)
}

struct Answers<'a>(&'a [(String, Vec<String>)]);

impl<'a> Answers<'a> {
    /// The values of the fields of these names, in the form's order.
    fn of(&self, names: &'static [&'static str]) -> impl Iterator<Item = &'a str> {
        let answers = self.0;
        answers
            .iter()
            .filter(move |(name, _)| names.contains(&plain(name).as_str()))
            .flat_map(|(_, values)| values.iter().map(String::as_str))
    }

    fn name(&self) -> Option<PersonName> {
        if let Some(name) = self.of(&FULL_NAME).find_map(PersonName::parse) {
            return Some(name);
        }
        let parts: Vec<&str> = self.of(&FIRST_NAME).take(1).chain(self.of(&LAST_NAME).take(1)).collect();
        PersonName::parse(&parts.join(" "))
    }

    fn phones(&self, region: &str) -> Vec<PhoneNumber> {
        self.of(&PHONE)
            .flat_map(|text| {
                // Meta's own exports put `p:` before a number.
                let text = text.trim().trim_start_matches("p:");
                text.split(SEPARATORS)
                    .take(PARTS_MAX)
                    .filter_map(|part| PhoneNumber::parse(part, region).ok())
            })
            .collect()
    }

    fn are_dummies(&self) -> bool {
        self.0.iter().flat_map(|(_, values)| values).any(|value| value.to_lowercase().contains(TEST_MARK))
    }
}

/// A field name without case, spaces and hyphens.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

#[cfg(test)]
mod tests {
    use sira_domain::consents::{Channel as ConsentChannel, Decision};
    use sira_kernel::Clock;

    use super::*;

    fn lead(answers: &[(&str, &str)]) -> MetaLead {
        MetaLead {
            id: "1".to_owned(),
            created_at: Clock::system().now(),
            form_id: Some("77".to_owned()),
            ad: None,
            ad_set: None,
            campaign: None,
            is_organic: true,
            answers: answers.iter().map(|(n, v)| ((*n).to_owned(), vec![(*v).to_owned()])).collect(),
            consents: Vec::new(),
            raw: Vec::new(),
        }
    }

    fn read_one(answers: &[(&str, &str)]) -> NewLead {
        read(&lead(answers), InboundId::new(), "TR")
    }

    #[test]
    fn standard_fields_are_read_and_every_answer_is_kept() {
        let new = read_one(&[
            ("full_name", "Şule  Demo"),
            ("phone_number", "0555 000 00 17"),
            ("email", "Sule@Example.com"),
            ("country", "tr"),
            ("language", "tr_TR"),
            ("hangi gün?", "salı"),
        ]);
        assert_eq!(new.name.as_ref().map(PersonName::as_str), Some("Şule Demo"));
        assert_eq!(new.phones[0].e164(), "+905550000017");
        assert_eq!(new.emails[0].as_str(), "sule@example.com");
        assert_eq!((new.country.as_deref(), new.language.as_deref()), (Some("TR"), Some("tr")));
        assert_eq!(new.answers.len(), 6);
        assert!(!new.is_test);
    }

    #[test]
    fn names_come_in_one_field_or_two() {
        let name = |answers| read_one(answers).name.map(|name| name.as_str().to_owned());
        assert_eq!(name(&[("first_name", "Ali"), ("last_name", "Demo")]).as_deref(), Some("Ali Demo"));
        assert_eq!(name(&[("last_name", "Demo")]).as_deref(), Some("Demo"));
        assert_eq!(name(&[("Ad Soyad", "Ali Demo")]).as_deref(), Some("Ali Demo"));
        assert_eq!(name(&[("email", "a@example.com")]), None);
    }

    #[test]
    fn several_numbers_in_one_field_are_all_read() {
        let phones = |text| {
            let new = read_one(&[("phone_number", text)]);
            new.phones.iter().map(|p| p.e164().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(phones("555 000 00 17 / 555 000 00 18"), ["+905550000017", "+905550000018"]);
        assert_eq!(phones("p:+905550000017"), ["+905550000017"]);
        assert_eq!(phones("call me; 05550000017"), ["+905550000017"]);
        assert!(phones("none").is_empty());
    }

    #[test]
    fn the_testing_tool_is_recognised() {
        let new = read_one(&[
            ("full_name", "<test lead: dummy data for full_name>"),
            ("email", "test@example.com"),
        ]);
        assert!(new.is_test);
    }

    #[test]
    fn free_text_does_not_get_into_clear_columns() {
        let new = read_one(&[("country", "Ayşe +905550000017"), ("language", "call 0555")]);
        assert_eq!((new.country, new.language), (None, None));
    }

    #[test]
    fn boxes_and_answers_about_consent_are_both_read() {
        let mut meta = lead(&[("sms izni", "Evet")]);
        meta.consents = vec![("whatsapp_consent".to_owned(), false)];
        let new = read(&meta, InboundId::new(), "TR");
        let decided: Vec<_> = new.consents.iter().map(|c| (c.channel, c.decision)).collect();
        assert_eq!(
            decided,
            [(ConsentChannel::Whatsapp, Decision::Refused), (ConsentChannel::Sms, Decision::Granted)]
        );
    }
}

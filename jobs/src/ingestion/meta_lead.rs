//! What a Meta lead says, in our words.

use sira_domain::campaigns::{Origin, Source};
use sira_domain::consents::{self, ConsentBox};
use sira_domain::ingestion::answers::{self, Answers};
use sira_domain::leads::{Channel, NewLead};
use sira_domain::nouns::InboundId;
use sira_providers::meta::{MetaLead, MetaSource};

/// Meta's testing tool fills its forms with `<test lead: dummy data for full_name>`.
const TEST_MARK: &str = "test lead: dummy data";

/// Reads a fetched lead. `region` is where national phone numbers are at home.
pub fn read(lead: &MetaLead, inbound: InboundId, region: &str) -> NewLead {
    let answers = Answers::of_form(&lead.answers);
    let boxes: Vec<ConsentBox> = lead
        .consents
        .iter()
        .map(|(key, ticked)| ConsentBox { key: key.clone(), ticked: *ticked })
        .chain(answers::boxes(&lead.answers))
        .collect();
    NewLead {
        channel: Channel::Meta,
        acquired_at: lead.created_at,
        name: answers.name(),
        phones: answers.phones(region),
        emails: answers.emails(),
        answers: lead.answers.clone(),
        origin: Origin {
            campaign: lead.campaign.as_ref().map(source),
            ad_set: lead.ad_set.as_ref().map(source),
            ad: lead.ad.as_ref().map(source),
            form: lead.form_id.as_ref().map(|id| Source { external_id: id.clone(), name: None }),
        },
        country: answers.country(),
        language: answers.language(),
        consents: consents::decide(lead.form_id.as_deref(), &boxes),
        consent_source: "meta_form",
        inbound: Some(inbound),
        import: None,
        is_test: is_dummy(&lead.answers),
    }
}

fn source(source: &MetaSource) -> Source {
    Source { external_id: source.id.clone(), name: source.name.clone() }
}

fn is_dummy(answers: &[(String, Vec<String>)]) -> bool {
    answers.iter().flat_map(|(_, values)| values).any(|value| value.to_lowercase().contains(TEST_MARK))
}

#[cfg(test)]
mod tests {
    use sira_domain::consents::{Channel as ConsentChannel, Decision};
    use sira_kernel::{Clock, PersonName};

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

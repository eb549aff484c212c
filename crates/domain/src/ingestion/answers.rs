//! What a person's answers say, in our words: the same for every door.
//!
//! Platforms' standard questions have English names; a form's own questions, and a file's headings, have any name in any
//! language. What is recognised is read; everything is kept with the answers.

use sira_kernel::{EmailAddress, PersonName, PhoneNumber};

use crate::consents::{self, ConsentBox};

/// What an answer can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// The whole name.
    FullName,
    /// The given name.
    FirstName,
    /// The family name.
    LastName,
    /// A phone number, or several.
    Phone,
    /// An e-mail address.
    Email,
    /// A country's code.
    Country,
    /// A language's code.
    Language,
    /// When the person asked.
    AcquiredAt,
    /// The campaign's id at its platform.
    CampaignId,
    /// The campaign's name.
    CampaignName,
    /// The ad set's id.
    AdSetId,
    /// The ad set's name.
    AdSetName,
    /// The ad's id.
    AdId,
    /// The ad's name.
    AdName,
    /// The form's id.
    FormId,
    /// The form's name.
    FormName,
}

impl Question {
    /// Each with its stored name and the names by which it is recognised, in lower case with underscores.
    const ALL: [(Self, &'static str, &'static [&'static str]); 16] = [
        (
            Self::FullName,
            "full_name",
            &["name", "ad_soyad", "adı_soyadı", "adi_soyadi", "isim", "isim_soyisim", "müşteri"],
        ),
        (Self::FirstName, "first_name", &["ad", "adı", "adi"]),
        (Self::LastName, "last_name", &["soyad", "soyadı", "soyadi", "surname"]),
        (
            Self::Phone,
            "phone",
            &[
                "phone_number",
                "work_phone_number",
                "whatsapp_number",
                "telefon",
                "telefon_numarası",
                "telefon_numarasi",
                "telefon_no",
                "gsm",
                "cep",
                "cep_telefonu",
                "mobile",
                "tel",
            ],
        ),
        (Self::Email, "email", &["work_email", "e_mail", "e_posta", "eposta", "mail", "e_posta_adresi"]),
        (Self::Country, "country", &["ülke", "ulke"]),
        (Self::Language, "language", &["dil"]),
        (
            Self::AcquiredAt,
            "acquired_at",
            &["created_time", "created_at", "date", "tarih", "başvuru_tarihi", "basvuru_tarihi"],
        ),
        (Self::CampaignId, "campaign_id", &["kampanya_id", "kampanya_no"]),
        (Self::CampaignName, "campaign_name", &["campaign", "kampanya", "kampanya_adı", "kampanya_adi"]),
        (Self::AdSetId, "ad_set_id", &["adset_id", "reklam_seti_id", "reklam_seti_no"]),
        (Self::AdSetName, "ad_set_name", &["adset_name", "ad_set", "adset", "reklam_seti"]),
        (Self::AdId, "ad_id", &["reklam_id", "reklam_no"]),
        (Self::AdName, "ad_name", &["reklam", "reklam_adı", "reklam_adi"]),
        (Self::FormId, "form_id", &["form_no"]),
        (Self::FormName, "form_name", &["form", "form_adı", "form_adi"]),
    ];

    /// The stored name.
    pub fn code(self) -> &'static str {
        Self::ALL.iter().find(|(question, ..)| *question == self).map_or("", |(_, code, _)| code)
    }

    /// Of a stored name.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name, _)| *name == code).map(|(question, ..)| *question)
    }

    /// All stored names.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(_, code, _)| *code)
    }

    /// What a question or a heading of this name asks for; `None` where it is not one that is read.
    pub fn recognise(name: &str) -> Option<Self> {
        let name = plain(name);
        let known =
            |(_, code, names): &&(Self, &str, &[&str])| *code == name || names.contains(&name.as_str());
        Self::ALL.iter().find(known).map(|(question, ..)| *question)
    }
}

/// A name without case, spaces, hyphens and the dots of abbreviations.
fn plain(name: &str) -> String {
    let name = name.trim().replace('İ', "i").to_lowercase();
    name.trim_end_matches(['.', ':', '*']).trim_end().replace([' ', '-', '.'], "_")
}

/// Answers as they were given, each with what it answers.
pub struct Answers<'a>(Vec<(Option<Question>, &'a str)>);

impl<'a> Answers<'a> {
    /// Of questions by their names.
    pub fn of_form(answers: &'a [(String, Vec<String>)]) -> Self {
        let all = answers.iter().flat_map(|(name, values)| {
            let question = Question::recognise(name);
            values.iter().map(move |value| (question, value.as_str()))
        });
        Self(all.collect())
    }

    /// Of columns that were mapped.
    pub fn of_columns(columns: impl IntoIterator<Item = (Option<Question>, &'a str)>) -> Self {
        Self(columns.into_iter().collect())
    }

    /// What was answered to a question, in order.
    pub fn all(&self, question: Question) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(asked, _)| *asked == Some(question)).map(|(_, text)| *text)
    }

    /// The first answer to a question that is not empty.
    pub fn first(&self, question: Question) -> Option<&'a str> {
        self.all(question).map(str::trim).find(|text| !text.is_empty())
    }

    /// The name, from one answer or two.
    pub fn name(&self) -> Option<PersonName> {
        if let Some(name) = self.all(Question::FullName).find_map(PersonName::parse) {
            return Some(name);
        }
        let parts: Vec<&str> =
            self.first(Question::FirstName).into_iter().chain(self.first(Question::LastName)).collect();
        PersonName::parse(&parts.join(" "))
    }

    /// The readable numbers. `region` is where national ones are at home.
    pub fn phones(&self, region: &str) -> Vec<PhoneNumber> {
        self.all(Question::Phone).flat_map(|text| PhoneNumber::parse_all(text, region)).collect()
    }

    /// The readable addresses.
    pub fn emails(&self) -> Vec<EmailAddress> {
        self.all(Question::Email).filter_map(|text| EmailAddress::parse(text).ok()).collect()
    }

    /// An ISO 3166 alpha-2 code. A country in words stays with the sealed answers: a clear column takes no free text.
    pub fn country(&self) -> Option<String> {
        self.all(Question::Country).find_map(|text| {
            let code = text.trim().to_ascii_uppercase();
            (code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase())).then_some(code)
        })
    }

    /// The language of a BCP 47 tag or a platform's locale: `tr`, `tr-TR`, `tr_TR`.
    pub fn language(&self) -> Option<String> {
        self.all(Question::Language).find_map(|text| {
            let code = text.trim().split(['-', '_']).next().unwrap_or("").to_ascii_lowercase();
            (matches!(code.len(), 2 | 3) && code.bytes().all(|b| b.is_ascii_lowercase())).then_some(code)
        })
    }
}

/// The check boxes among answers: questions about consent that were answered by yes or no.
pub fn boxes(answers: &[(String, Vec<String>)]) -> impl Iterator<Item = ConsentBox> {
    answers.iter().filter_map(|(name, values)| consents::box_of_answer(name, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_recognised_in_both_languages() {
        for (name, question) in [
            ("Ad Soyad", Question::FullName),
            ("İSİM", Question::FullName),
            ("Telefon No.", Question::Phone),
            ("E-Posta", Question::Email),
            ("phone_number", Question::Phone),
            ("Başvuru Tarihi", Question::AcquiredAt),
            ("Kampanya", Question::CampaignName),
        ] {
            assert_eq!(Question::recognise(name), Some(question), "{name}");
        }
        assert_eq!(Question::recognise("hangi gün?"), None);
    }

    #[test]
    fn every_question_has_a_name_of_its_own() {
        for code in Question::codes() {
            assert_eq!(Question::parse(code).map(Question::code), Some(code));
            assert_eq!(Question::recognise(code), Question::parse(code));
        }
    }
}

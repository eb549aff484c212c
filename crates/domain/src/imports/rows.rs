//! One record of a file as an enquiry, or why it is none.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::records::Record;
use crate::campaigns::{Origin, Source};
use crate::consents;
use crate::ingestion::answers::{self, Answers, Question};
use crate::leads::{Channel, NewLead};
use crate::nouns::ImportId;

/// Longest id or name of a campaign, in characters; what is longer stays with the sealed answers.
const SOURCE_CHARS_MAX: usize = 200;
/// How people write a day and a time.
const TIMES: [&str; 8] = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
];
/// How people write a day.
const DAYS: [&str; 3] = ["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y"];

/// A column of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub heading: String,
    /// What it is taken for; `None`: an answer like any other.
    pub question: Option<Question>,
}

/// How records are read.
pub struct Reading {
    /// The import.
    pub import: ImportId,
    /// The file's columns.
    pub columns: Vec<Column>,
    /// Where national phone numbers are at home.
    pub region: String,
    /// In which zone times without one are meant.
    pub time_zone: Tz,
    /// When the import was started: when people asked of whom the file does not say it, and nobody asked later.
    pub started_at: DateTime<Utc>,
}

/// Why a record cannot become a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code.
    pub code: &'static str,
    /// The column that is to blame, counted from 1.
    pub column: Option<usize>,
}

impl Refusal {
    /// Every code with a sentence that says what to do.
    pub const ALL: [(&'static str, &'static str); 4] = [
        ("no_usable_contact", "neither a phone number nor an e-mail address can be read: mend one of them"),
        (
            "too_many_columns",
            "the record has more columns than there are headings: quote values that hold the delimiter",
        ),
        ("undecodable", "a character does not exist in the file's encoding: save the file as UTF-8"),
        ("row_too_large", "the record is too large: a quotation mark before it is not closed, most likely"),
    ];

    /// What to do about it.
    pub fn advice(code: &str) -> &'static str {
        Self::ALL.iter().find(|(known, _)| *known == code).map_or("", |(_, advice)| advice)
    }
}

impl Reading {
    /// The enquiry that a record stands for.
    pub fn read(&self, record: &Record) -> Result<NewLead, Refusal> {
        if record.too_large {
            return Err(Refusal { code: "row_too_large", column: None });
        }
        if record.fields.iter().skip(self.columns.len()).any(|text| !text.trim().is_empty()) {
            return Err(Refusal { code: "too_many_columns", column: Some(self.columns.len() + 1) });
        }
        if let Some(place) = record.fields.iter().position(|text| text.contains('\u{fffd}')) {
            return Err(Refusal { code: "undecodable", column: Some(place + 1) });
        }
        let filled = || self.columns.iter().zip(&record.fields).filter(|(_, text)| !text.trim().is_empty());
        let read = Answers::of_columns(filled().map(|(column, text)| (column.question, text.as_str())));
        let (phones, emails) = (read.phones(&self.region), read.emails());
        if phones.is_empty() && emails.is_empty() {
            return Err(Refusal { code: "no_usable_contact", column: self.contact_column() });
        }
        let answers: Vec<(String, Vec<String>)> =
            filled().map(|(column, text)| (column.heading.clone(), vec![text.clone()])).collect();
        let origin = Origin {
            campaign: source(&read, Question::CampaignId, Question::CampaignName),
            ad_set: source(&read, Question::AdSetId, Question::AdSetName),
            ad: source(&read, Question::AdId, Question::AdName),
            form: source(&read, Question::FormId, Question::FormName),
        };
        let boxes: Vec<_> = answers::boxes(&answers).collect();
        let form = origin.form.as_ref().map(|form| form.external_id.as_str());
        Ok(NewLead {
            channel: Channel::Csv,
            acquired_at: self.acquired_at(read.first(Question::AcquiredAt)),
            name: read.name(),
            phones,
            emails,
            origin: origin.clone(),
            country: read.country(),
            language: read.language(),
            consents: consents::decide(form, &boxes),
            consent_source: "import",
            inbound: None,
            import: Some(self.import),
            is_test: false,
            answers,
        })
    }

    fn contact_column(&self) -> Option<usize> {
        let wanted = [Some(Question::Phone), Some(Question::Email)];
        self.columns.iter().position(|column| wanted.contains(&column.question)).map(|place| place + 1)
    }

    fn acquired_at(&self, text: Option<&str>) -> DateTime<Utc> {
        let said = text.and_then(|text| time(text, self.time_zone));
        said.filter(|at| *at <= self.started_at).unwrap_or(self.started_at)
    }
}

/// A source by its id, or by its name where the file gives no other.
fn source(read: &Answers<'_>, id: Question, name: Question) -> Option<Source> {
    let clean =
        |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(SOURCE_CHARS_MAX).collect() };
    let name = read.first(name).map(clean).filter(|name| !name.is_empty());
    let external_id = read.first(id).map(clean).filter(|id| !id.is_empty()).or_else(|| name.clone())?;
    Some(Source { external_id, name })
}

fn time(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    // As Meta writes it.
    if let Ok(at) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%z") {
        return Some(at.to_utc());
    }
    let local =
        TIMES.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).or_else(|| {
            let day = DAYS.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok())?;
            day.and_hms_opt(0, 0, 0)
        })?;
    zone.from_local_datetime(&local).earliest().map(|at| at.to_utc())
}

/// The zone of this IANA name.
pub fn zone(name: &str) -> Option<Tz> {
    Tz::from_str(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(headings: &[&str]) -> Reading {
        let column = |heading: &&str| Column {
            heading: (*heading).to_owned(),
            question: Question::recognise(heading),
        };
        Reading {
            import: ImportId::new(),
            columns: headings.iter().map(column).collect(),
            region: "TR".to_owned(),
            time_zone: chrono_tz::Europe::Istanbul,
            started_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        }
    }

    fn record(fields: &[&str]) -> Record {
        Record { line: 2, fields: fields.iter().map(|f| (*f).to_owned()).collect(), too_large: false }
    }

    #[test]
    fn a_record_is_read_by_its_headings_and_kept_whole() {
        let reading = reading(&["Ad Soyad", "Telefon", "E-Posta", "Tarih", "Kampanya", "sms izni", "not"]);
        let lead = reading
            .read(&record(&[
                "Şule Demo",
                "0555 000 00 17 / 0555 000 00 18",
                "Sule@Example.com",
                "24.11.2026 10:30",
                "Saç",
                "evet",
                "salı",
            ]))
            .ok()
            .unwrap();
        assert_eq!(
            lead.phones.iter().map(|p| p.e164().to_owned()).collect::<Vec<_>>(),
            ["+905550000017", "+905550000018"]
        );
        assert_eq!(lead.emails[0].as_str(), "sule@example.com");
        assert_eq!(lead.acquired_at.to_rfc3339(), "2026-11-24T07:30:00+00:00");
        assert_eq!(
            lead.origin.campaign.map(|c| (c.external_id, c.name)),
            Some(("Saç".into(), Some("Saç".into())))
        );
        assert_eq!(lead.consents.len(), 1);
        assert_eq!(lead.answers.len(), 7);
    }

    #[test]
    fn what_cannot_become_a_lead_says_why() {
        let reading = reading(&["name", "phone"]);
        let refusal = |fields: &[&str]| reading.read(&record(fields)).err().map(|r| (r.code, r.column));
        assert_eq!(refusal(&["Demo", "none"]), Some(("no_usable_contact", Some(2))));
        assert_eq!(refusal(&["Demo"]), Some(("no_usable_contact", Some(2))));
        assert_eq!(refusal(&["Demo", "05550000017", "more"]), Some(("too_many_columns", Some(3))));
        assert_eq!(refusal(&["D\u{fffd}mo", "05550000017"]), Some(("undecodable", Some(1))));
        assert_eq!(refusal(&["Demo", "05550000017", " "]), None);
        let cut = Record { line: 2, fields: Vec::new(), too_large: true };
        assert_eq!(reading.read(&cut).err().map(|r| r.code), Some("row_too_large"));
        for (code, _) in Refusal::ALL {
            assert!(!Refusal::advice(code).is_empty());
        }
    }

    #[test]
    fn times_are_read_in_the_imports_zone_and_nobody_asks_later_than_it_began() {
        let zone = chrono_tz::Europe::Istanbul;
        let read = |text| time(text, zone).map(|at| at.to_rfc3339());
        assert_eq!(read("2026-11-24T10:30:00+0000").as_deref(), Some("2026-11-24T10:30:00+00:00"));
        assert_eq!(read("2026-11-24 10:30").as_deref(), Some("2026-11-24T07:30:00+00:00"));
        assert_eq!(read("24/11/2026").as_deref(), Some("2026-11-23T21:00:00+00:00"));
        assert_eq!(read("soon"), None);
        let reading = reading(&[]);
        assert_eq!(reading.acquired_at(Some("2090-01-01")), reading.started_at);
    }
}

//! Leads of people who do not exist, decided by a seed.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalogue as c;

/// Leads kept for fetching; the oldest fall out.
const LEADS_MAX: usize = 200_000;
/// The unassigned block has four free digits: so many people until the first one comes again.
const NUMBERS: u64 = 10_000;
/// Ids of one seed: so many leads until they would run into the next seed's.
const IDS_PER_SEED: u64 = 1_000_000_000;

/// What a lead is to be like; the rest is decided by the seed.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeadWish {
    /// As the person typed it.
    pub full_name: Option<String>,
    /// As the person typed it; empty for a form without a phone.
    pub phone: Option<String>,
    /// As the person typed it; empty for a form without an e-mail.
    pub email: Option<String>,
    /// `tr` or `en`: decides the form.
    pub language: Option<String>,
    /// 0 to 2: which campaign. None of these and not organic: any.
    pub campaign: Option<usize>,
    /// Not from an ad.
    pub organic: Option<bool>,
    /// From this ad, whatever `campaign` says.
    pub source: Option<SandboxSource>,
    /// The form's id and name, whatever `language` says.
    pub form: Option<(String, String)>,
    /// Check boxes: key and whether ticked.
    pub consents: Option<Vec<(String, bool)>>,
    /// Further answers: field name and value.
    pub answers: Vec<(String, String)>,
    /// When the person sent the form; now, if nothing is said.
    pub created_at: Option<DateTime<Utc>>,
}

/// One lead. `Debug` shows its id only, so that a log looks as it must in production.
#[derive(Clone, PartialEq, Eq)]
pub struct SandboxLead {
    /// `leadgen_id`.
    pub id: String,
    /// When the person sent the form, to the second.
    pub created_at: DateTime<Utc>,
    /// Name as typed.
    pub full_name: String,
    /// Phone as typed; empty for none.
    pub phone: String,
    /// E-mail as typed; empty for none.
    pub email: String,
    /// `tr` or `en`.
    pub language: String,
    /// The form's id.
    pub form_id: String,
    /// The form's name.
    pub form_name: String,
    /// Where it came from; none for an organic lead.
    pub source: Option<SandboxSource>,
    /// Check boxes: key and whether ticked.
    pub consents: Vec<(String, bool)>,
    /// Further answers: field name and value.
    pub answers: Vec<(String, String)>,
}

/// Campaign, ad set and ad of a lead, each an id and a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSource {
    /// The campaign.
    pub campaign: (String, String),
    /// The ad set.
    pub ad_set: (String, String),
    /// The ad.
    pub ad: (String, String),
}

impl fmt::Debug for SandboxLead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxLead").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SandboxLead {
    /// The Graph API's answer, cut to the fields asked for; `id` is always in it.
    pub(crate) fn answer(&self, fields: &[&str]) -> Value {
        let asked = [
            ("full_name", &self.full_name),
            ("phone_number", &self.phone),
            ("email", &self.email),
            ("language", &self.language),
        ];
        let others = self.answers.iter().map(|(name, value)| (name.as_str(), value));
        let filled = asked.into_iter().chain(others).filter(|(_, value)| !value.is_empty());
        let field_data: Vec<Value> =
            filled.map(|(name, value)| json!({ "name": name, "values": [value] })).collect();
        // As Meta does: a ticked box is "1", any other is empty.
        let ticked = |ticked: bool| if ticked { "1" } else { "" };
        let consents = self.consents.iter();
        let consents: Vec<Value> = consents
            .map(|(key, value)| json!({ "checkbox_key": key, "is_checked": ticked(*value) }))
            .collect();
        let mut answer = json!({
            "id": self.id,
            "created_time": self.created_at.format("%Y-%m-%dT%H:%M:%S+0000").to_string(),
            "form_id": self.form_id,
            "is_organic": self.source.is_none(),
            "platform": "fb",
            "field_data": field_data,
            "custom_disclaimer_responses": consents,
        });
        if let Some(SandboxSource { campaign, ad_set, ad }) = &self.source {
            for (key, (id, name)) in [("campaign", campaign), ("adset", ad_set), ("ad", ad)] {
                answer[format!("{key}_id")] = json!(id);
                answer[format!("{key}_name")] = json!(name);
            }
        }
        if let Some(answer) = answer.as_object_mut() {
            answer.retain(|key, _| key == "id" || fields.contains(&key.as_str()));
        }
        answer
    }
}

/// All leads that the Graph API knows, and the way to the next one.
pub(crate) struct Leads {
    seed: u64,
    made: u64,
    by_number: BTreeMap<u64, SandboxLead>,
}

impl Leads {
    pub fn new(seed: u64) -> Self {
        Self { seed, made: 0, by_number: BTreeMap::new() }
    }

    pub fn find(&self, id: &str) -> Option<&SandboxLead> {
        self.by_number.get(&id.parse().ok()?)
    }

    /// The next lead.
    pub fn make(&mut self, wish: LeadWish, now: DateTime<Utc>) -> SandboxLead {
        let number = self.id_base() + self.made % IDS_PER_SEED;
        let mut rng = StdRng::seed_from_u64(number);
        let full_name = name(&mut rng);
        let form = *c::FORMS.choose(&mut rng).expect("there are forms");
        let any_source = source(&mut rng, wish.campaign);
        let organic =
            wish.organic.unwrap_or(rng.random_ratio(1, c::ORGANIC_ONE_IN) && wish.campaign.is_none());
        let source = wish.source.or((!organic).then_some(any_source));
        let consents = c::CONSENT_BOXES
            .iter()
            .map(|key| ((*key).to_owned(), rng.random_ratio(c::TICKED_PERCENT, 100)))
            .collect();
        let language = wish.language.unwrap_or_else(|| form.2.to_owned());
        let form = c::FORMS.into_iter().find(|form| form.2 == language).unwrap_or(form);
        let (form_id, form_name) = wish.form.unwrap_or_else(|| (form.0.to_owned(), form.1.to_owned()));
        let created_at = wish.created_at.unwrap_or(now);
        let lead = SandboxLead {
            id: number.to_string(),
            created_at: DateTime::from_timestamp(created_at.timestamp(), 0).unwrap_or(created_at),
            phone: wish.phone.unwrap_or_else(|| self.phone()),
            email: wish.email.unwrap_or_else(|| email(&full_name, number)),
            full_name: wish.full_name.unwrap_or(full_name),
            language,
            form_id,
            form_name,
            source,
            consents: wish.consents.unwrap_or(consents),
            answers: wish.answers,
        };
        self.made += 1;
        self.by_number.insert(number, lead.clone());
        if self.by_number.len() > LEADS_MAX {
            self.by_number.pop_first();
        }
        lead
    }

    fn id_base(&self) -> u64 {
        (100_000 + self.seed % 900_000) * IDS_PER_SEED
    }

    /// Another number for each of [`NUMBERS`] leads in a row; where the row begins depends on the seed.
    fn phone(&self) -> String {
        let digits = (self.seed.wrapping_mul(7_919) % NUMBERS + self.made) % NUMBERS;
        format!("+90 555 000 {:02} {:02}", digits / 100, digits % 100)
    }
}

fn name(rng: &mut StdRng) -> String {
    let mut pick = |list: &[&'static str]| *list.choose(rng).expect("the lists are not empty");
    format!("{} {}{}", pick(&c::GIVEN_NAMES), pick(&c::SURNAME_HEADS), pick(&c::SURNAME_TAILS))
}

fn email(full_name: &str, number: u64) -> String {
    let ascii: String = full_name.chars().map(latin).collect::<String>().to_ascii_lowercase();
    format!("{}.{number}@example.com", ascii.replace(' ', "."))
}

fn latin(letter: char) -> char {
    match letter {
        'ç' | 'Ç' => 'c',
        'ğ' | 'Ğ' => 'g',
        'ı' | 'İ' => 'i',
        'ö' | 'Ö' => 'o',
        'ş' | 'Ş' => 's',
        'ü' | 'Ü' => 'u',
        other => other,
    }
}

fn source(rng: &mut StdRng, campaign: Option<usize>) -> SandboxSource {
    let any = rng.random_range(0..c::CAMPAIGNS.len());
    let (ad_set, ad) = (rng.random_range(0..c::AD_SETS.len()), rng.random_range(0..c::ADS.len()));
    let campaign = campaign.map_or(any, |wished| wished % c::CAMPAIGNS.len());
    let named = |id: &str, name: &str| (id.to_owned(), name.to_owned());
    let (campaign_id, campaign_name) = c::CAMPAIGNS[campaign];
    SandboxSource {
        campaign: named(campaign_id, campaign_name),
        ad_set: named(&format!("5550002{campaign}{ad_set}"), c::AD_SETS[ad_set]),
        ad: named(&format!("5550003{campaign}{ad_set}{ad}"), c::ADS[ad]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn make(seed: u64, count: usize) -> Vec<SandboxLead> {
        let mut leads = Leads::new(seed);
        (0..count).map(|_| leads.make(LeadWish::default(), DateTime::UNIX_EPOCH)).collect()
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(make(7, 50), make(7, 50));
        let ids = |seed| make(seed, 50).into_iter().map(|lead| lead.id).collect::<HashSet<_>>();
        assert!(ids(7).is_disjoint(&ids(8)));
    }

    #[test]
    fn nobody_can_be_reached_and_nobody_comes_twice_within_the_block() {
        let leads = make(7, NUMBERS as usize);
        let distinct = |of: fn(&SandboxLead) -> &String| leads.iter().map(of).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|lead| &lead.phone), leads.len());
        assert_eq!(distinct(|lead| &lead.email), leads.len());
        for lead in &leads {
            assert!(lead.phone.starts_with("+90 555 000 ") && lead.phone.len() == 17, "{}", lead.phone);
            assert!(lead.email.ends_with("@example.com") && lead.email.is_ascii(), "{}", lead.email);
        }
    }

    #[test]
    fn a_wished_source_and_form_go_before_what_is_drawn() {
        let named = |id: &str| (id.to_owned(), "Sommerangebot".to_owned());
        let source = SandboxSource { campaign: named("1"), ad_set: named("2"), ad: named("3") };
        let wish = LeadWish {
            source: Some(source.clone()),
            form: Some(named("4")),
            campaign: Some(1),
            organic: Some(false),
            ..LeadWish::default()
        };
        let sent: LeadWish = serde_json::from_value(serde_json::to_value(&wish).unwrap()).unwrap();
        let lead = Leads::new(7).make(sent, DateTime::UNIX_EPOCH);
        assert_eq!((lead.source, lead.form_id.as_str()), (Some(source), "4"));
    }

    #[test]
    fn a_wish_is_kept() {
        let wish = LeadWish {
            full_name: Some("İnci Demo".to_owned()),
            phone: Some("0555 000 00 17".to_owned()),
            email: Some(String::new()),
            language: Some("en".to_owned()),
            campaign: Some(2),
            consents: Some(vec![("sms_consent".to_owned(), true)]),
            answers: vec![("city".to_owned(), "Muğla".to_owned())],
            ..LeadWish::default()
        };
        let lead = Leads::new(7).make(wish, DateTime::UNIX_EPOCH);
        let answer = lead.answer(&["field_data", "campaign_id", "form_id", "custom_disclaimer_responses"]);
        let expected = json!({
            "id": lead.id,
            "campaign_id": "555000103",
            "form_id": "555000402",
            "field_data": [
                { "name": "full_name", "values": ["İnci Demo"] },
                { "name": "phone_number", "values": ["0555 000 00 17"] },
                { "name": "language", "values": ["en"] },
                { "name": "city", "values": ["Muğla"] },
            ],
            "custom_disclaimer_responses": [{ "checkbox_key": "sms_consent", "is_checked": "1" }],
        });
        assert_eq!(answer, expected);
    }
}

//! The rows, one after another: who comes, who comes back, and what they type.
//!
//! How many rows of a kind there are is fixed beforehand; which row is of which kind is drawn as from an urn, without
//! putting back. So the shares are exact, and the stream needs to know nothing but what is left.

use std::fmt;

use chrono::{DateTime, Utc};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::arrivals::{Arrival, Arrivals};
use crate::catalogue as c;
use crate::people::{self, People, Person};
use crate::seeds::{self, Stream};
use crate::staff::{DEFAULT_POOL, pool_of};
use crate::truth::{NO_USABLE_CONTACT, Truth, Verdict};
use crate::{Counts, Options, dirt};

/// So many people can come back; when there are more, new ones take the places of older ones by chance.
pub const REMEMBERED_MAX: usize = 50_000;
/// The channels that a row has consent columns for, in their order.
pub const CONSENT_CHANNELS: [&str; 4] = ["call", "whatsapp", "sms", "email"];

/// Tries by chance before all remembered people are looked at.
const PICK_TRIES_MAX: usize = 64;
/// Of a hundred leads so many come without an ad: from the web site or by recommendation.
const ORGANIC_PERCENT: u64 = 9;
/// Of a hundred leads in a burst so many are of its campaign.
const BURST_PERCENT: u32 = 85;
/// Of a hundred rows of people who come back, and have both, so many have an e-mail only.
const BACK_BY_EMAIL_PERCENT: u32 = 15;
/// Of a hundred rows of people who come back by phone so many have the e-mail, too.
const BACK_WITH_EMAIL_PERCENT: u32 = 60;
/// Of a hundred rows of people who come back so many spell the name in another way.
const BACK_RENAMED_PERCENT: u32 = 50;

/// A row and its truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// What comes in.
    pub row: Row,
    /// What is true of it.
    pub truth: Truth,
}

/// A row as it comes in. `Debug` shows its number only, so that a log looks as it must in production.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// From 1, without gaps.
    pub row: u64,
    /// When the person asked, to the second; never before the row before.
    pub acquired_at: DateTime<Utc>,
    /// `meta`, `google_ads`, `web` or `referral`.
    pub channel: &'static str,
    /// Where it came from; none for a lead without an ad.
    pub source: Option<Source>,
    /// The form.
    pub form: Named,
    /// As typed.
    pub full_name: String,
    /// As typed: perhaps two numbers, perhaps none.
    pub phone: String,
    /// As typed; perhaps none.
    pub email: String,
    /// `tr`, `en` or `de`.
    pub language: &'static str,
    /// ISO 3166.
    pub country: &'static str,
    /// By its own name.
    pub city: &'static str,
    /// What the person asks for, in the person's words.
    pub operation: &'static str,
    /// What stands in the consent columns, in the order of [`CONSENT_CHANNELS`].
    pub consents: [&'static str; 4],
    /// One of our codes.
    pub status: &'static str,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("row", &self.row).finish_non_exhaustive()
    }
}

/// Campaign, ad set and ad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The campaign.
    pub campaign: Named,
    /// The ad set.
    pub ad_set: Named,
    /// The ad.
    pub ad: Named,
}

/// An id and a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Digits.
    pub id: String,
    /// For people.
    pub name: &'static str,
}

impl Named {
    fn new(id: impl Into<String>, name: &'static str) -> Self {
        Self { id: id.into(), name }
    }
}

/// Kinds of rows, in the order of the urn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    WithPhone,
    EmailOnly,
    Duplicate,
    Doubtful,
    Bad,
}

const KINDS: [Kind; 5] = [Kind::WithPhone, Kind::EmailOnly, Kind::Duplicate, Kind::Doubtful, Kind::Bad];
/// Those that need nobody who came before.
const FIRST_KINDS: [Kind; 2] = [Kind::WithPhone, Kind::EmailOnly];

/// Somebody who came, and whose lead has which row.
#[derive(Debug, Clone, Copy)]
struct Known {
    person: u64,
    row: u64,
    /// Whose e-mail this person gave: an own one, another's (a doubtful row), or none.
    email_of: Option<u64>,
    has_phone: bool,
    /// The e-mail is on two leads: it decides nothing any more.
    shared: bool,
}

impl Known {
    /// The e-mail leads to this lead and to no other.
    fn is_found_by_email(&self) -> bool {
        self.email_of == Some(self.person) && !self.shared
    }

    fn may_return(&self) -> bool {
        self.has_phone || self.is_found_by_email()
    }
}

/// What the person types and what is true of it.
struct Typed {
    full_name: String,
    phone: String,
    email: String,
    language: &'static str,
    country: &'static str,
    city: &'static str,
    operation: &'static str,
    person: Option<u64>,
    verdict: Verdict,
    phones: Vec<String>,
    email_normal: Option<String>,
}

/// All rows of a dataset, in order.
pub struct Rows {
    seed: u64,
    total: u64,
    made: u64,
    /// Rows of each of [`KINDS`] that are still to come.
    left: [u64; 5],
    people: People,
    next_with_phone: u64,
    next_email_only: u64,
    known: Vec<Known>,
    arrivals: Arrivals,
    rng: StdRng,
}

impl Rows {
    pub(crate) fn new(options: &Options, counts: Counts) -> Self {
        let with_phone = counts.with_phone + counts.doubtful;
        let rows = options.leads as u64;
        Self {
            seed: options.seed,
            total: rows,
            made: 0,
            left: [counts.with_phone, counts.email_only, counts.duplicates, counts.doubtful, counts.bad],
            people: People::new(options.seed, with_phone),
            next_with_phone: 0,
            next_email_only: with_phone,
            known: Vec::new(),
            arrivals: Arrivals::new(options.seed, rows, options.start, options.days),
            rng: seeds::rng(options.seed, Stream::Draws, 0),
        }
    }

    /// What the next row is, and whom of those who are known it is about.
    fn draw(&mut self) -> (Kind, Option<usize>) {
        let kind = self.draw_of(&KINDS);
        let met = match kind {
            Kind::Duplicate => self.pick(Known::may_return),
            Kind::Doubtful => self.pick(Known::is_found_by_email),
            Kind::WithPhone | Kind::EmailOnly | Kind::Bad => return (kind, None),
        };
        if met.is_some() {
            return (kind, met);
        }
        // Nobody fits yet: somebody new comes first.
        self.left[kind as usize] += 1;
        (self.draw_of(&FIRST_KINDS), None)
    }

    fn draw_of(&mut self, kinds: &[Kind]) -> Kind {
        let share = |kind: Kind| self.left[kind as usize];
        let total: u64 = kinds.iter().map(|kind| share(*kind)).sum();
        // Most rows are of new people, three in four with an e-mail: somebody fits long before they end.
        assert!(total > 0, "the urn is empty");
        let mut at = self.rng.random_range(0..total);
        for kind in kinds {
            if at < self.left[*kind as usize] {
                self.left[*kind as usize] -= 1;
                return *kind;
            }
            at -= self.left[*kind as usize];
        }
        unreachable!("the place is below the sum of what is left")
    }

    fn pick(&mut self, fits: fn(&Known) -> bool) -> Option<usize> {
        if self.known.is_empty() {
            return None;
        }
        for _ in 0..PICK_TRIES_MAX {
            let at = self.rng.random_range(0..self.known.len());
            if fits(&self.known[at]) {
                return Some(at);
            }
        }
        self.known.iter().position(fits)
    }

    fn remember(&mut self, known: Known) {
        if self.known.len() < REMEMBERED_MAX {
            self.known.push(known);
        } else {
            let at = self.rng.random_range(0..self.known.len());
            self.known[at] = known;
        }
    }

    fn type_row(&mut self, row: u64, rng: &mut StdRng) -> Typed {
        match self.draw() {
            (Kind::Duplicate, Some(at)) => self.come_back(self.known[at], rng),
            (Kind::Doubtful, Some(at)) => {
                self.known[at].shared = true;
                let older = self.known[at];
                let index = self.next_index(Kind::Doubtful);
                self.come(index, row, Some(older), rng)
            }
            (Kind::Bad, _) => bad(rng),
            (kind, _) => {
                let index = self.next_index(kind);
                self.come(index, row, None, rng)
            }
        }
    }

    fn next_index(&mut self, kind: Kind) -> u64 {
        let next =
            if kind == Kind::EmailOnly { &mut self.next_email_only } else { &mut self.next_with_phone };
        *next += 1;
        *next - 1
    }

    /// Somebody new, with an own e-mail or with that of `older`.
    fn come(&mut self, index: u64, row: u64, older: Option<Known>, rng: &mut StdRng) -> Typed {
        let person = self.people.person(index);
        let own = person.email.is_some().then_some(index);
        let email_of = older.map_or(own, |older| Some(older.person));
        let email_normal = older.map_or(person.email.clone(), |older| self.people.email(older.person));
        let shared = older.is_some();
        self.remember(Known { person: index, row, email_of, has_phone: !person.numbers.is_empty(), shared });
        let mut texts = person.numbers.iter().map(|number| dirt::phone(number, person.phone_style));
        let phone = match (texts.next(), texts.next()) {
            (Some(one), Some(other)) => dirt::two_phones(&one, &other, rng),
            (Some(one), None) => one,
            _ => dirt::no_phone(rng),
        };
        let email = email_normal
            .as_ref()
            .map_or_else(|| dirt::no_email(rng), |normal| dirt::email(normal, person.email_style));
        Typed {
            full_name: dirt::name(person.name.given, &person.name.surname, person.name_style),
            phone,
            email,
            person: Some(index),
            verdict: older.map_or(Verdict::Created, |older| Verdict::Doubtful { with: older.row }),
            phones: person.numbers.iter().map(crate::numbers::Number::e164).collect(),
            email_normal,
            ..Typed::of(&person)
        }
    }

    /// Somebody who is known: by phone, or by e-mail where that leads to one lead only.
    fn come_back(&self, known: Known, rng: &mut StdRng) -> Typed {
        let person = self.people.person(known.person);
        let by_email =
            known.is_found_by_email() && (!known.has_phone || rng.random_ratio(BACK_BY_EMAIL_PERCENT, 100));
        let (phone, phones) =
            if by_email { (dirt::no_phone(rng), Vec::new()) } else { phones_again(&person, rng) };
        let normal = known.email_of.and_then(|of| self.people.email(of));
        let email_normal = normal.filter(|_| by_email || rng.random_ratio(BACK_WITH_EMAIL_PERCENT, 100));
        let email = match &email_normal {
            Some(normal) => {
                let style = dirt::other_style(person.email_style, dirt::EMAIL_STYLES, rng);
                dirt::email(normal, style)
            }
            None => dirt::no_email(rng),
        };
        let name_style = if rng.random_ratio(BACK_RENAMED_PERCENT, 100) {
            dirt::other_style(person.name_style, dirt::NAME_STYLES, rng)
        } else {
            person.name_style
        };
        Typed {
            full_name: dirt::name(person.name.given, &person.name.surname, name_style),
            phone,
            email,
            person: Some(known.person),
            verdict: Verdict::Joined { into: known.row },
            phones,
            email_normal,
            ..Typed::of(&person)
        }
    }
}

impl Typed {
    /// What the person is, without contacts.
    fn of(person: &Person) -> Self {
        Self {
            full_name: String::new(),
            phone: String::new(),
            email: String::new(),
            language: person.language,
            country: person.country.iso(),
            city: person.city,
            operation: person.operation,
            person: None,
            verdict: Verdict::Created,
            phones: Vec::new(),
            email_normal: None,
        }
    }
}

impl Iterator for Rows {
    type Item = Lead;

    fn next(&mut self) -> Option<Lead> {
        let Arrival { at, burst } = self.arrivals.next()?;
        self.made += 1;
        let row = self.made;
        let mut rng = seeds::rng(self.seed, Stream::Row, row);
        let typed = self.type_row(row, &mut rng);
        let (channel, source) = source(&mut rng, typed.language, burst, is_organic(self.seed, row));
        let consents: [_; 4] =
            std::array::from_fn(|_| people::weighted(&mut rng, c::CONSENT_WORDS, |(_, _, share)| share));
        let form = c::FORMS.iter().find(|(_, _, language)| *language == typed.language);
        let (form_id, form_name, _) = form.expect("every language has a form");
        let lead = match typed.verdict {
            Verdict::Joined { into } => into,
            Verdict::Created | Verdict::Doubtful { .. } | Verdict::Bad { .. } => row,
        };
        Some(Lead {
            truth: Truth {
                row,
                person: typed.person,
                verdict: typed.verdict,
                phones: typed.phones,
                email: typed.email_normal,
                pool: typed.person.map(|_| pool(self.seed, lead, typed.language)),
                status: typed.person.map(|_| status(self.seed, lead)),
                consents: consents.map(|(_, meaning, _)| meaning),
            },
            row: Row {
                row,
                acquired_at: at,
                channel,
                source,
                form: Named::new(*form_id, form_name),
                full_name: typed.full_name,
                phone: typed.phone,
                email: typed.email,
                language: typed.language,
                country: typed.country,
                city: typed.city,
                operation: typed.operation,
                consents: consents.map(|(word, _, _)| word),
                status: status(self.seed, row),
            },
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.total - self.made) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Rows {}

/// The phones of somebody who comes back, each in another spelling: one of two, or both the other way round.
fn phones_again(person: &Person, rng: &mut StdRng) -> (String, Vec<String>) {
    let mut again = |n: usize| {
        let number = &person.numbers[n];
        // The first row spelled every number in the person's style, whatever the number's country makes of it.
        let styles = dirt::phone_styles(number);
        let style = dirt::other_style(person.phone_style % styles, styles, rng);
        (dirt::phone(number, style), number.e164())
    };
    if person.numbers.len() < 2 {
        let (text, e164) = again(0);
        return (text, vec![e164]);
    }
    let ((one, one_e164), (other, other_e164)) = (again(0), again(1));
    match rng.random_range(0..3_u8) {
        0 => (one, vec![one_e164]),
        1 => (other, vec![other_e164]),
        _ => (dirt::two_phones(&other, &one, rng), vec![other_e164, one_e164]),
    }
}

/// A row of somebody who cannot be reached.
fn bad(rng: &mut StdRng) -> Typed {
    let (country, _) = people::weighted(rng, c::Country::SHARES, |(_, share)| share);
    let language = people::language(rng, country);
    let name = people::name(rng, language);
    Typed {
        full_name: dirt::name(name.given, &name.surname, rng.random_range(0..dirt::NAME_STYLES)),
        phone: dirt::no_phone(rng),
        email: dirt::no_email(rng),
        language,
        country: country.iso(),
        city: country.cities().choose(rng).expect("the list is not empty"),
        operation: people::operation(rng, language),
        person: None,
        verdict: Verdict::Bad { reason: NO_USABLE_CONTACT },
        phones: Vec::new(),
        email_normal: None,
    }
}

/// Whether a row came without a campaign. Decided by its number, so that a row that joins it knows as well.
fn is_organic(seed: u64, row: u64) -> bool {
    seeds::hash(seed, Stream::Organic, row) % 100 < ORGANIC_PERCENT
}

/// The status of a row. Decided by its number, likewise.
fn status(seed: u64, row: u64) -> &'static str {
    people::weighted(&mut seeds::rng(seed, Stream::Status, row), c::STATUSES, |(_, share)| share).0
}

/// Where the lead of this row waits: in the pool of its campaign, and every campaign is in the person's language.
fn pool(seed: u64, row: u64, language: &str) -> &'static str {
    if is_organic(seed, row) { DEFAULT_POOL } else { pool_of(language) }
}

/// Channel and ad of a lead; in a burst mostly those of its campaign, where the languages agree.
fn source(
    rng: &mut StdRng,
    language: &str,
    burst: Option<usize>,
    is_organic: bool,
) -> (&'static str, Option<Source>) {
    if is_organic {
        return (if rng.random_ratio(2, 3) { "web" } else { "referral" }, None);
    }
    let bursting = burst.filter(|_| rng.random_ratio(BURST_PERCENT, 100));
    let bursting = bursting.filter(|place| c::CAMPAIGNS[*place].language == language);
    let fitting = |place: &usize| c::CAMPAIGNS[*place].language == language;
    let fitting: Vec<usize> = (0..c::CAMPAIGNS.len()).filter(fitting).collect();
    let any = *fitting.choose(rng).expect("every language has a campaign");
    let place = bursting.unwrap_or(any);
    let (ad_set, ad) = (rng.random_range(0..c::AD_SETS.len()), rng.random_range(0..c::ADS.len()));
    let campaign = &c::CAMPAIGNS[place];
    let source = Source {
        campaign: Named::new(campaign.id, campaign.name),
        ad_set: Named::new(format!("5550102{place}{ad_set}"), c::AD_SETS[ad_set]),
        ad: Named::new(format!("5550103{place}{ad_set}{ad}"), c::ADS[ad]),
    };
    (campaign.channel, Some(source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;

    #[test]
    fn no_more_people_are_remembered_than_may_come_back() {
        let options = Options::new(7, REMEMBERED_MAX * 5 / 4, DateTime::UNIX_EPOCH, 30);
        let mut rows = Dataset::new(options).unwrap().rows();
        assert_eq!(rows.len(), options.leads);
        assert_eq!(rows.by_ref().count(), options.leads);
        assert_eq!(rows.known.len(), REMEMBERED_MAX);
        assert_eq!(rows.left, [0; 5]);
    }
}

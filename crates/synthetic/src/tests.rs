//! The dataset as a whole: what the options promise, and whether the truth is true.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use sira_kernel::{EmailAddress, PhoneNumber};

use super::*;

const ROWS: usize = 12_000;
const KINDS_OF_STYLES: [(HeaderLanguage, [&str; 23]); 2] =
    [(HeaderLanguage::Turkish, HEADER_TURKISH), (HeaderLanguage::English, HEADER_ENGLISH)];

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 2, 1, 21, 0, 0).unwrap()
}

fn options(seed: u64, leads: usize) -> Options {
    Options::new(seed, leads, start(), 28)
}

fn dataset(seed: u64, leads: usize) -> Dataset {
    Dataset::new(options(seed, leads)).unwrap()
}

fn bytes(dataset: &Dataset, style: CsvStyle) -> (Vec<u8>, Vec<u8>) {
    let (mut rows, mut truth) = (Vec::new(), Vec::new());
    dataset.write_csv(&mut rows, style).unwrap();
    dataset.write_truth(&mut truth).unwrap();
    (rows, truth)
}

/// What a reader of the phone column does: splits, takes Meta's prefix off, keeps what is a number.
fn phones_of(field: &str) -> Vec<String> {
    field
        .split(['/', ';', ',', '|', '\n'])
        .map(str::trim)
        .map(|part| part.strip_prefix("p:").unwrap_or(part))
        .filter_map(|part| PhoneNumber::parse(part, "TR").ok())
        .map(|phone| phone.e164().to_owned())
        .collect()
}

fn email_of(field: &str) -> Option<String> {
    EmailAddress::parse(field).ok().map(|email| email.as_str().to_owned())
}

/// The identity rule, by brute force over what is typed.
#[derive(Default)]
struct Identity {
    by_phone: HashMap<String, u64>,
    by_email: HashMap<String, Vec<u64>>,
}

impl Identity {
    fn judge(&mut self, row: &Row) -> Verdict {
        let (phones, email) = (phones_of(&row.phone), email_of(&row.email));
        if phones.is_empty() && email.is_none() {
            return Verdict::Bad { reason: NO_USABLE_CONTACT };
        }
        let with_email = email.iter().filter_map(|email| self.by_email.get(email)).flatten().copied();
        let with_email: Vec<u64> = with_email.collect();
        let known = if phones.is_empty() {
            assert!(with_email.len() < 2, "row {}: an e-mail of two leads decides", row.row);
            with_email.first().copied()
        } else {
            // The lead of the lowest row is the one that is known longest.
            phones.iter().filter_map(|phone| self.by_phone.get(phone)).min().copied()
        };
        let lead = known.unwrap_or(row.row);
        for phone in phones {
            self.by_phone.entry(phone).or_insert(lead);
        }
        if let Some(email) = email {
            let leads = self.by_email.entry(email).or_default();
            if !leads.contains(&lead) {
                leads.push(lead);
            }
        }
        match (known, with_email.first()) {
            (Some(into), _) => Verdict::Joined { into },
            (None, Some(with)) => Verdict::Doubtful { with: *with },
            (None, None) => Verdict::Created,
        }
    }
}

#[test]
fn the_truth_is_what_the_rule_says_of_what_is_typed() {
    for (seed, email_only_percent) in [(1, 6), (2, 6), (3, 70)] {
        let dataset = Dataset::new(Options { email_only_percent, ..options(seed, ROWS) }).unwrap();
        let mut identity = Identity::default();
        for Lead { row, truth } in dataset.rows() {
            assert_eq!(row.row, truth.row);
            assert_eq!(phones_of(&row.phone), truth.phones, "row {}: {:?}", row.row, row.phone);
            assert_eq!(email_of(&row.email), truth.email, "row {}: {:?}", row.row, row.email);
            assert_eq!(identity.judge(&row), truth.verdict, "row {}", row.row);
        }
    }
}

#[test]
fn a_person_has_one_lead_and_a_lead_one_person() {
    let mut persons: HashMap<u64, u64> = HashMap::new();
    let mut pools: HashMap<u64, &str> = HashMap::new();
    let mut seen = HashSet::new();
    for Lead { truth, .. } in dataset(5, ROWS).rows() {
        let of_lead = truth.verdict.of_row().and_then(|row| persons.get(&row)).copied();
        match truth.verdict {
            Verdict::Created | Verdict::Doubtful { .. } => {
                let person = truth.person.expect("a lead is of a person");
                assert!(seen.insert(person), "row {}: a second lead of one person", truth.row);
                assert_ne!(of_lead, Some(person));
                assert_eq!(persons.insert(truth.row, person), None);
                pools.insert(truth.row, truth.pool.expect("a lead has a pool"));
            }
            Verdict::Joined { into } => {
                assert!(into < truth.row);
                assert_eq!(of_lead, truth.person);
                assert_eq!(pools.get(&into).copied(), truth.pool);
            }
            Verdict::Bad { .. } => {
                assert_eq!((truth.person, truth.pool, truth.status), (None, None, None));
            }
        }
    }
}

#[test]
fn the_options_decide_every_byte() {
    let style = CsvStyle::default();
    assert_eq!(bytes(&dataset(7, 2_000), style), bytes(&dataset(7, 2_000), style));
    let (rows, truth) = bytes(&dataset(8, 2_000), style);
    let (other_rows, other_truth) = bytes(&dataset(7, 2_000), style);
    assert!(rows != other_rows && truth != other_truth);
    let names = |dataset: &Dataset| dataset.staff().agents().map(|a| a.username.clone()).collect::<Vec<_>>();
    assert_eq!(names(&dataset(7, 10)), names(&dataset(8, 20)));
    assert_eq!(dataset(7, 10).staff(), dataset(7, 10).staff());
    assert_ne!(dataset(7, 10).staff(), dataset(8, 10).staff());
}

#[test]
fn shares_are_exact_in_every_size() {
    for rows in [0, 1, 2, 6, 7, 19, 49, 50, 51, 99, 150, 1_234, 10_000] {
        for seed in 0..if rows < 1_000 { 40 } else { 1 } {
            let dataset = dataset(seed, rows);
            let (counts, tally) = (*dataset.counts(), dataset.tally());
            assert_eq!(tally.joined, (rows as f64 * 0.08).round() as u64, "{rows} rows, seed {seed}");
            assert_eq!(tally.joined, counts.duplicates);
            assert_eq!(tally.doubtful, counts.doubtful);
            assert_eq!(tally.bad, counts.bad);
            assert_eq!(tally.created, counts.with_phone + counts.email_only);
            assert_eq!(tally.leads() + tally.joined + tally.bad, rows as u64);
        }
    }
}

#[test]
fn who_comes_back_spells_it_in_another_way() {
    let leads: Vec<Lead> = dataset(9, ROWS).rows().collect();
    let (mut by_phone, mut by_email, mut renamed) = (0, 0, 0);
    for Lead { row, truth } in &leads {
        let Verdict::Joined { into } = truth.verdict else { continue };
        let first = &leads[into as usize - 1].row;
        if truth.phones.is_empty() {
            by_email += 1;
            assert_ne!(row.email, first.email);
        } else {
            by_phone += 1;
            assert_ne!(row.phone, first.phone);
            assert!(row.email != first.email || truth.email.is_none());
        }
        renamed += usize::from(row.full_name != first.full_name);
    }
    assert!(by_phone > by_email && by_email > 50, "{by_phone} by phone, {by_email} by e-mail");
    assert!(renamed * 4 > (by_phone + by_email), "{renamed} are spelled in another way");
}

/// A second list, so that a slip in the first one is found.
fn is_of_nobody(e164: &str) -> bool {
    let is = |text: &str, ranges: &[std::ops::RangeInclusive<u64>]| {
        text.parse().is_ok_and(|number: u64| ranges.iter().any(|range| range.contains(&number)))
    };
    if let Some(national) = e164.strip_prefix("+90") {
        let prefixes = [501..=501, 505..=507, 510..=510, 516..=516, 530..=549, 551..=555, 559..=559];
        return national.len() == 10 && is(&national[..3], &prefixes) && &national[3..6] == "000";
    }
    if let Some(national) = e164.strip_prefix("+44") {
        let london_and_cardiff = [2_079_460_000..=2_079_460_999, 2_920_180_000..=2_920_180_999];
        let city = national.len() == 10 && ["4960", "4980"].contains(&&national[3..7]);
        return is(national, &london_and_cardiff) || (city && is(&national[..3], &[113..=118, 121..=191]));
    }
    if let Some(national) = e164.strip_prefix("+49") {
        let berlin_and_others = [3_023_125_000..=3_023_125_999, 2_214_710_000..=2_214_710_999];
        let more =
            [4_066_969_000..=4_066_969_999, 6_990_009_000..=6_990_009_999, 8_999_998_000..=8_999_998_999];
        return is(national, &berlin_and_others) || is(national, &more);
    }
    e164.strip_prefix("+1").is_some_and(|n| n.len() == 10 && is(&n[3..], &[5_550_100..=5_550_199]))
}

#[test]
fn nobody_can_be_reached() {
    let mut countries = HashSet::new();
    let (mut turkish, mut all) = (0, 0);
    for Lead { row, truth } in dataset(11, ROWS).rows() {
        for phone in &truth.phones {
            assert!(is_of_nobody(phone), "{phone}");
            countries.insert(phone[..3].to_owned());
            turkish += usize::from(phone.starts_with("+90"));
            all += 1;
        }
        if truth.phones.is_empty() {
            let digits: String = row.phone.chars().filter(char::is_ascii_digit).collect();
            let is_drama = digits.len() == 12 && digits.starts_with("447700900");
            assert!(
                is_drama || ["", "0", "12345", "90", "0000000000"].contains(&digits.as_str()),
                "{digits}"
            );
        }
        if let Some(email) = truth.email {
            let (_, domain) = email.split_once('@').unwrap();
            assert!(["example.com", "example.org", "example.net"].contains(&domain), "{email}");
        }
    }
    assert!(["+90", "+44", "+49"].iter().all(|code| countries.contains(*code)));
    assert!(countries.iter().any(|code| code.starts_with("+1")));
    let percent = turkish * 100 / all;
    assert!((89..=93).contains(&percent), "{percent} % are Turkish, as in the number space");
}

#[test]
fn dirt_of_every_kind_is_there() {
    let leads: Vec<Lead> = dataset(13, ROWS).rows().collect();
    let count = |fits: fn(&Lead) -> bool| leads.iter().filter(|lead| fits(lead)).count();
    for (kind, count) in [
        ("two numbers", count(|lead| lead.truth.phones.len() == 2)),
        ("Meta's prefix", count(|lead| lead.row.phone.starts_with("p:+"))),
        ("no e-mail", count(|lead| lead.row.email.is_empty())),
        ("spaces around an e-mail", count(|lead| lead.row.email.trim() != lead.row.email)),
        ("capitals in an e-mail", count(|lead| lead.row.email.contains(char::is_uppercase))),
        ("spaces around a name", count(|lead| lead.row.full_name.starts_with(' '))),
        ("a dotted capital i", count(|lead| lead.row.full_name.contains('İ'))),
        ("no ad", count(|lead| lead.row.source.is_none())),
        ("English", count(|lead| lead.row.language == "en")),
        ("German", count(|lead| lead.row.language == "de")),
        ("nothing said about calls", count(|lead| lead.row.consents[0].is_empty())),
        ("a sale", count(|lead| lead.row.status == "sale")),
    ] {
        assert!(count > ROWS / 200, "{kind}: {count}");
    }
    let said = leads.iter().flat_map(|lead| lead.row.consents.iter().zip(lead.truth.consents));
    for (word, meaning) in said {
        let yes = ["evet", "1", "true"].contains(&word.to_lowercase().as_str());
        assert_eq!(meaning, (!word.is_empty()).then_some(yes), "{word}");
    }
}

#[test]
fn rows_come_in_order_of_time_within_the_days() {
    let leads: Vec<Lead> = dataset(15, ROWS).rows().collect();
    assert!(leads.is_sorted_by_key(|lead| lead.row.acquired_at));
    assert!(leads.iter().all(|lead| lead.row.acquired_at >= start()));
    assert!(leads.iter().all(|lead| lead.row.acquired_at < start() + TimeDelta::days(28)));
    assert!(leads.iter().zip(1..).all(|(lead, row)| lead.row.row == row));
}

#[test]
fn a_file_reads_back_as_its_rows() {
    let dataset = dataset(17, 3_000);
    for (header, names) in KINDS_OF_STYLES {
        for (delimiter, byte, byte_order_mark) in
            [(Delimiter::Comma, b',', false), (Delimiter::Semicolon, b';', true)]
        {
            let (file, _) = bytes(&dataset, CsvStyle { header, delimiter, byte_order_mark });
            assert_eq!(file.starts_with("\u{feff}".as_bytes()), byte_order_mark);
            let text = &file[if byte_order_mark { 3 } else { 0 }..];
            let mut reader = ::csv::ReaderBuilder::new().delimiter(byte).from_reader(text);
            assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), names);
            let records: Vec<_> = reader.records().map(Result::unwrap).collect();
            assert_eq!(records.len(), dataset.rows().len());
            for (record, Lead { row, .. }) in records.iter().zip(dataset.rows()) {
                let campaign = row.source.as_ref().map_or("", |source| source.campaign.name);
                let ad_set = row.source.as_ref().map_or("", |source| source.ad_set.name);
                let number = row.row.to_string();
                let [call, whatsapp, sms, mail] = row.consents;
                for (column, value) in [
                    (0, number.as_str()),
                    (2, row.channel),
                    (4, campaign),
                    (6, ad_set),
                    (9, &row.form.id),
                    (11, &row.full_name),
                    (12, &row.phone),
                    (13, &row.email),
                    (14, row.language),
                    (15, row.country),
                    (16, row.city),
                    (17, row.operation),
                    (18, call),
                    (19, whatsapp),
                    (20, sms),
                    (21, mail),
                    (22, row.status),
                ] {
                    assert_eq!(&record[column], value, "row {number}, column {}", names[column]);
                }
                assert_eq!(DateTime::parse_from_rfc3339(&record[1]).unwrap(), row.acquired_at);
            }
        }
    }
}

#[test]
fn the_truth_reads_back() {
    let dataset = dataset(19, 3_000);
    let (leads, file) = bytes(&dataset, CsvStyle::default());
    let owners = dataset.owners();
    let usernames: Vec<_> = dataset.staff().agents().map(|agent| agent.username.as_str()).collect();
    let mut reader = ::csv::Reader::from_reader(file.as_slice());
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), TRUTH_HEADER);
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 3_000);
    let leads = String::from_utf8(leads).unwrap();
    let lines: Vec<&str> = leads.split('\n').collect();
    for (record, Lead { truth, .. }) in records.iter().zip(dataset.rows()) {
        let number = |text: &str| (!text.is_empty()).then(|| text.parse::<u64>().unwrap());
        assert_eq!(number(&record[0]), Some(truth.row));
        let line = lines[number(&record[1]).unwrap() as usize - 1];
        assert!(line.starts_with(&format!("{},", truth.row)), "row {} begins there", truth.row);
        assert_eq!(number(&record[2]), truth.person);
        assert_eq!(&record[3], truth.verdict.code());
        assert_eq!(number(&record[4]), truth.verdict.of_row());
        assert_eq!(record[5].split_whitespace().collect::<Vec<_>>(), truth.phones);
        assert_eq!(&record[6], truth.email.as_deref().unwrap_or_default());
        assert_eq!(&record[7], truth.verdict.reason().unwrap_or_default());
        assert_eq!(&record[8], truth.pool.unwrap_or_default());
        assert_eq!(&record[9], truth.status.unwrap_or_default());
        let given = owners.of_row(truth.row);
        assert_eq!(&record[10], given.map_or("", |given| usernames[given.agent]));
        let at = (!record[11].is_empty()).then(|| record[11].parse::<DateTime<Utc>>().unwrap());
        assert_eq!(at, given.map(|given| given.at));
    }
}

#[test]
fn the_staff_reads_back() {
    let dataset = dataset(19, 3_000);
    let mut file = Vec::new();
    dataset.write_staff(&mut file).unwrap();
    let mut reader = ::csv::Reader::from_reader(file.as_slice());
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), STAFF_HEADER);
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), dataset.staff().agents().count());
    for (record, agent) in records.iter().zip(dataset.staff().agents()) {
        assert_eq!(&record[0], agent.username);
        assert_eq!(record[2].parse(), Ok(agent.weight));
        assert_eq!((record[4].parse(), record[5].parse()), (Ok(agent.capacity), Ok(agent.day_capacity)));
        assert_eq!(record[6].split("; ").filter(|text| !text.is_empty()).count(), agent.shifts.len());
        assert_eq!(record[7].split("; ").filter(|text| !text.is_empty()).count(), agent.absences.len());
    }
}

/// A lead in the order in which leads were given: when, its row, its pool, its agent.
type Gift = (DateTime<Utc>, u64, &'static str, usize);

fn gifts(dataset: &Dataset) -> Vec<Gift> {
    let owners = dataset.owners();
    let leads = dataset.rows().filter(|lead| lead.truth.verdict.creates());
    let mut gifts: Vec<Gift> = leads
        .filter_map(|lead| {
            let given = owners.of_row(lead.row.row)?;
            assert!(given.at >= lead.row.acquired_at);
            Some((given.at, lead.row.row, lead.truth.pool?, given.agent))
        })
        .collect();
    gifts.sort_unstable();
    gifts
}

#[test]
fn nobody_is_given_a_lead_while_off_shift_away_or_full() {
    let mut waited = 0;
    for seed in 0..6 {
        let dataset = dataset(seed, 2_000);
        let agents: Vec<&Agent> = dataset.staff().agents().collect();
        let came: Vec<DateTime<Utc>> = dataset.rows().map(|lead| lead.row.acquired_at).collect();
        let mut open = vec![0; agents.len()];
        let mut days: HashMap<(usize, chrono::NaiveDate), u32> = HashMap::new();
        for (at, row, pool, agent) in gifts(&dataset) {
            assert!(agents[agent].username.starts_with(pool), "row {row}");
            assert!(agents[agent].is_at_work(at), "row {row}");
            open[agent] += 1;
            let day = (at + TimeDelta::hours(TURKISH_OFFSET_HOURS)).date_naive();
            let of_day = days.entry((agent, day)).or_default();
            *of_day += 1;
            assert!(open[agent] <= agents[agent].capacity && *of_day <= agents[agent].day_capacity);
            waited += usize::from(at > came[row as usize - 1]);
        }
    }
    assert!(waited > 100, "some wait for a shift: {waited}");
}

#[test]
fn shares_are_within_one_lead_while_the_same_agents_can_take_leads() {
    for seed in 0..6 {
        let dataset = dataset(seed, 2_000);
        let agents: Vec<&Agent> = dataset.staff().agents().collect();
        let all = gifts(&dataset);
        for pool in &dataset.staff().pools {
            let members: Vec<usize> =
                (0..agents.len()).filter(|place| pool.agents.contains(agents[*place])).collect();
            // A stretch: the agents who could take a lead, and what each of them got.
            let mut stretch: Vec<usize> = Vec::new();
            let mut given: HashMap<usize, u64> = HashMap::new();
            let (mut open, mut days) = (HashMap::<usize, u32>::new(), HashMap::<_, u32>::new());
            for (at, row, _, agent) in all.iter().filter(|gift| gift.2 == pool.code) {
                let day = (*at + TimeDelta::hours(TURKISH_OFFSET_HOURS)).date_naive();
                let has_room = |place: &usize| {
                    open.get(place).copied().unwrap_or(0) < agents[*place].capacity
                        && days.get(&(*place, day)).copied().unwrap_or(0) < agents[*place].day_capacity
                };
                let can = |place: &usize| agents[*place].is_at_work(*at) && has_room(place);
                let takers: Vec<usize> = members.iter().copied().filter(|place| can(place)).collect();
                if takers != stretch {
                    (stretch, given) = (takers, HashMap::new());
                }
                *given.entry(*agent).or_default() += 1;
                *open.entry(*agent).or_default() += 1;
                *days.entry((*agent, day)).or_default() += 1;
                let pool_leads = given.values().sum();
                let pool_weight = stretch.iter().map(|place| agents[*place].weight).sum();
                for place in &stretch {
                    let (username, weight) = (String::new(), agents[*place].weight);
                    let share = Share { username, pool: pool.code, weight, pool_weight, pool_leads };
                    assert!(share.is_kept_by(given.get(place).copied().unwrap_or(0)), "row {row}");
                }
            }
        }
    }
}

#[test]
fn a_duplicate_is_with_the_owner_of_its_first_and_the_bad_are_with_nobody() {
    let dataset = dataset(5, ROWS);
    let owners = dataset.owners();
    for Lead { truth, .. } in dataset.rows() {
        match truth.verdict {
            Verdict::Joined { into } => assert_eq!(owners.of_row(truth.row), owners.of_row(into)),
            Verdict::Bad { .. } => assert_eq!(owners.of_row(truth.row), None),
            Verdict::Created | Verdict::Doubtful { .. } => {}
        }
    }
    assert_eq!((owners.of_row(0), owners.of_row(ROWS as u64 + 1)), (None, None));
    let creating = dataset.rows().filter(|lead| lead.truth.verdict.creates());
    assert!(creating.filter(|lead| owners.of_row(lead.row.row).is_some()).count() > ROWS * 85 / 100);
}

#[test]
fn shares_add_up_to_the_leads_of_each_pool() {
    let dataset = dataset(21, ROWS);
    let tally = dataset.tally();
    assert_eq!(tally.leads_by_pool.values().sum::<u64>(), tally.leads());
    for pool in &dataset.staff().pools {
        let shares: Vec<Share> =
            dataset.shares().into_iter().filter(|share| share.pool == pool.code).collect();
        assert_eq!(shares.len(), pool.agents.len());
        let due: f64 = shares.iter().map(Share::leads).sum();
        assert!((due - tally.leads_by_pool[pool.code] as f64).abs() < 0.001);
        for share in shares {
            assert!(share.is_kept_by(share.leads().round() as u64));
            assert!(!share.is_kept_by(share.leads().round() as u64 + 2));
        }
    }
}

#[test]
fn what_there_is_not_is_refused() {
    let error = |options| Dataset::new(options).err();
    let usual = |leads| Options { email_only_percent: EMAIL_ONLY_PERCENT, ..options(1, leads) };
    let million = usual(1_000_000);
    assert_eq!(error(options(1, 1_000_000)), None, "so many do without a phone of themselves");
    assert!(matches!(error(million), Some(OptionsError::NumbersExhausted { needed }) if needed > NUMBERS));
    assert_eq!(error(Options { email_only_percent: 64, ..million }), None);
    assert_eq!(error(usual(380_000)), None);
    assert_eq!(error(options(1, LEADS_MAX + 1)), Some(OptionsError::TooManyLeads));
    assert_eq!(error(Options { days: 0, ..options(1, 1) }), Some(OptionsError::Days));
    assert_eq!(error(Options { days: DAYS_MAX + 1, ..options(1, 1) }), Some(OptionsError::Days));
    assert_eq!(error(Options { start: DateTime::<Utc>::MAX_UTC, ..options(1, 1) }), Some(OptionsError::Days));
    let percent = Options { email_only_percent: 101, ..options(1, 1) };
    assert_eq!(error(percent), Some(OptionsError::EmailOnlyPercent));
    for error in [OptionsError::Days, OptionsError::NumbersExhausted { needed: 1 }] {
        assert!(!error.to_string().is_empty());
    }
}

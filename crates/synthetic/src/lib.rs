//! Synthetic leads with known truth: rows as dirty as those that come in, made from one seed, and for every row what
//! is to become of it.
//!
//! A [`Dataset`] is decided by its [`Options`]: the same options give the same bytes, in every process (another
//! version of `rand` may give others). It is a stream, so a file of a million rows needs no more memory than one of a
//! hundred thousand: people are derived from the seed and an index, and of those who came before no more than
//! [`REMEMBERED_MAX`] can come back.
//!
//! Nobody in it can be reached. Phones are of ranges that are not handed out ([`NUMBERS`] of them), e-mails are of
//! `example.com`, `.org` and `.net`, surnames are made up.
//!
//! # The truth file
//!
//! [`Dataset::write_truth`] writes a CSV beside the rows' own: one record a row, in the same order, commas, UTF-8, the
//! headings of [`TRUTH_HEADER`].
//!
//! | column | what stands in it |
//! | --- | --- |
//! | `row` | the row, from 1: the first column of the file of leads |
//! | `line` | the line of that file in which the row begins, headings included: what an import tells of a bad row |
//! | `person` | who it is, as a number; two rows of one person have the same; empty for a bad row |
//! | `verdict` | `created`: a new lead; `joined`: a duplicate, of `of_row`; `doubtful`: a new lead that shares its e-mail with that of `of_row`; `bad`: no lead |
//! | `of_row` | the row that created the lead which this one joins, or which it looks like |
//! | `phones` | the usable phones in E.164, separated by spaces |
//! | `email` | the usable e-mail in its normal form |
//! | `reason` | why a bad row is bad: the product's code |
//! | `pool` | the pool whose agent is to own the lead: its campaign's, or `default` for one without a campaign |
//! | `status` | the status in which the lead is to end once it was worked on; `wrong_number` and `blocked` take it from its owner |
//! | `owner` | who is to own the lead if every lead comes at its time and none is closed before the last; empty: nobody can take it |
//! | `given_at` | since when: the time of the row, or the first moment at which anybody can take the lead |
//!
//! By which rule the owner is found, and where it holds, [`Owners`] says; who is at work when, and who carries how much,
//! is in the file of [`Dataset::write_staff`].
//!
//! **Invariant:** no two people share a phone or an e-mail, but for the rows whose verdict is `doubtful`; the e-mail
//! of such a pair decides nothing later.

mod arrivals;
mod catalogue;
mod csv;
mod dirt;
mod numbers;
mod owners;
mod people;
mod rows;
mod seeds;
mod staff;
#[cfg(test)]
mod tests;
mod truth;
mod turns;

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

pub use crate::csv::{
    CsvStyle, Delimiter, HEADER_ENGLISH, HEADER_TURKISH, HeaderLanguage, STAFF_HEADER, TRUTH_HEADER,
};
pub use arrivals::{BURST_EVERY_DAYS, BURST_FACTOR, DAY_SHARES, HOUR_SHARES, TURKISH_OFFSET_HOURS};
pub use catalogue::FORM_IDS;
pub use numbers::NUMBERS;
pub use owners::{BATCH_MAX, Given, Owners, WAITING_DAYS_MAX};
pub use people::{NO_EMAIL_ONE_IN, TWO_NUMBERS_ONE_IN};
pub use rows::{CONSENT_CHANNELS, Lead, Named, REMEMBERED_MAX, Row, Rows, Source};
pub use staff::{Absence, Agent, DEFAULT_POOL, Pool, Share, Shift, Staff, WEIGHT_MAX};
pub use truth::{NO_USABLE_CONTACT, Tally, Truth, Verdict};

/// Of a hundred rows so many are of somebody who came before. Rounded to whole rows, and then exact.
pub const DUPLICATE_PERCENT: u64 = 8;
/// Of a hundred rows so many have the e-mail of an older lead and a phone of their own. Exact likewise.
pub const DOUBTFUL_PERCENT: u64 = 1;
/// Of a hundred rows so many have no usable contact. Exact likewise.
pub const BAD_PERCENT: u64 = 1;
/// Of a hundred people who come for the first time so many have an e-mail and no phone, unless the options say
/// otherwise.
pub const EMAIL_ONLY_PERCENT: u8 = 6;
/// Beyond so many rows there are not enough numbers that belong to nobody: most people must do without a phone then.
const MANY_LEADS: usize = 300_000;
/// Of a hundred people so many do without one then.
const MANY_EMAIL_ONLY_PERCENT: u8 = 70;

/// Most rows of a file.
pub const LEADS_MAX: usize = 10_000_000;
/// Most days that a file covers.
pub const DAYS_MAX: u32 = 3_660;

/// What decides a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Decides everything that the other options leave open.
    pub seed: u64,
    /// Rows, of all kinds; at most [`LEADS_MAX`].
    pub leads: usize,
    /// The first moment. At a full hour the hours of the day are exact.
    pub start: DateTime<Utc>,
    /// From 1 to [`DAYS_MAX`].
    pub days: u32,
    /// Of a hundred people who come for the first time so many have no phone. There are [`NUMBERS`] phone numbers: a
    /// million rows fit from 64 on.
    pub email_only_percent: u8,
}

impl Options {
    /// Options with the usual share of people without a phone, or with one that leaves enough numbers for so many rows.
    pub const fn new(seed: u64, leads: usize, start: DateTime<Utc>, days: u32) -> Self {
        let email_only_percent =
            if leads > MANY_LEADS { MANY_EMAIL_ONLY_PERCENT } else { EMAIL_ONLY_PERCENT };
        Self { seed, leads, start, days, email_only_percent }
    }

    /// The exact number of rows of each kind.
    pub fn counts(&self) -> Counts {
        let rows = self.leads as u64;
        let share = |of: u64, percent: u64| (of * percent + 50) / 100;
        let duplicates = share(rows, DUPLICATE_PERCENT);
        let doubtful = share(rows, DOUBTFUL_PERCENT);
        let bad = share(rows, BAD_PERCENT);
        let first = rows - duplicates - doubtful - bad;
        let email_only = share(first, u64::from(self.email_only_percent.min(100)));
        Counts { with_phone: first - email_only, email_only, duplicates, doubtful, bad }
    }
}

/// Rows by their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// First rows of people with a phone: verdict `created`.
    pub with_phone: u64,
    /// First rows of people with an e-mail only: verdict `created`.
    pub email_only: u64,
    /// Further rows of the same people: verdict `joined`.
    pub duplicates: u64,
    /// First rows of people whose e-mail an older lead has, too: verdict `doubtful`.
    pub doubtful: u64,
    /// Rows without a usable contact: verdict `bad`.
    pub bad: u64,
}

/// Why options decide nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionsError {
    /// More than [`LEADS_MAX`].
    TooManyLeads,
    /// None, more than [`DAYS_MAX`], or beyond the end of time.
    Days,
    /// More than a hundred.
    EmailOnlyPercent,
    /// There are not so many phone numbers that belong to nobody.
    NumbersExhausted {
        /// So many the people with a phone would take.
        needed: u64,
    },
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyLeads => write!(f, "too many leads: at most {LEADS_MAX}"),
            Self::Days => write!(f, "not a number of days: 1 to {DAYS_MAX}, and within the calendar"),
            Self::EmailOnlyPercent => write!(f, "not a share of people without a phone: 0 to 100"),
            Self::NumbersExhausted { needed } => write!(
                f,
                "so many leads need {needed} phone numbers, and only {NUMBERS} belong to nobody: ask for fewer \
                 leads, or for more people without a phone"
            ),
        }
    }
}

impl std::error::Error for OptionsError {}

/// A campaign that sends its leads to a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PooledCampaign {
    /// Its id, of digits.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The code of its pool.
    pub pool: &'static str,
}

/// Every campaign, with its pool.
pub fn campaigns() -> impl Iterator<Item = PooledCampaign> {
    catalogue::CAMPAIGNS.iter().map(|campaign| PooledCampaign {
        id: campaign.id,
        name: campaign.name,
        pool: staff::pool_of(campaign.language),
    })
}

/// Leads, their truth, and who is to own them. Cheap to keep: nothing is made before it is asked for.
#[derive(Debug, Clone)]
pub struct Dataset {
    options: Options,
    counts: Counts,
    staff: Staff,
}

impl Dataset {
    /// The dataset that these options decide.
    ///
    /// # Errors
    /// When they ask for what there is not, above all for more phone numbers than belong to nobody.
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        if options.leads > LEADS_MAX {
            return Err(OptionsError::TooManyLeads);
        }
        let end = options.start.checked_add_signed(TimeDelta::days(i64::from(options.days) + 1));
        if options.days == 0 || options.days > DAYS_MAX || end.is_none() {
            return Err(OptionsError::Days);
        }
        if options.email_only_percent > 100 {
            return Err(OptionsError::EmailOnlyPercent);
        }
        let counts = options.counts();
        let needed = people::People::numbers_of(counts.with_phone + counts.doubtful);
        if needed > NUMBERS {
            return Err(OptionsError::NumbersExhausted { needed });
        }
        let staff = Staff::new(options.seed, options.start, options.days, options.leads);
        Ok(Self { options, counts, staff })
    }

    /// What it was made of.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The exact number of rows of each kind.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Who shares the leads.
    pub const fn staff(&self) -> &Staff {
        &self.staff
    }

    /// All rows with their truth, in order of time, from the first one each time.
    pub fn rows(&self) -> Rows {
        Rows::new(&self.options, self.counts)
    }

    /// All truths, counted. Goes through all rows.
    pub fn tally(&self) -> Tally {
        self.rows().fold(Tally::default(), |mut tally, lead| {
            tally.add(&lead.truth);
            tally
        })
    }

    /// What each agent is due of all leads. Goes through all rows.
    pub fn shares(&self) -> Vec<Share> {
        self.staff.shares(&self.tally())
    }
}

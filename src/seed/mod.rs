//! A database full of leads that do not exist, for demos and trials: a staff with shifts, a file of leads through the
//! same import as any other, and some weeks of work on them.
//!
//! A database holds one synthetic dataset. Which one says the user [`MARKER`], who also owns the import: what was
//! begun goes on where it stopped, and is not done twice.
//!
//! **Invariant:** nothing here goes past the domain: users, pools, leads and statuses are made by the functions that
//! everybody else calls, so all of it is audited and on timelines.

pub mod floor;
pub mod live;
pub mod work;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use sira_domain::leads;
use sira_synthetic::{Dataset, Options, OptionsError, TURKISH_OFFSET_HOURS};
use sqlx::PgConnection;

/// The user who stands for the dataset and owns its import.
pub const MARKER: &str = "synthetic";
/// Seed of whoever names none.
pub const SEED_DEFAULT: u64 = 1;
/// Days that a dataset spans, of whoever names none.
pub const DAYS_DEFAULT: u32 = 30;

/// What decides a synthetic dataset. Shown as a sentence, which is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Decides what the rest leaves open.
    pub seed: u64,
    /// Rows.
    pub leads: usize,
    /// So many days.
    pub days: u32,
    /// The first one, Turkish time.
    pub from: NaiveDate,
}

impl Plan {
    /// The dataset.
    ///
    /// # Errors
    /// When the plan asks for what there is not.
    pub fn dataset(&self) -> Result<Dataset, OptionsError> {
        let midnight = self.from.and_hms_opt(0, 0, 0).expect("every day begins").and_utc();
        let start = midnight - TimeDelta::hours(TURKISH_OFFSET_HOURS);
        Dataset::new(Options::new(self.seed, self.leads, start, self.days))
    }

    /// The day on which a dataset of so many days must begin to end before today, Turkish time.
    pub fn first_day(now: DateTime<Utc>, days: u32) -> NaiveDate {
        let today = (now + TimeDelta::hours(TURKISH_OFFSET_HOURS)).date_naive();
        today.checked_sub_days(Days::new(u64::from(days))).unwrap_or(NaiveDate::MIN)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, leads, days, from } = self;
        write!(f, "Synthetic {seed}: {leads} leads in {days} days from {from}")
    }
}

impl FromStr for Plan {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split(' ').collect();
        let ["Synthetic", seed, leads, "leads", "in", days, "days", "from", from] = words.as_slice() else {
            return Err(());
        };
        Ok(Self {
            seed: seed.trim_end_matches(':').parse().map_err(|_| ())?,
            leads: leads.parse().map_err(|_| ())?,
            days: days.parse().map_err(|_| ())?,
            from: from.parse().map_err(|_| ())?,
        })
    }
}

/// Whether there is a lead that no generator of ours has made. Those it has made are known by their forms, whose ids no
/// platform gives; the leads of a file of somebody's own, of the API or of a real form have others, or none.
pub async fn holds_real_leads(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let forms: Vec<&str> = sira_synthetic::FORM_IDS.iter().chain(&sira_sandbox::FORM_IDS).copied().collect();
    leads::exists_outside_forms(conn, &forms).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_back_from_its_sentence() {
        let from = NaiveDate::from_ymd_opt(2026, 10, 27).unwrap();
        let plan = Plan { seed: 7, leads: 5_000, days: 30, from };
        assert_eq!(plan.to_string(), "Synthetic 7: 5000 leads in 30 days from 2026-10-27");
        assert_eq!(plan.to_string().parse(), Ok(plan));
        assert_eq!("Synthetic".parse::<Plan>(), Err(()));
        assert_eq!("Somebody else".parse::<Plan>(), Err(()));
    }

    #[test]
    fn a_dataset_of_the_last_days_ends_before_today() {
        let now: DateTime<Utc> = "2026-11-25T22:30:00Z".parse().unwrap();
        let plan = Plan { seed: 1, leads: 200, days: 2, from: Plan::first_day(now, 2) };
        let last = plan.dataset().unwrap().rows().last().unwrap().row.acquired_at;
        assert!(last < now, "{last}");
        assert_eq!(plan.from, NaiveDate::from_ymd_opt(2026, 11, 24).unwrap());
    }
}

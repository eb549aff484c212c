//! A dataset played live: every row as a lead that Meta announces, at its place on the arrival curve, through the
//! sandbox of a running `sira up --demo` and the webhook that real leads come by.
//!
//! A day's curve, with its night, its evening and its bursts, is pressed into the time of the play.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, StreamExt as _};
use sira_sandbox::{LeadWish, Remote, RemoteError, SandboxSource};
use sira_synthetic::{CONSENT_CHANNELS, Dataset, Lead, Row, Truth};
use tokio::time::Instant;

/// Leads that wait for the webhook's answer at a time.
const UNDER_WAY_MAX: usize = 16;
/// Failures in a row after which there is no hope.
const FAILURES_MAX: u32 = 10;

/// What came of a play.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Played {
    /// Leads whose webhook was taken.
    pub taken: u64,
    /// Leads whose webhook was not.
    pub failed: u64,
}

/// The lead that Meta would know for this row.
pub fn wish(row: &Row, truth: &Truth) -> LeadWish {
    let named = |named: &sira_synthetic::Named| (named.id.clone(), named.name.to_owned());
    let boxes = CONSENT_CHANNELS.iter().zip(truth.consents);
    let consents = boxes.filter_map(|(channel, said)| Some((format!("{channel}_consent"), said?)));
    let answers = [("country", row.country), ("city", row.city), ("operation", row.operation)];
    LeadWish {
        full_name: Some(row.full_name.clone()),
        phone: Some(row.phone.clone()),
        email: Some(row.email.clone()),
        language: Some(row.language.to_owned()),
        organic: Some(row.source.is_none()),
        source: row.source.as_ref().map(|source| SandboxSource {
            campaign: named(&source.campaign),
            ad_set: named(&source.ad_set),
            ad: named(&source.ad),
        }),
        form: Some(named(&row.form)),
        consents: Some(consents.collect()),
        answers: answers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..LeadWish::default()
    }
}

/// When a row comes, counted from the begin of a play of this length.
fn due(at: DateTime<Utc>, start: DateTime<Utc>, days: u32, length: Duration) -> Duration {
    let span = TimeDelta::days(i64::from(days)).num_milliseconds() as f64;
    let passed = (at - start).num_milliseconds().max(0) as f64;
    length.mul_f64(passed / span)
}

/// Plays all rows within this time; `told` hears of each lead whether its webhook was taken. Leads that are late, because
/// their receiver is slow, are sent as fast as it takes them.
///
/// # Errors
/// The last failure, when ten leads in a row have failed.
pub async fn play(
    dataset: &Dataset,
    remote: &Remote,
    length: Duration,
    mut told: impl FnMut(bool),
) -> Result<Played, RemoteError> {
    let (begun, options) = (Instant::now(), dataset.options());
    let sending = dataset.rows().map(|Lead { row, truth }| {
        let at = begun + due(row.acquired_at, options.start, options.days, length);
        let wish = wish(&row, &truth);
        async move {
            tokio::time::sleep_until(at).await;
            remote.create_lead(&wish).await
        }
    });
    let mut sent = std::pin::pin!(stream::iter(sending).buffered(UNDER_WAY_MAX));
    let (mut played, mut in_a_row) = (Played::default(), 0);
    while let Some(delivered) = sent.next().await {
        let taken = delivered.as_ref().is_ok_and(|lead| (200..300).contains(&lead.webhook_status));
        told(taken);
        if taken {
            (played.taken, in_a_row) = (played.taken + 1, 0);
            continue;
        }
        (played.failed, in_a_row) = (played.failed + 1, in_a_row + 1);
        if let (Err(error), FAILURES_MAX..) = (delivered, in_a_row) {
            return Err(error);
        }
    }
    Ok(played)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_pressed_into_the_time_of_the_play() {
        let start = DateTime::UNIX_EPOCH;
        let due = |hours: i64| due(start + TimeDelta::hours(hours), start, 1, Duration::from_mins(1));
        assert_eq!(
            (due(0), due(6), due(24)),
            (Duration::ZERO, Duration::from_secs(15), Duration::from_mins(1))
        );
    }
}

//! Some weeks of work on a dataset's leads: each goes to the status that the truth names for it, by its owner, step by
//! step along the table of transitions.
//!
//! Nobody works on a lead that nobody has: one that waits stays new. Closing leads makes room for those that wait, so it
//! goes over all of them until none has moved. Safe to repeat, and to stop anywhere: a lead goes on from the status that
//! it has, and one that somebody else has led elsewhere is left alone.

use std::collections::{BTreeMap, HashMap};

use sira_domain::Uow;
use sira_domain::leads::{self, BATCH_MAX, LeadError, RACES_MAX, Standing, StatusChange};
use sira_domain::nouns::{LeadId, UserId};
use sira_domain::privacy::{BlindField, Cipher};
use sira_jobs::Context;
use sira_kernel::Actor;
use sira_synthetic::{Dataset, Truth};

/// Leads of one owner that one transaction moves.
const MOVED_TOGETHER_MAX: usize = 25;
/// Why a synthetic lead was lost.
const LOST_BECAUSE: &str = "price";

/// The way to a status from the first one on, as the shipped table of transitions allows it.
const WAYS: [(&str, &[&str]); 9] = [
    ("no_answer", &["no_answer"]),
    ("interested", &["interested"]),
    ("not_interested", &["not_interested"]),
    ("wrong_number", &["wrong_number"]),
    ("blocked", &["blocked"]),
    ("qualified", &["interested", "qualified"]),
    ("proposal", &["interested", "qualified", "proposal"]),
    ("sale", &["interested", "qualified", "proposal", "sale"]),
    ("lost", &["lost"]),
];

/// A lead with what is still before it.
struct Task {
    lead: LeadId,
    steps: &'static [&'static str],
}

/// One look at a part of the dataset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// Rows that were looked at.
    pub rows: u64,
    /// Leads that moved.
    pub moved: u64,
    /// Leads that could not be moved, because somebody else had a hand in.
    pub left: u64,
}

/// Goes over all leads once, a thousand rows at a time, and tells of each part.
///
/// # Errors
/// When the database is not there.
pub async fn go_over(cx: &Context, dataset: &Dataset, mut told: impl FnMut(Looked)) -> anyhow::Result<u64> {
    let mut moved = 0;
    let mut rows = dataset.rows();
    loop {
        let part: Vec<Truth> = rows.by_ref().take(BATCH_MAX).map(|lead| lead.truth).collect();
        if part.is_empty() {
            return Ok(moved);
        }
        let mut looked = Looked { rows: part.len() as u64, ..Looked::default() };
        let creating: Vec<&Truth> = part.iter().filter(|truth| truth.verdict.creates()).collect();
        for (owner, tasks) in find_tasks(cx, &creating).await? {
            // One owner at a time: whoever gives leads locks loads in another order.
            for some in tasks.chunks(MOVED_TOGETHER_MAX) {
                let done = work(cx, owner, some).await?;
                looked.moved += done;
                looked.left += some.len() as u64 - done;
            }
        }
        moved += looked.moved;
        told(looked);
    }
}

/// What is before each owned lead of these truths, by owner.
async fn find_tasks(cx: &Context, truths: &[&Truth]) -> anyhow::Result<BTreeMap<UserId, Vec<Task>>> {
    let indexes: Vec<(BlindField, [u8; 32])> =
        truths.iter().filter_map(|truth| index_of(&cx.cipher, truth)).collect();
    let of = |wanted: BlindField| -> Vec<&[u8]> {
        indexes.iter().filter(|(field, _)| *field == wanted).map(|(_, index)| index.as_slice()).collect()
    };
    let (phones, emails) = (of(BlindField::Phone), of(BlindField::Email));
    let standings = leads::list_standings(&mut *cx.db.read().await?, &phones, &emails).await?;
    let by_index: HashMap<&[u8], &Standing> =
        standings.iter().map(|standing| (standing.blind_index.as_slice(), standing)).collect();
    let mut tasks: BTreeMap<UserId, Vec<Task>> = BTreeMap::new();
    for truth in truths {
        let index = index_of(&cx.cipher, truth);
        let standing = index.and_then(|(_, index)| by_index.get(index.as_slice()).copied());
        let Some((Standing { lead, status, owner: Some(owner), .. }, wanted)) = standing.zip(truth.status)
        else {
            continue;
        };
        if let Some(steps) = steps(status, wanted).filter(|steps| !steps.is_empty()) {
            tasks.entry(*owner).or_default().push(Task { lead: *lead, steps });
        }
    }
    Ok(tasks)
}

/// The contact by which the lead of a truth is found: its phone, else its e-mail.
fn index_of(cipher: &Cipher, truth: &Truth) -> Option<(BlindField, [u8; 32])> {
    let phone = truth.phones.first().map(|phone| (BlindField::Phone, phone));
    let (field, contact) = phone.or_else(|| Some((BlindField::Email, truth.email.as_ref()?)))?;
    Some((field, cipher.blind_index(field, contact)))
}

/// What is left of the way to a status; `None` from a status that is not on it.
fn steps(from: &str, to: &str) -> Option<&'static [&'static str]> {
    let (_, way) = WAYS.iter().find(|(status, _)| *status == to)?;
    if from == "new" {
        return Some(way);
    }
    let at = way.iter().position(|status| *status == from)?;
    Some(&way[at + 1..])
}

/// Moves leads of one owner in one transaction; says how many went all their way.
async fn work(cx: &Context, owner: UserId, tasks: &[Task]) -> anyhow::Result<u64> {
    for _ in 0..RACES_MAX {
        match try_work(cx, owner, tasks).await {
            Err(LeadError::Raced) => {}
            Err(error) => return Err(error.into()),
            Ok((uow, done)) => {
                uow.commit().await?;
                return Ok(done);
            }
        }
    }
    anyhow::bail!("others kept changing the same leads at the same moment: run it again")
}

/// Up to the commit.
async fn try_work(cx: &Context, owner: UserId, tasks: &[Task]) -> Result<(Uow, u64), LeadError> {
    let mut uow = cx.begin(Actor::User(owner.uuid())).await?;
    let mut done = 0;
    'tasks: for task in tasks {
        for to in task.steps {
            let reason = (*to == "lost").then_some(LOST_BECAUSE);
            let change = StatusChange { lead: task.lead, expected_version: None, to, reason, role: None };
            match leads::change_status(&mut uow, &change).await {
                Ok(_) => {}
                // Refused before anything was written: somebody was faster.
                Err(LeadError::TransitionNotAllowed { .. } | LeadError::NotFound) => continue 'tasks,
                Err(error) => return Err(error),
            }
        }
        done += 1;
    }
    Ok((uow, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_goes_on_from_where_it_is_and_stays_where_somebody_else_led_it() {
        assert_eq!(steps("new", "sale"), Some(&["interested", "qualified", "proposal", "sale"][..]));
        assert_eq!(steps("qualified", "sale"), Some(&["proposal", "sale"][..]));
        assert_eq!(steps("sale", "sale"), Some(&[][..]));
        assert_eq!(steps("no_answer", "sale"), None);
        assert_eq!(steps("new", "new"), None);
    }
}

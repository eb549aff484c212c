//! What is promised about a lead in a status, and what follows while it is not kept. Pure.
//!
//! All times of a policy are working time, in seconds from the start. Whatever is due is done in order; of reminders
//! that are late together one is sent, and none once the promise is broken.

use serde::{Deserialize, Serialize};

use crate::nouns::CalendarId;

/// Most reminders, and most escalations, of one policy.
pub const STEPS_MAX: usize = 20;
/// Longest time of a policy, in seconds: a year.
pub const TIME_S_MAX: i64 = 31_536_000;

/// A promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The stored code.
    pub code: String,
    /// Label in Turkish.
    pub label_tr: String,
    /// Label in English.
    pub label_en: String,
    /// Whose working time counts.
    pub calendar: CalendarId,
    /// Until the first action is due.
    pub due_s: i64,
    /// When the owner is reminded; each before it is due.
    pub remind_at_s: Vec<i64>,
    /// What follows when it was not kept.
    pub escalations: Vec<Escalation>,
    /// Which call keeps it.
    pub call_counts: CallCounts,
}

/// One step of an escalation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// After it was due.
    pub after_s: i64,
    /// To whom.
    pub to: Target,
}

/// To whom a broken promise goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Who leads the lead's team is told; its managers, where nobody is named.
    TeamLead,
    /// The managers of the lead's team are told.
    Manager,
    /// The administrators are told.
    Admins,
    /// The lead leaves its owner and goes to the administrators' queue.
    AdminQueue,
}

/// Which call keeps a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallCounts {
    /// One at which the other side rang or was busy.
    Attempt,
    /// One that the other side answered.
    Conversation,
}

impl CallCounts {
    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Conversation => "conversation",
        }
    }

    /// Of a stored name.
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Attempt, Self::Conversation].into_iter().find(|counts| counts.code() == code)
    }
}

/// What is done at a time of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The owner is reminded.
    Remind,
    /// The promise is broken; the owner is told.
    Breach,
    /// Others are told, or the lead moves on.
    Escalate(Target),
}

/// A policy that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// A time out of its range.
    #[error("it is due after 1 second to a year, and escalates within a year of that")]
    OutOfRange,
    /// Reminders that help nobody.
    #[error("reminders come one after the other, after the start and before it is due")]
    Reminders,
    /// Too much of it.
    #[error("at most {STEPS_MAX} reminders and {STEPS_MAX} escalations")]
    TooMany,
}

impl Policy {
    /// Whether it can be kept.
    ///
    /// # Errors
    /// What is wrong with its times.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        let escalations = self.escalations.iter().map(|step| step.after_s);
        if !(1..=TIME_S_MAX).contains(&self.due_s)
            || escalations.into_iter().any(|after| !(0..=TIME_S_MAX).contains(&after))
        {
            return Err(InvalidPolicy::OutOfRange);
        }
        if self.remind_at_s.len() > STEPS_MAX || self.escalations.len() > STEPS_MAX {
            return Err(InvalidPolicy::TooMany);
        }
        let ascending = self.remind_at_s.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || self.remind_at_s.iter().any(|at| !(1..self.due_s).contains(at)) {
            return Err(InvalidPolicy::Reminders);
        }
        Ok(())
    }

    /// What is done when, in order: at equal times the breach before what follows from it.
    fn steps(&self) -> Vec<(i64, Action)> {
        let reminders = self.remind_at_s.iter().map(|at| (*at, Action::Remind));
        let escalations =
            self.escalations.iter().map(|step| (self.due_s + step.after_s, Action::Escalate(step.to)));
        let mut steps: Vec<(i64, Action)> =
            reminders.chain([(self.due_s, Action::Breach)]).chain(escalations).collect();
        steps.sort_by_key(|(at, _)| *at);
        steps
    }

    /// What is to be done after `done_until_s` and up to `elapsed_s` of working time: of several reminders the last
    /// one, and none when the breach is among it.
    pub fn due_between(&self, done_until_s: i64, elapsed_s: i64) -> Vec<Action> {
        let mut actions: Vec<Action> = self
            .steps()
            .into_iter()
            .filter(|(at, _)| *at > done_until_s && *at <= elapsed_s)
            .map(|(_, action)| action)
            .collect();
        let broken = actions.contains(&Action::Breach);
        let reminders = actions.iter().filter(|action| **action == Action::Remind).count();
        if broken {
            actions.retain(|action| *action != Action::Remind);
        } else if reminders > 1 {
            actions.drain(..reminders - 1);
        }
        actions
    }

    /// The next time after `done_until_s` at which something is to be done.
    pub fn next_after(&self, done_until_s: i64) -> Option<i64> {
        self.steps().into_iter().map(|(at, _)| at).find(|at| *at > done_until_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            code: "first_response".to_owned(),
            label_tr: String::new(),
            label_en: String::new(),
            calendar: CalendarId::new(),
            due_s: 1800,
            remind_at_s: vec![900, 1500],
            escalations: vec![
                Escalation { after_s: 0, to: Target::TeamLead },
                Escalation { after_s: 1800, to: Target::Manager },
            ],
            call_counts: CallCounts::Attempt,
        }
    }

    #[test]
    fn each_step_is_done_once_and_in_order() {
        use Action::{Breach, Escalate, Remind};
        let policy = policy();
        let cases: [(i64, i64, Vec<Action>); 9] = [
            (0, 899, vec![]),
            (0, 900, vec![Remind]),
            (900, 1499, vec![]),
            (0, 1600, vec![Remind]),
            (900, 1600, vec![Remind]),
            (1500, 1800, vec![Breach, Escalate(Target::TeamLead)]),
            (0, 1800, vec![Breach, Escalate(Target::TeamLead)]),
            (1800, 3600, vec![Escalate(Target::Manager)]),
            (3600, TIME_S_MAX, vec![]),
        ];
        for (done, elapsed, expected) in cases {
            assert_eq!(policy.due_between(done, elapsed), expected, "{done}..{elapsed}");
        }
        let nexts: Vec<_> = [0, 900, 1500, 1800, 3600].map(|done| policy.next_after(done)).to_vec();
        assert_eq!(nexts, [Some(900), Some(1500), Some(1800), Some(3600), None]);
    }

    #[test]
    fn times_that_make_no_sense_are_refused() {
        assert_eq!(policy().check(), Ok(()));
        for (due_s, remind_at_s, expected) in [
            (0, vec![], InvalidPolicy::OutOfRange),
            (TIME_S_MAX + 1, vec![], InvalidPolicy::OutOfRange),
            (60, vec![60], InvalidPolicy::Reminders),
            (60, vec![0], InvalidPolicy::Reminders),
            (60, vec![30, 20], InvalidPolicy::Reminders),
            (600, (1..=21).collect(), InvalidPolicy::TooMany),
        ] {
            assert_eq!(Policy { due_s, remind_at_s, ..policy() }.check(), Err(expected), "{due_s}");
        }
        let late = vec![Escalation { after_s: -1, to: Target::Admins }];
        assert_eq!(Policy { escalations: late, ..policy() }.check(), Err(InvalidPolicy::OutOfRange));
    }
}

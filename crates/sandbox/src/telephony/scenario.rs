//! What a call can come to: how its order is answered, how its legs go, how that is told.

use serde::{Deserialize, Serialize};

/// Seconds of talk that an answered call claims, if nothing is said.
const TALK_S: u32 = 42;
/// Causes of a failed leg: a phone that is off or out of reach, a number that nobody has.
const CAUSE_UNREACHABLE: &str = "30003";
const CAUSE_INVALID: &str = "13224";

/// What one call comes to. Each part has the value of a call that goes well as its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallScript {
    /// How the order is answered.
    pub answer: CallAnswer,
    /// How the legs go, if the call is placed.
    pub course: CallCourse,
    /// How that is told.
    pub delivery: CallDelivery,
    /// Seconds of talk that an answered call claims; nobody waits for them.
    pub talk_s: u32,
}

impl Default for CallScript {
    fn default() -> Self {
        Self {
            answer: CallAnswer::default(),
            course: CallCourse::default(),
            delivery: CallDelivery::default(),
            talk_s: TALK_S,
        }
    }
}

/// How the order for a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallAnswer {
    /// 201 with the call's id; placed.
    #[default]
    Placed,
    /// 429 with code 20429 and `Retry-After`; not placed.
    RateLimited,
    /// 400 with code 21211; not placed.
    InvalidNumber,
    /// 400 with code 21610; not placed.
    OptedOut,
    /// 401 with code 20003; not placed.
    AuthExpired,
    /// 403 with code 21408; not placed.
    PermissionDenied,
    /// 500; not placed.
    ServerError,
    /// 500; placed all the same.
    ServerErrorPlaced,
    /// No answer until the caller or the sandbox goes away; not placed.
    Hang,
    /// No answer either; placed.
    HangPlaced,
    /// 201 with something that names no call; placed.
    Garbage,
}

impl CallAnswer {
    /// Whether somebody's phone rings.
    pub(super) const fn places(self) -> bool {
        matches!(self, Self::Placed | Self::ServerErrorPlaced | Self::HangPlaced | Self::Garbage)
    }
}

/// How the legs of a placed call go. Where the agent answers, the agent's leg ends as completed whatever became of
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallCourse {
    /// Both answer, and speak.
    #[default]
    Answered,
    /// The callee's line is busy.
    Busy,
    /// The callee's phone rings until its time is over.
    NoAnswer,
    /// The callee's phone is off or out of reach: cause 30003.
    CalleeUnreachable,
    /// Nobody has the callee's number: cause 13224.
    CalleeInvalid,
    /// The agent's phone rings and nobody takes it; the callee is not called, and the agent's leg reads completed.
    AgentNoAnswer,
    /// The agent hangs up while the callee's phone rings.
    Canceled,
}

/// How the steps of a placed call are told by webhook. What is not taken is delivered again, a few times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallDelivery {
    /// Each as it happens.
    #[default]
    InOrder,
    /// Each as it happens, and the order is answered only when all of them were sent.
    BeforeAnswer,
    /// All of them after the end, the last step first.
    Reversed,
    /// Each as it happens, two times.
    Twice,
    /// Not at all: only asking tells.
    Never,
    /// Each as it happens, but the last ringing after the end.
    Late,
}

/// The last two digits of a number, and what a call to it comes to.
const BY_LAST_DIGITS: [(&str, CallAnswer, CallCourse, CallDelivery); 21] = {
    use CallAnswer as A;
    use CallCourse as C;
    use CallDelivery as D;
    [
        ("61", A::Placed, C::Busy, D::InOrder),
        ("62", A::Placed, C::NoAnswer, D::InOrder),
        ("63", A::Placed, C::CalleeUnreachable, D::InOrder),
        ("64", A::Placed, C::CalleeInvalid, D::InOrder),
        ("65", A::Placed, C::AgentNoAnswer, D::InOrder),
        ("66", A::Placed, C::Canceled, D::InOrder),
        ("71", A::RateLimited, C::Answered, D::InOrder),
        ("72", A::InvalidNumber, C::Answered, D::InOrder),
        ("73", A::OptedOut, C::Answered, D::InOrder),
        ("74", A::AuthExpired, C::Answered, D::InOrder),
        ("75", A::PermissionDenied, C::Answered, D::InOrder),
        ("76", A::ServerError, C::Answered, D::InOrder),
        ("77", A::ServerErrorPlaced, C::Answered, D::InOrder),
        ("78", A::Hang, C::Answered, D::InOrder),
        ("79", A::HangPlaced, C::Answered, D::InOrder),
        ("80", A::Garbage, C::Answered, D::InOrder),
        ("81", A::Placed, C::Answered, D::BeforeAnswer),
        ("82", A::Placed, C::Answered, D::Reversed),
        ("83", A::Placed, C::Answered, D::Twice),
        ("84", A::Placed, C::Answered, D::Never),
        ("85", A::Placed, C::Answered, D::Late),
    ]
};

impl CallScript {
    /// What a call to this number comes to, by its last two digits; any others: answered, and 42 seconds of talk.
    ///
    /// | digits | the order is answered | then                                       |
    /// | ------ | --------------------- | ------------------------------------------ |
    /// | 61     | 201                   | the callee is busy                         |
    /// | 62     | 201                   | the callee does not answer                 |
    /// | 63     | 201                   | the callee is out of reach (30003)         |
    /// | 64     | 201                   | nobody has that number (13224)             |
    /// | 65     | 201                   | the agent does not answer                  |
    /// | 66     | 201                   | the agent hangs up before the callee answers |
    /// | 71     | 429, 20429            | rate limited                               |
    /// | 72     | 400, 21211            | invalid number                             |
    /// | 73     | 400, 21610            | opted out                                  |
    /// | 74     | 401, 20003            | credentials refused                        |
    /// | 75     | 403, 21408            | not permitted                              |
    /// | 76     | 500                   | nothing was placed                         |
    /// | 77     | 500                   | answered: it was placed                    |
    /// | 78     | never                 | nothing was placed                         |
    /// | 79     | never                 | answered: it was placed                    |
    /// | 80     | 201 without an id     | answered: it was placed                    |
    /// | 81     | 201, after the end    | answered                                   |
    /// | 82     | 201                   | answered; webhooks after the end, reversed |
    /// | 83     | 201                   | answered; each webhook two times           |
    /// | 84     | 201                   | answered; no webhooks                      |
    /// | 85     | 201                   | answered; a ringing told after the end     |
    pub fn of_destination(number: &str) -> Self {
        let found = BY_LAST_DIGITS.iter().find(|(digits, ..)| number.ends_with(digits));
        found.map_or_else(Self::default, |&(_, answer, course, delivery)| Self {
            answer,
            course,
            delivery,
            ..Self::default()
        })
    }

    /// The steps in the order in which they happen.
    pub(super) fn steps(self) -> Vec<Step> {
        use Leg::{Agent, Callee};
        use LegState::{Answered, Busy, Canceled, Completed, Failed, Initiated, NoAnswer, Ringing};
        let mut steps = vec![(Agent, Initiated), (Agent, Ringing)];
        let callee: &[LegState] = match self.course {
            CallCourse::Answered => &[Initiated, Ringing, Answered, Completed],
            CallCourse::Busy => &[Initiated, Busy],
            CallCourse::NoAnswer => &[Initiated, Ringing, NoAnswer],
            CallCourse::CalleeUnreachable | CallCourse::CalleeInvalid => &[Initiated, Failed],
            CallCourse::AgentNoAnswer => &[],
            CallCourse::Canceled => &[Initiated, Ringing, Canceled],
        };
        if self.course != CallCourse::AgentNoAnswer {
            steps.push((Agent, Answered));
        }
        steps.extend(callee.iter().map(|state| (Callee, *state)));
        steps.push((Agent, Completed));
        steps.into_iter().map(|(leg, state)| self.step(leg, state)).collect()
    }

    fn step(self, leg: Leg, state: LegState) -> Step {
        let talked = leg == Leg::Callee && state == LegState::Completed;
        let cause = match self.course {
            CallCourse::CalleeUnreachable => CAUSE_UNREACHABLE,
            _ => CAUSE_INVALID,
        };
        Step {
            leg,
            state,
            talk_s: talked.then_some(self.talk_s),
            cause: (state == LegState::Failed).then_some(cause),
        }
    }
}

/// A side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Leg {
    Agent,
    Callee,
}

/// What a leg comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LegState {
    Initiated,
    Ringing,
    Answered,
    Completed,
    Busy,
    NoAnswer,
    Failed,
    Canceled,
}

/// One step of one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    pub leg: Leg,
    pub state: LegState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub talk_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    const COURSES: [CallCourse; 7] = [
        CallCourse::Answered,
        CallCourse::Busy,
        CallCourse::NoAnswer,
        CallCourse::CalleeUnreachable,
        CallCourse::CalleeInvalid,
        CallCourse::AgentNoAnswer,
        CallCourse::Canceled,
    ];

    fn told(course: CallCourse) -> String {
        let steps = CallScript { course, ..CallScript::default() }.steps();
        let told = steps.iter().map(|step| {
            let mut value = serde_json::to_value(step).unwrap();
            let members = value.as_object_mut().unwrap();
            members.retain(|_, value| !value.is_null());
            members.values().map(|value| value.to_string().replace('"', "")).collect::<Vec<_>>().join(" ")
        });
        told.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_course_has_its_steps() {
        let begin = "agent initiated, agent ringing, agent answered, callee initiated";
        let cases = [
            (
                CallCourse::Answered,
                format!("{begin}, callee ringing, callee answered, callee completed 42, agent completed"),
            ),
            (CallCourse::Busy, format!("{begin}, callee busy, agent completed")),
            (CallCourse::NoAnswer, format!("{begin}, callee ringing, callee no_answer, agent completed")),
            (CallCourse::CalleeUnreachable, format!("{begin}, 30003 callee failed, agent completed")),
            (CallCourse::CalleeInvalid, format!("{begin}, 13224 callee failed, agent completed")),
            (CallCourse::AgentNoAnswer, "agent initiated, agent ringing, agent completed".to_owned()),
            (CallCourse::Canceled, format!("{begin}, callee ringing, callee canceled, agent completed")),
        ];
        assert_eq!(cases.clone().map(|(course, _)| course), COURSES);
        for (course, expected) in cases {
            assert_eq!(told(course), expected);
        }
    }

    #[test]
    fn the_last_two_digits_decide_and_all_others_are_answered() {
        let of = |digits: u32| CallScript::of_destination(&format!("+9055500000{digits:02}"));
        let special: Vec<u32> = (0..100).filter(|digits| of(*digits) != CallScript::default()).collect();
        let expected: Vec<u32> = (61..=66).chain(71..=85).collect();
        assert_eq!(special, expected);
        let scripts: HashSet<_> = special.iter().map(|digits| format!("{:?}", of(*digits))).collect();
        assert_eq!(scripts.len(), special.len());
        assert_eq!(of(61).course, CallCourse::Busy);
        assert_eq!(of(79).answer, CallAnswer::HangPlaced);
        assert_eq!(of(85).delivery, CallDelivery::Late);
        assert_eq!(CallScript::of_destination(""), CallScript::default());
    }

    #[test]
    fn a_script_is_written_by_its_parts() {
        let script: CallScript =
            serde_json::from_value(json!({ "course": "no_answer", "delivery": "twice" })).unwrap();
        let expected = CallScript {
            course: CallCourse::NoAnswer,
            delivery: CallDelivery::Twice,
            ..CallScript::default()
        };
        assert_eq!(script, expected);
        assert!(serde_json::from_value::<CallScript>(json!({ "curse": "busy" })).is_err());
    }
}

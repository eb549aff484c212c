//! The consent ledger: who may be contacted by which channel, for what, and what proves it.
//!
//! **Invariant:** append-only. The state of a channel is its newest row; a channel without a row was never asked
//! about and counts as not granted. Rows are written in the transaction that creates the lead or the enquiry.

mod boxes;
mod store;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub use boxes::{ConsentBox, box_of_answer, decide};

use crate::Uow;
use crate::nouns::{InboundId, LeadId};

/// A way to reach a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A telephone call.
    Call,
    /// A WhatsApp message.
    Whatsapp,
    /// A text message.
    Sms,
    /// An e-mail.
    Email,
}

impl Channel {
    /// All channels.
    pub const ALL: [Self; 4] = [Self::Call, Self::Whatsapp, Self::Sms, Self::Email];

    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Whatsapp => "whatsapp",
            Self::Sms => "sms",
            Self::Email => "email",
        }
    }

    /// Of a stored name.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.code() == code)
    }
}

/// What a person decided about a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// May be contacted.
    Granted,
    /// Was asked and said no.
    Refused,
    /// Had said yes and took it back.
    Withdrawn,
}

impl Decision {
    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// One decision to write down, for commercial messages: those for which Turkish law wants a prior consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConsent {
    /// The channel.
    pub channel: Channel,
    /// The decision.
    pub decision: Decision,
    /// Which wording was shown: the form's id and the box's key.
    pub text_version: Option<String>,
}

/// Where and when decisions were made; the same for all decisions of one enquiry.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// `meta_form`, `api` and so on.
    pub source: &'a str,
    /// The source event that proves it.
    pub inbound: Option<InboundId>,
    /// When the person decided.
    pub at: DateTime<Utc>,
}

/// What holds now for commercial messages, per channel; `None` where the person was never asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Calls.
    pub call: Option<bool>,
    /// WhatsApp.
    pub whatsapp: Option<bool>,
    /// Text messages.
    pub sms: Option<bool>,
    /// E-mail.
    pub email: Option<bool>,
}

/// Appends decisions about leads, in one statement.
pub async fn append(
    uow: &mut Uow,
    decided: &[(LeadId, Evidence<'_>, &[NewConsent])],
) -> Result<(), sqlx::Error> {
    if decided.iter().all(|(_, _, decisions)| decisions.is_empty()) {
        return Ok(());
    }
    let now = uow.now();
    store::append(uow.conn(), decided, now).await
}

/// What holds now for this lead.
pub async fn find_flags(conn: &mut PgConnection, lead: LeadId) -> Result<Flags, sqlx::Error> {
    let mut flags = Flags::default();
    for (channel, granted) in store::newest(conn, lead).await? {
        match channel.as_str() {
            "call" => flags.call = Some(granted),
            "whatsapp" => flags.whatsapp = Some(granted),
            "sms" => flags.sms = Some(granted),
            "email" => flags.email = Some(granted),
            _ => {}
        }
    }
    Ok(flags)
}

/// The newest word about a channel for one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// The row of the ledger.
    pub id: Uuid,
    /// Whether it was a yes.
    pub granted: bool,
}

/// What holds now for one channel; `None` where nothing was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// For answers to the person's own enquiry.
    pub transactional: Option<Said>,
    /// For offers.
    pub commercial: Option<Said>,
}

/// What holds now for this channel of this lead.
pub async fn find_channel(
    conn: &mut PgConnection,
    lead: LeadId,
    channel: Channel,
) -> Result<ChannelState, sqlx::Error> {
    let mut state = ChannelState::default();
    for (purpose, said) in store::newest_of_channel(conn, lead, channel).await? {
        match purpose.as_str() {
            "transactional" => state.transactional = Some(said),
            "commercial" => state.commercial = Some(said),
            _ => {}
        }
    }
    Ok(state)
}

/// The person said stop on this channel: from now on it is used for nothing. Appends a withdrawal for each purpose.
pub(crate) async fn suppress(
    uow: &mut Uow,
    lead: LeadId,
    channel: Channel,
    source: &str,
) -> Result<(), sqlx::Error> {
    let now = uow.now();
    store::append_withdrawals(uow.conn(), lead, channel, source, now).await
}

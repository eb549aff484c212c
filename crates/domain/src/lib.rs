//! The business of leads: rules and SQL, one module per noun.
//!
//! Every change goes through a [`Uow`]: state, audit event and the jobs that follow commit together. Domain
//! functions record an [`Event`] and never name a job; what follows from an event is decided elsewhere.
//!
//! **Invariant:** modules call each other's `mod.rs`, never another module's `store`.

pub mod audit;
pub mod calendars;
pub mod calls;
pub mod campaigns;
pub mod consents;
pub mod cooling_offs;
pub mod distribution;
pub mod event;
pub mod follow_ups;
pub mod idempotency;
pub mod identity;
pub mod imports;
pub mod ingestion;
pub mod leads;
pub mod live;
pub mod notifications;
pub mod operations;
pub mod privacy;
pub mod sla;
pub mod timeline;
pub mod uow;

pub use event::Event;
pub use uow::{Db, Uow};

/// What each id is the id of. Markers; never constructed.
pub mod nouns {
    macro_rules! nouns {
        ($($(#[$doc:meta])* $noun:ident as $id:ident;)*) => {
            $($(#[$doc])* #[derive(Debug)] pub enum $noun {} #[doc = concat!("The id of a [`", stringify!($noun), "`].")] pub type $id = sira_kernel::Id<$noun>;)*
        };
    }
    nouns! {
        /// A person who may buy.
        Lead as LeadId;
        /// Two leads that may be one person.
        Review as ReviewId;
        /// One time that a person asked.
        Enquiry as EnquiryId;
        /// A raw event from a provider.
        Inbound as InboundId;
        /// A file of leads.
        Import as ImportId;
        /// A person who works with leads.
        User as UserId;
        /// A group of users.
        Team as TeamId;
        /// A group of agents that share leads by weight.
        Pool as PoolId;
        /// One run of the routing function over waiting leads.
        RoutingBatch as RoutingBatchId;
        /// An advertising campaign.
        Campaign as CampaignId;
        /// A set of ads in a campaign.
        AdSet as AdSetId;
        /// An ad: the creative.
        Ad as AdId;
        /// A form that people fill in.
        Form as FormId;
        /// When a business is open.
        Calendar as CalendarId;
        /// A phone number or an e-mail address of a lead.
        Contact as ContactId;
        /// A while in which somebody does not get a lead.
        CoolingOff as CoolingOffId;
        /// One promise about one lead.
        SlaTimer as SlaTimerId;
        /// Something agreed with the person for a time.
        FollowUp as FollowUpId;
        /// What somebody wrote about a lead.
        Note as NoteId;
        /// What somebody is told.
        Notification as NotificationId;
        /// A masked call.
        Call as CallId;
        /// An answer of the gate.
        Decision as DecisionId;
    }
}

//! Roles, permissions, and what each role may see and do.
//!
//! **Invariant:** the table in [`Role::can`] is the only place that says what a role may do; it is an exhaustive
//! match, so a new permission does not compile until every role has been decided.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use crate::leads::Scope;
use crate::nouns::{TeamId, UserId};

/// What somebody is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the installation.
    Admin,
    /// Leads a sales team.
    Manager,
    /// Calls leads.
    Agent,
    /// Reads everything, changes nothing.
    Auditor,
}

/// One thing that can be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See leads of one's scope, masked.
    ViewLeads,
    /// Type in a lead by hand.
    CreateLeads,
    /// Bring in leads by the file, and take them back.
    ImportLeads,
    /// Change a lead of one's scope.
    EditLeads,
    /// Call a lead of one's scope, without seeing the number.
    CallLeads,
    /// Open a closed lead again.
    ReopenLeads,
    /// Give leads of the administrators' queue back to their pools, and correct wrong numbers.
    RedistributeLeads,
    /// Decide whether two leads are one person.
    MergeLeads,
    /// See what was said with providers, without numbers.
    ViewExchanges,
    /// Read the audit log, and have it proven.
    ViewAudit,
    /// Change what is promised about leads, and when.
    ManageSla,
    /// See jobs, workflows, the quarantine and the review queue.
    ViewOperations,
    /// Retry, cancel and move single jobs and workflows, and let events out of quarantine.
    ManageOperations,
    /// Act on all jobs that match.
    ManageManyJobs,
    /// Stop and limit queues and gates, and let them go on.
    ManageQueues,
    /// Change, pause and run schedules.
    ManageSchedules,
    /// Read the process's metrics.
    ViewMetrics,
    /// Read the API's documentation.
    ViewDocs,
}

/// A role's name is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such role: take one of admin, manager, agent, auditor")]
pub struct UnknownRole;

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Manager, Self::Agent, Self::Auditor];

    /// Whether this role includes the permission.
    pub const fn can(self, permission: Permission) -> bool {
        use Permission as P;
        match self {
            Self::Admin => true,
            Self::Manager => match permission {
                P::ViewLeads
                | P::CreateLeads
                | P::ImportLeads
                | P::EditLeads
                | P::CallLeads
                | P::ReopenLeads
                | P::ViewDocs => true,
                P::RedistributeLeads
                | P::MergeLeads
                | P::ViewExchanges
                | P::ViewAudit
                | P::ManageSla
                | P::ViewOperations
                | P::ManageOperations
                | P::ManageManyJobs
                | P::ManageQueues
                | P::ManageSchedules
                | P::ViewMetrics => false,
            },
            Self::Agent => match permission {
                P::ViewLeads | P::EditLeads | P::CallLeads | P::ViewDocs => true,
                P::CreateLeads
                | P::ImportLeads
                | P::ReopenLeads
                | P::RedistributeLeads
                | P::MergeLeads
                | P::ViewExchanges
                | P::ViewAudit
                | P::ManageSla
                | P::ViewOperations
                | P::ManageOperations
                | P::ManageManyJobs
                | P::ManageQueues
                | P::ManageSchedules
                | P::ViewMetrics => false,
            },
            Self::Auditor => match permission {
                P::ViewLeads | P::ViewExchanges | P::ViewAudit | P::ViewOperations | P::ViewDocs => true,
                P::CreateLeads
                | P::ImportLeads
                | P::EditLeads
                | P::CallLeads
                | P::ReopenLeads
                | P::RedistributeLeads
                | P::MergeLeads
                | P::ManageSla
                | P::ManageOperations
                | P::ManageManyJobs
                | P::ManageQueues
                | P::ManageSchedules
                | P::ViewMetrics => false,
            },
        }
    }

    /// The stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::Agent => "agent",
            Self::Auditor => "auditor",
        }
    }
}

impl Permission {
    /// All permissions.
    pub const ALL: [Self; 18] = [
        Self::ViewLeads,
        Self::CreateLeads,
        Self::ImportLeads,
        Self::EditLeads,
        Self::CallLeads,
        Self::ReopenLeads,
        Self::RedistributeLeads,
        Self::MergeLeads,
        Self::ViewExchanges,
        Self::ViewAudit,
        Self::ManageSla,
        Self::ViewOperations,
        Self::ManageOperations,
        Self::ManageManyJobs,
        Self::ManageQueues,
        Self::ManageSchedules,
        Self::ViewMetrics,
        Self::ViewDocs,
    ];

    /// The published name, `noun.verb`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ViewLeads => "leads.view",
            Self::CreateLeads => "leads.create",
            Self::ImportLeads => "leads.import",
            Self::EditLeads => "leads.edit",
            Self::CallLeads => "leads.call",
            Self::ReopenLeads => "leads.reopen",
            Self::RedistributeLeads => "leads.redistribute",
            Self::MergeLeads => "leads.merge",
            Self::ViewExchanges => "exchanges.view",
            Self::ViewAudit => "audit.view",
            Self::ManageSla => "sla.manage",
            Self::ViewOperations => "operations.view",
            Self::ManageOperations => "operations.manage",
            Self::ManageManyJobs => "jobs.manage_many",
            Self::ManageQueues => "queues.manage",
            Self::ManageSchedules => "schedules.manage",
            Self::ViewMetrics => "metrics.view",
            Self::ViewDocs => "docs.view",
        }
    }
}

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

impl Scope {
    /// The scope of a user. A manager without a team sees their own leads alone: it fails closed.
    pub fn of(role: Role, user: UserId, team: Option<TeamId>) -> Self {
        match (role, team) {
            (Role::Admin | Role::Auditor, _) => Self::All,
            (Role::Manager, Some(team)) => Self::Team(team),
            (Role::Manager, None) | (Role::Agent, _) => Self::Own(user),
        }
    }

    /// A text that differs between scopes; what is bound to a scope, as a cursor is, is bound to it.
    pub fn fingerprint(self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Team(team) => format!("team:{team}"),
            Self::Own(user) => format!("own:{user}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written by hand: the oracle of the matrix.
    #[test]
    fn the_permission_table_is_as_published() {
        let table = [
            ("leads.view", [true, true, true, true]),
            ("leads.create", [true, true, false, false]),
            ("leads.import", [true, true, false, false]),
            ("leads.edit", [true, true, true, false]),
            ("leads.call", [true, true, true, false]),
            ("leads.reopen", [true, true, false, false]),
            ("leads.redistribute", [true, false, false, false]),
            ("leads.merge", [true, false, false, false]),
            ("exchanges.view", [true, false, false, true]),
            ("audit.view", [true, false, false, true]),
            ("sla.manage", [true, false, false, false]),
            ("operations.view", [true, false, false, true]),
            ("operations.manage", [true, false, false, false]),
            ("jobs.manage_many", [true, false, false, false]),
            ("queues.manage", [true, false, false, false]),
            ("schedules.manage", [true, false, false, false]),
            ("metrics.view", [true, false, false, false]),
            ("docs.view", [true, true, true, true]),
        ];
        assert_eq!(table.len(), Permission::ALL.len());
        for (permission, (name, allowed)) in Permission::ALL.into_iter().zip(table) {
            assert_eq!(permission.as_str(), name);
            for (role, expected) in Role::ALL.into_iter().zip(allowed) {
                assert_eq!(role.can(permission), expected, "{role:?} {name}");
            }
        }
    }

    #[test]
    fn a_manager_without_a_team_sees_own_leads_alone() {
        let (user, team) = (UserId::new(), TeamId::new());
        assert_eq!(Scope::of(Role::Manager, user, Some(team)), Scope::Team(team));
        assert_eq!(Scope::of(Role::Manager, user, None), Scope::Own(user));
        assert_eq!(Scope::of(Role::Agent, user, Some(team)), Scope::Own(user));
        assert_eq!(Scope::of(Role::Auditor, user, Some(team)), Scope::All);
    }

    #[test]
    fn stored_names_are_read_back() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(UnknownRole));
    }
}

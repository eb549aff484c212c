//! Who acts. Every unit of work has exactly one actor, and the audit event that it writes names it.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The one who causes a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Actor {
    /// A signed-in person.
    User(Uuid),
    /// A durable job, by its stored kind.
    Job(String),
    /// A durable workflow, by its stored kind.
    Workflow(String),
    /// A provider that called a webhook, by its short name.
    Provider(String),
    /// The process itself: seeding, migrations, the command line.
    System,
}

impl Actor {
    /// The actor of a job of this kind.
    pub fn job(kind: &str) -> Self {
        Self::Job(kind.to_owned())
    }

    /// The actor of a workflow of this kind.
    pub fn workflow(kind: &str) -> Self {
        Self::Workflow(kind.to_owned())
    }

    /// The short stored form of the kind: `user`, `job`, `workflow`, `provider` or `system`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Job(_) => "job",
            Self::Workflow(_) => "workflow",
            Self::Provider(_) => "provider",
            Self::System => "system",
        }
    }

    /// Which one of its kind: a user's id, a job's kind, a provider's name; empty for the system.
    pub fn name(&self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::Job(name) | Self::Workflow(name) | Self::Provider(name) => name.clone(),
            Self::System => String::new(),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            other => write!(f, "{}:{}", other.kind(), other.name()),
        }
    }
}

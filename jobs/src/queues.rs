//! The queues. One worker each in every process that runs them; a slow provider holds up its own queue only.

use sira_engine::Queue;

/// Calls to advertising platforms.
pub const INTAKE: Queue = Queue { name: "intake", concurrency: 16 };
/// Giving leads to agents: short transactions.
pub const DISTRIBUTION: Queue = Queue { name: "distribution", concurrency: 8 };
/// Steps of workflows: short transactions.
pub const WORKFLOWS: Queue = Queue { name: "workflows", concurrency: 8 };
/// Calls to telephony providers: somebody waits for each.
pub const CALLS: Queue = Queue { name: "calls", concurrency: 16 };

/// Files of leads: long, and never in the way of a lead that comes now.
pub const IMPORTS: Queue = Queue { name: "imports", concurrency: 1 };

/// All of them.
pub const ALL: [Queue; 5] = [INTAKE, DISTRIBUTION, WORKFLOWS, CALLS, IMPORTS];

//! Claims about the durable engine: what `docs/GUARANTEES.md` promises, on a real PostgreSQL.

mod batches;
mod children;
mod jobs;
mod leases;
mod limits;
mod operator;
mod schedules;
mod traces;
mod workflows;
mod world;

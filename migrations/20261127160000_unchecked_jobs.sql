-- PostgreSQL reads the CHECK constraints of a table anew for each statement that writes to it, a quarter of what enqueueing one
-- job costs. What they held is held by the engine's tests, whose databases have them (docs/adr/0016).

alter table engine.jobs
    drop constraint jobs_state_check,
    drop constraint jobs_session_check,
    drop constraint jobs_attempt_check,
    drop constraint jobs_held_check;
alter table engine.finished drop constraint finished_outcome_check;

-- The durable engine's tables. See docs/ARCHITECTURE.md and crates/engine.

create schema engine;

-- One row per process incarnation. A host name is shown to people and is never an identity.
create table engine.sessions (
    id bigint generated always as identity primary key,
    host text not null,
    version text not null,
    queues text[] not null,
    started_at timestamptz not null default now(),
    -- Renewed every few seconds on the database's clock; once passed, the session's jobs run elsewhere.
    until timestamptz not null
);

-- Live jobs only: what waits, runs or is dead and awaits an operator. Terminal rows move to engine.finished.
create table engine.jobs (
    id bigint generated always as identity primary key,
    kind text not null,
    queue text not null,
    -- Smaller runs first.
    priority smallint not null default 0,
    state text not null,
    run_at timestamptz not null default now(),
    -- Attempts begun so far; a snooze or a release gives its attempt back.
    attempt smallint not null default 0,
    attempts_max smallint not null,
    -- Crashes of this very job: of its process while it ran alone, or caught panics.
    crash_count smallint not null default 0,
    -- Two processes died while it was claimed: it now runs alone, so that a further crash is its own.
    probing boolean not null default false,
    -- The fence: grows by one at each claim and is never reset. Every acknowledgement matches (id, lease).
    lease bigint not null default 0,
    session bigint,
    -- The claim statement that took it; releases a claim whose answer was lost.
    claim bigint,
    dedupe_key text,
    workflow_id bigint,
    -- Set before an external effect that its provider cannot deduplicate; a rerun that finds it reconciles.
    external_at timestamptz,
    trace_parent text,
    payload jsonb not null,
    -- The last failure: {code, message, retryable, details}, without personal data.
    error jsonb,
    created_at timestamptz not null default now(),
    constraint jobs_state_check check (state in ('scheduled', 'ready', 'running', 'dead')),
    constraint jobs_session_check check ((state = 'running') = (session is not null)),
    constraint jobs_attempt_check check (attempt >= 0 and attempts_max > 0)
) with (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);

-- Serves the claim: one queue's next jobs.
create index jobs_ready_idx on engine.jobs (queue, priority, id) where state = 'ready' and not probing;
-- Serves the claim of one job that must run alone.
create index jobs_probing_idx on engine.jobs (queue, id) where state = 'ready' and probing;
-- Serves promotion of due jobs and the timer for the next one.
create index jobs_scheduled_idx on engine.jobs (run_at) where state = 'scheduled';
-- One unclaimed row per key. A claimed row leaves the index, so a wake-up that arrives while its twin runs is kept.
create unique index jobs_dedupe_key on engine.jobs (kind, dedupe_key)
    where dedupe_key is not null and state in ('scheduled', 'ready');

-- What an operator searches by: a lead's id, an import's id. Apart from the hot table.
create table engine.job_tags (
    tag text not null,
    job_id bigint not null,
    created_at timestamptz not null default now(),
    primary key (tag, job_id)
);
-- Serves showing one job.
create index job_tags_job_idx on engine.job_tags (job_id);

-- Jobs that came to their end. Partitioned by day, so that history leaves by dropping a partition.
create table engine.finished (
    id bigint not null,
    kind text not null,
    queue text not null,
    -- done, cancelled, or merged (folded into an equal waiting job).
    outcome text not null,
    attempt smallint not null,
    dedupe_key text,
    workflow_id bigint,
    payload jsonb not null,
    error jsonb,
    created_at timestamptz not null,
    finished_at timestamptz not null default now(),
    constraint finished_outcome_check check (outcome in ('done', 'cancelled', 'merged'))
) partition by range (finished_at);
create table engine.finished_default partition of engine.finished default;
-- Serves the look-up of one job by id, and lists newest first.
create index finished_id_idx on engine.finished (id);

-- One row for each attempt that did not simply succeed. Partitioned by day.
create table engine.attempts (
    job_id bigint not null,
    lease bigint not null,
    attempt smallint not null,
    session bigint,
    started_at timestamptz,
    ended_at timestamptz not null default now(),
    outcome text not null,
    error jsonb,
    next_at timestamptz,
    -- Why it waits: backoff, probing, version, or what a snooze said. Null when it waits for nothing or is dead.
    waits_for text,
    constraint attempts_outcome_check check (
        outcome in ('snoozed', 'failed', 'panicked', 'timed_out', 'crashed', 'cancelled', 'released')
    )
) partition by range (ended_at);
create table engine.attempts_default partition of engine.attempts default;
create index attempts_job_idx on engine.attempts (job_id);

-- A workflow is a row that sleeps; it has a row in engine.jobs only while a step of it is due.
create table engine.workflows (
    id bigint generated always as identity primary key,
    kind text not null,
    -- The business key: the address of signals, and what makes a start idempotent.
    key text not null,
    version smallint not null,
    -- Where its steps run and how often one is tried: whoever wakes it need not know its kind.
    queue text not null,
    attempts_max smallint not null,
    status text not null,
    state jsonb not null,
    -- Steps taken so far.
    seq integer not null default 0,
    -- A step's job is on its way: no second one is put beside it.
    due boolean not null default true,
    wake_at timestamptz,
    waiting_for text,
    error jsonb,
    trace_parent text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint workflows_status_check check (
        status in ('running', 'sleeping', 'waiting', 'done', 'failed', 'cancelled', 'superseded')
    ),
    constraint workflows_finished_check check (
        (finished_at is not null) = (status in ('done', 'failed', 'cancelled', 'superseded'))
    ),
    constraint workflows_waiting_check check ((waiting_for is not null) = (status = 'waiting'))
);
create unique index workflows_live_key on engine.workflows (kind, key) where finished_at is null;
-- Serves waking: sleeping workflows have no row in engine.jobs.
create index workflows_wake_idx on engine.workflows (wake_at)
    where wake_at is not null and not due and finished_at is null;

create table engine.workflow_steps (
    workflow_id bigint not null references engine.workflows (id) on delete cascade,
    seq integer not null,
    -- What woke this step: start, timer, signal.
    woken_by text not null,
    -- What it decided: next, wait_until, wait_for, done, failed, cancelled, superseded.
    decision text not null,
    state jsonb not null,
    details jsonb,
    at timestamptz not null default now(),
    primary key (workflow_id, seq)
);

create table engine.signals (
    id bigint generated always as identity primary key,
    workflow_id bigint not null references engine.workflows (id) on delete cascade,
    name text not null,
    payload jsonb not null,
    created_at timestamptz not null default now()
);
-- Serves finding the oldest signal that a wait is for.
create index signals_workflow_idx on engine.signals (workflow_id, name, id);

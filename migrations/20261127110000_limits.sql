-- What limits jobs besides the workers of one process: a queue's most jobs in all processes, and gates.

alter table engine.paused_queues rename to queues;
alter table engine.queues rename constraint paused_queues_pkey to queues_pkey;
alter table engine.queues rename column reason to paused_reason;
alter table engine.queues
    alter column paused_at drop not null,
    alter column paused_at drop default,
    alter column paused_reason drop not null,
    -- Most of its jobs that run at a time, in all processes.
    add column concurrency_max integer,
    add constraint queues_paused_check check ((paused_at is null) = (paused_reason is null)),
    add constraint queues_concurrency_check check (concurrency_max > 0),
    -- A queue without a row runs, and has no limit.
    add constraint queues_row_check check (paused_at is not null or concurrency_max is not null);

-- What some kinds of jobs pass before they are ready. One that is named by a job and has no row lets one through at a
-- time: it is a kind's concurrency key.
create table engine.gates (
    name text primary key,
    -- The program's, until an operator edits them. Null is without that limit.
    concurrency_max integer,
    -- A bucket that holds up to `burst` tokens and gains so many a second; each job takes one.
    rate_per_s double precision,
    burst integer,
    -- So many failures in a row open the breaker: for `open_s` seconds, twice as long each time that its probe fails.
    failures_max integer,
    open_s double precision,
    edited_at timestamptz,
    tokens double precision not null default 0,
    refilled_at timestamptz not null default now(),
    -- Until when the provider itself said to wait.
    blocked_until timestamptz,
    failures integer not null default 0,
    -- Set while the breaker is open; once it is past, one job at a time probes.
    open_until timestamptz,
    openings integer not null default 0,
    constraint gates_concurrency_check check (concurrency_max > 0),
    constraint gates_rate_check check ((rate_per_s is null) = (burst is null) and rate_per_s > 0 and burst > 0),
    constraint gates_breaker_check check (
        (failures_max is null) = (open_s is null) and failures_max > 0 and open_s > 0
    )
);

-- Whoever holds this row's lock lets jobs through.
create table engine.gate_turn (only_row boolean primary key default true check (only_row));
insert into engine.gate_turn default values;

alter table engine.jobs
    -- What it passes before it is ready.
    add column gate text,
    -- It was claimed under its queue's limit, and counts towards it.
    add column limited boolean not null default false,
    drop constraint jobs_state_check,
    -- held: due, and waits for its gate.
    add constraint jobs_state_check check (state in ('scheduled', 'held', 'ready', 'running', 'dead')),
    add constraint jobs_held_check check (state <> 'held' or gate is not null);

-- Serves letting jobs through: a gate's next ones.
create index jobs_held_idx on engine.jobs (gate, priority, id) where state = 'held';
-- Serves counting those that a gate let through.
create index jobs_passed_idx on engine.jobs (gate) where gate is not null and state in ('ready', 'running');
-- Serves counting those that run under their queue's limit.
create index jobs_limited_idx on engine.jobs (queue) where limited and state = 'running';

drop index engine.jobs_dedupe_key;
create unique index jobs_dedupe_key on engine.jobs (kind, dedupe_key)
    where dedupe_key is not null and state in ('scheduled', 'held', 'ready');

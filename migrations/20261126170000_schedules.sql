-- What fires by the clock. Few rows; each is declared by the program and edited by operators.
create table engine.schedules (
    id bigint generated always as identity primary key,
    name text not null,
    -- What is enqueued at each slot, as the program declares it.
    kind text not null,
    queue text not null,
    attempts_max smallint not null,
    payload jsonb not null,
    -- The program's, until an operator edits them.
    cron text not null,
    time_zone text not null,
    catch_up text not null,
    edited_at timestamptz,
    paused_at timestamptz,
    paused_reason text,
    -- The next slot that is not settled; none while it is paused, and when there is none in ten years.
    next_at timestamptz,
    created_at timestamptz not null default now(),
    constraint schedules_name_key unique (name),
    constraint schedules_catch_up_check check (catch_up in ('all', 'latest', 'skip')),
    constraint schedules_paused_check check (
        (paused_at is null) = (paused_reason is null) and (paused_at is null or next_at is null)
    )
);
-- Serves firing and the timer for the next one.
create index schedules_next_idx on engine.schedules (next_at) where next_at is not null;

-- What became of each slot: a job, or nothing where it was missed. A row without a job stands for all slots from
-- missed_from to its own.
create table engine.schedule_slots (
    schedule_id bigint not null references engine.schedules (id) on delete cascade,
    slot timestamptz not null,
    job_id bigint,
    missed_from timestamptz,
    -- An operator ran it, at a moment that is no slot of its expression.
    by_request boolean not null default false,
    settled_at timestamptz not null default now(),
    primary key (schedule_id, slot),
    constraint schedule_slots_missed_check check ((job_id is null) = (missed_from is not null))
);
-- Serves keeping the slots of the last days alone.
create index schedule_slots_settled_idx on engine.schedule_slots (settled_at);

-- Queues that an operator has stopped: nothing of theirs is claimed. A queue without a row runs.
create table engine.paused_queues (
    name text primary key,
    paused_at timestamptz not null default now(),
    reason text not null
);

-- How attempts ended, by minute: what a list of jobs would have to be counted for. Each process adds what it has seen every few
-- seconds; one that is killed loses the last of them.
create table engine.counters (
    minute timestamptz not null,
    queue text not null,
    kind text not null,
    -- As attempts end: done, cancelled, snoozed, failed, timed_out, panicked, released, lease_lost.
    outcome text not null,
    attempts bigint not null,
    -- How long they ran, together.
    ran_ms bigint not null,
    primary key (minute, queue, kind, outcome)
);

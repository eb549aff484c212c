-- What an operator does to all jobs that match: found and acted on in batches by a durable job.
create table bulk_acts (
    id bigint generated always as identity primary key,
    act text not null,
    -- As the engine reads it: {state, kind, queue, tag, workflow, error, attempts_min, due_before}.
    filter jsonb not null,
    -- Of a cancellation.
    reason text,
    -- Of a new time.
    run_at timestamptz,
    state text not null default 'running',
    -- Jobs with smaller ids are still to come: those that were enqueued since are none of it.
    position bigint not null,
    done bigint not null default 0,
    -- Matched, and could not be acted on: it ran, or had ended.
    refused bigint not null default 0,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint bulk_acts_act_check check (act in ('retry', 'cancel', 'reschedule')),
    constraint bulk_acts_state_check check (state in ('running', 'done', 'stopped')),
    constraint bulk_acts_finished_check check ((finished_at is not null) = (state <> 'running')),
    constraint bulk_acts_reason_check check ((reason is not null) = (act = 'cancel')),
    constraint bulk_acts_run_at_check check ((run_at is not null) = (act = 'reschedule'))
);

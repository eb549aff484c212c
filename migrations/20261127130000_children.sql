-- Jobs that a workflow enqueues and waits for.

alter table engine.jobs
    -- A workflow waits for it: its end is written to engine.children.
    add column child boolean not null default false;

create table engine.children (
    job_id bigint primary key,
    workflow_id bigint not null references engine.workflows (id) on delete cascade,
    -- Its place among those that were enqueued together, from 0.
    place integer not null,
    -- done, failed or cancelled, once it has ended.
    outcome text,
    -- Its end was taken off what its workflow waits for.
    counted boolean not null default false,
    constraint children_outcome_check check (outcome in ('done', 'failed', 'cancelled'))
);
-- Serves reading and dropping a workflow's children.
create index children_workflow_idx on engine.children (workflow_id, place);
-- Serves finding those that ended a moment ago.
create index children_ended_idx on engine.children (workflow_id) where outcome is not null and not counted;

alter table engine.workflows
    -- Children that have not ended, of one that is joining.
    add column children_left integer not null default 0,
    -- all: until none is left. failure: or until one has failed.
    add column join_on text,
    drop constraint workflows_status_check,
    add constraint workflows_status_check check (
        status in ('running', 'sleeping', 'waiting', 'joining', 'done', 'failed', 'cancelled', 'superseded')
    ),
    add constraint workflows_join_on_check check (join_on in ('all', 'failure'));

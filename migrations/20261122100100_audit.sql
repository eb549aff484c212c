-- The audit log: one row per audited act, written in the transaction of the act. Append-only: the triggers
-- stop edits even under session_replication_role = replica. Sealing (a Merkle tree with signed checkpoints) reads
-- these rows later and does not change them.

create table audit_event (
    id uuid primary key,
    at timestamptz not null,
    -- user, job, workflow, provider, system
    actor_kind text not null,
    actor text not null,
    -- noun.verb in the past tense, as in lead.assigned
    action text not null,
    -- What it happened to: lead, user, inbound_event ... and its id.
    subject_kind text not null,
    subject text not null,
    -- Ids, codes and numbers only; never personal data.
    body jsonb not null,
    trace_parent text,
    constraint audit_event_actor_kind_check check (actor_kind in ('user', 'job', 'workflow', 'provider', 'system'))
);
-- Serves the history of one subject, newest first.
create index audit_event_subject_idx on audit_event (subject_kind, subject, id);

create function audit_event_refuse() returns trigger language plpgsql as $$
begin
    raise exception 'audit_event is append-only' using errcode = 'insufficient_privilege';
end;
$$;
create trigger audit_event_no_change before update or delete on audit_event
    for each row execute function audit_event_refuse();
create trigger audit_event_no_truncate before truncate on audit_event
    for each statement execute function audit_event_refuse();
alter table audit_event enable always trigger audit_event_no_change;
alter table audit_event enable always trigger audit_event_no_truncate;

-- Everything that happened to a lead, in one append-only stream.

create table timeline_entries (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    at timestamptz not null,
    -- What one filters by: lead, assignment, status, sla, call, note, follow_up, cooling_off, queue, consent.
    kind text not null,
    -- What happened: lead.created, call.ended ...
    code text not null,
    actor_kind text not null,
    actor text not null,
    -- The call, the note, the follow-up that it is about.
    reference uuid,
    -- Ids, codes and numbers; no personal data.
    body jsonb not null
);
-- The stream, newest first; and one kind of it.
create index timeline_entries_lead_idx on timeline_entries (lead_id, at desc, id desc);
create index timeline_entries_kind_idx on timeline_entries (lead_id, kind, at desc, id desc);

-- What people write about a lead, sealed under the lead's key. Corrections are new notes.
create table lead_notes (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    author_id uuid not null references users (id),
    body_sealed bytea not null,
    created_at timestamptz not null
);
create index lead_notes_lead_idx on lead_notes (lead_id, created_at, id);

create function append_only_refuse() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end;
$$;
-- Deletes stay possible, for erasure only. The triggers hold even under session_replication_role = replica.
create trigger timeline_entries_no_change before update on timeline_entries
    for each row execute function append_only_refuse();
create trigger lead_notes_no_change before update on lead_notes
    for each row execute function append_only_refuse();
alter table timeline_entries enable always trigger timeline_entries_no_change;
alter table lead_notes enable always trigger lead_notes_no_change;

-- What happened before there was a timeline.
insert into timeline_entries (id, lead_id, at, kind, code, actor_kind, actor, body)
select gen_random_uuid(), lead_id, received_at, 'lead',
    case effect when 'created' then 'lead.created' else 'lead.enquired' end, 'system', '', '{}'
from lead_enquiries
union all
select gen_random_uuid(), lead_id, at, 'status', 'status.changed', actor_kind, actor,
    jsonb_build_object('from', from_status, 'to', to_status)
from lead_status_history where from_status is not null
union all
select gen_random_uuid(), lead_id, assigned_at, 'assignment', 'lead.assigned', 'system', '',
    jsonb_build_object('owner', user_id)
from lead_assignments;

-- Sealing of the audit log: its events are the leaves of a tree after RFC 6962, whose roots are signed (checkpoints). A
-- writer notes by its own rows what is not sealed yet, and waits for nobody; one sealer at a time numbers what was committed.

-- Events that are not sealed yet.
create table audit_pending (id uuid primary key) with (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000
);
create function audit_event_note() returns trigger language plpgsql as $$
begin
    insert into audit_pending (id) select id from fresh;
    return null;
end;
$$;
create trigger audit_event_pending after insert on audit_event
    referencing new table as fresh for each statement execute function audit_event_note();
alter table audit_event enable always trigger audit_event_pending;
insert into audit_pending (id) select id from audit_event;

-- The leaves, in their order and without a gap.
create table audit_leaf (
    leaf bigint primary key,
    event_id uuid not null unique,
    -- The event as bytes: what was hashed. Never made from jsonb's own text.
    record bytea not null,
    -- SHA-256 of a zero byte and the record.
    hash bytea not null
);

-- Roots that were signed.
create table audit_checkpoint (
    -- Leaves under the root.
    size bigint primary key,
    root bytea not null,
    -- Roots of the complete subtrees, largest first, 32 bytes each: where the next leaves are added.
    peaks bytea not null,
    at timestamptz not null,
    -- Ed25519, of the text that docs/AUDIT.md describes.
    signature bytea not null
);

-- The key that signs; one for each database.
create table audit_key (
    id text primary key,
    public bytea not null,
    created_at timestamptz not null default now()
);

create function audit_refuse() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end;
$$;
do $$
declare kept text;
begin
    foreach kept in array array['audit_leaf', 'audit_checkpoint', 'audit_key'] loop
        execute format('create trigger %I before update or delete on %I for each row execute function audit_refuse()',
            kept || '_no_change', kept);
        execute format('create trigger %I before truncate on %I for each statement execute function audit_refuse()',
            kept || '_no_truncate', kept);
        execute format('alter table %I enable always trigger %I', kept, kept || '_no_change');
        execute format('alter table %I enable always trigger %I', kept, kept || '_no_truncate');
    end loop;
end;
$$;

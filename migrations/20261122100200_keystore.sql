-- Data keys, one or more per subject, each wrapped by a key-encryption key that never enters the database.
-- A schema of its own: the key store may be moved to another database (docs/adr, SECURITY).

create schema keystore;

create table keystore.data_keys (
    id uuid primary key,
    -- lead, inbound_event, import ...
    subject_kind text not null,
    subject uuid not null,
    -- Which key-encryption key wrapped it.
    kek_id text not null,
    -- Wrapped with AAD dek|subject_kind|subject|id|kek_id. Null once destroyed: what it sealed is unreadable.
    wrapped bytea,
    created_at timestamptz not null,
    destroyed_at timestamptz,
    constraint data_keys_destroyed_check check ((wrapped is null) = (destroyed_at is not null)),
    constraint data_keys_subject_key unique (subject_kind, subject)
);
-- Serves rotation: what a retired key-encryption key still wraps.
create index data_keys_kek_idx on keystore.data_keys (kek_id, id) where wrapped is not null;

-- Leads from files. A file, its headings and its bad rows are sealed under the import's own key; what it became of each good
-- row stands with the lead's enquiries.

create table imports (
    id uuid primary key,
    -- awaiting_file, checked (the file is here and can be read), running, done, failed, cancelled, undoing, undone
    state text not null,
    -- Whose it is; null for one that came by the command line.
    user_id uuid references users (id),
    -- The file's name, sealed: people name files after people.
    name_sealed bytea not null,
    -- Where national phone numbers are at home: ISO 3166.
    region text not null,
    -- In which zone times without one are meant.
    time_zone text not null,
    -- Which upload of the file counts; an upload that broke off leaves pieces of another one.
    upload uuid,
    bytes bigint not null default 0,
    -- HMAC over the file: tells whether two files are the same.
    fingerprint bytea,
    encoding text,
    delimiter text,
    -- Headings as JSON, sealed: a file without them has a person in its first line.
    headings_sealed bytea,
    -- What each column is taken for, in the file's order; null is an answer like any other.
    mapping jsonb,
    -- Records after the headings that are settled, and the bytes that they were read from. The next chunk begins after
    -- them.
    rows_done bigint not null default 0,
    bytes_done bigint not null default 0,
    created bigint not null default 0,
    joined bigint not null default 0,
    reopened bigint not null default 0,
    bad bigint not null default 0,
    -- Of an undone import: leads that were taken back, and those that were worked on meanwhile and stay.
    removed bigint not null default 0,
    kept bigint not null default 0,
    -- Why it failed: a stable code.
    failure text,
    cancel_requested boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz,
    constraint imports_state_check check (
        state in ('awaiting_file', 'checked', 'running', 'done', 'failed', 'cancelled', 'undoing', 'undone')
    ),
    constraint imports_failure_check check ((state = 'failed') = (failure is not null)),
    constraint imports_rows_check check (rows_done = created + joined + reopened + bad)
);
create index imports_created_idx on imports (created_at desc, id desc);

-- The file in pieces, sealed one by one.
create table import_pieces (
    import_id uuid not null references imports (id) on delete cascade,
    upload uuid not null,
    position integer not null,
    id uuid not null,
    sealed bytea not null,
    primary key (import_id, upload, position)
);

-- Rows that could not become leads: kept, sealed, with the reason, to be mended and tried again.
create table import_rows (
    import_id uuid not null references imports (id) on delete cascade,
    -- Where the record begins in the file, counted from 1.
    line bigint not null,
    id uuid not null,
    -- A stable code.
    code text not null,
    -- The column that is to blame, counted from 1, where it is one.
    column_number integer,
    -- The record as JSON: the texts of its columns.
    sealed bytea not null,
    primary key (import_id, line)
);

alter table lead_enquiries add column import_id uuid references imports (id);
create index lead_enquiries_import_idx on lead_enquiries (import_id, id) where import_id is not null;

-- Live updates: what happened, in the one order in which it is told to everybody who listens.

-- Written in the transaction of what happened; numbered once that has committed. Kept for a day.
create table live_events (
    -- The order of writing. A transaction that commits late leaves a low id behind higher ones, so that nobody can
    -- read on from an id.
    id bigint generated always as identity primary key,
    -- The order of telling: 1, 2, 3 and so on without a gap. Null until the row is numbered.
    seq bigint,
    name text not null,
    -- What it is about, and who heard of it then: the owner and the team as the writing transaction leaves them. No
    -- foreign keys: these rows are a log that ends by itself.
    lead_id uuid,
    owner_id uuid,
    team_id uuid,
    -- Somebody else who must hear of it, such as the owner who lost the lead.
    user_id uuid,
    -- Ids, codes, states and numbers; never personal data.
    body jsonb not null,
    created_at timestamptz not null,
    constraint live_events_seq_key unique (seq),
    constraint live_events_seq_check check (seq > 0)
);
-- Serves the numbering: what is committed and has no number yet, in the order of writing.
create index live_events_unnumbered_idx on live_events (id) where seq is null;

-- The last number given. Whoever numbers locks this row.
create table live_sequence (
    only_row boolean primary key default true,
    last bigint not null,
    constraint live_sequence_only_row_check check (only_row),
    constraint live_sequence_last_check check (last >= 0)
);
insert into live_sequence (last) values (0);

-- Tickets that open one stream in place of an access token. Used once, good for a minute.
create table live_tickets (
    -- SHA-256 of the ticket: what is stored opens nothing.
    hash bytea primary key,
    user_id uuid not null references users (id),
    expires_at timestamptz not null,
    constraint live_tickets_hash_check check (octet_length(hash) = 32)
);
-- Serves the clean-up of those that nobody used.
create index live_tickets_expires_idx on live_tickets (expires_at);

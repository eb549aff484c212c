-- Answers kept for repeated requests. The row is inserted in the transaction of the effect.
create table idempotency_keys (
    -- Who asked, and for what: keys of different callers and routes never meet.
    principal text not null,
    route text not null,
    key text not null,
    -- HMAC-SHA-256 over the request body, under a key that never enters the database.
    fingerprint bytea not null,
    status smallint,
    -- Free of personal data.
    response jsonb,
    created_at timestamptz not null,
    primary key (principal, route, key),
    constraint idempotency_keys_key_check check (length(key) between 1 and 200)
);
-- Serves the clean-up of answers older than a day.
create index idempotency_keys_created_idx on idempotency_keys (created_at);

-- Why this agent: what the routing function saw, once per batch, and what it chose, once per lead.

create table routing_batches (
    id uuid primary key,
    pool_id uuid not null references pools (id),
    -- Version of the routing function, so that a decision can be replayed.
    algorithm text not null,
    -- The pool and its members as they stood before the batch, each with its exclusion if any: ids, weights, turns,
    -- lags, loads.
    candidates jsonb not null,
    -- What each lead that was looked at weighs on its owner's capacity, in order: with the candidates, all that the
    -- function saw. Longer than the decisions when leads that were known to wait still do.
    lead_weights smallint[] not null,
    decided_at timestamptz not null
);

create table routing_decisions (
    lead_id uuid not null references leads (id),
    batch_id uuid not null references routing_batches (id),
    -- Place in the batch, from 0: the function replays the batch up to here.
    position integer not null,
    -- Null: nobody was eligible, the lead waits. Written once while it waits, not at each new attempt.
    chosen uuid references users (id),
    -- share, only_candidate or nobody_eligible
    reason text not null,
    primary key (batch_id, position),
    constraint routing_decisions_reason_check check (reason in ('share', 'only_candidate', 'nobody_eligible')),
    constraint routing_decisions_chosen_check check ((chosen is null) = (reason = 'nobody_eligible'))
);
create index routing_decisions_lead_idx on routing_decisions (lead_id, batch_id);

create table lead_assignments (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    user_id uuid not null references users (id),
    batch_id uuid references routing_batches (id),
    -- routed, manual
    cause text not null,
    assigned_at timestamptz not null,
    ended_at timestamptz,
    end_reason text,
    constraint lead_assignments_cause_check check (cause in ('routed', 'manual')),
    constraint lead_assignments_end_check check ((ended_at is null) = (end_reason is null))
);
-- One current owner.
create unique index lead_assignments_current_key on lead_assignments (lead_id) where ended_at is null;
create index lead_assignments_lead_idx on lead_assignments (lead_id, assigned_at, id);

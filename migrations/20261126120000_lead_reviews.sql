-- Leads that may be one person, and leads that were merged.

-- A merged lead points at the one that stays. Its rows stay its own, under its own key; the one that stays is read with
-- them. Never a chain: what was merged into it before points at the one that stays, too.
alter table leads
    add column merged_into uuid references leads (id),
    add constraint leads_merged_check
        check (merged_into is null or (merged_into <> id and owner_id is null and waiting_since is null));
create index leads_merged_idx on leads (merged_into) where merged_into is not null;

-- A lead and those that were merged into it.
create function lead_ids(lead uuid) returns uuid[] language sql stable parallel safe as $$
    select array(select id from leads where merged_into = lead) || lead
$$;

create table lead_reviews (
    id uuid primary key,
    -- The pair, the lead that is known longer first: ids grow with time.
    lead_id uuid not null references leads (id),
    other_id uuid not null references leads (id),
    -- What they share, a kind of contact.
    shared text not null,
    -- open: to be decided; merged: one person; apart: two.
    state text not null default 'open',
    -- The lead that stays, while merged; and those that were merged into the other one before, which went with it.
    survivor_id uuid references leads (id),
    carried uuid[] not null default '{}',
    created_at timestamptz not null,
    decided_at timestamptz,
    constraint lead_reviews_pair_key unique (lead_id, other_id),
    constraint lead_reviews_pair_check check (lead_id < other_id),
    constraint lead_reviews_shared_check check (shared in ('phone', 'email')),
    constraint lead_reviews_state_check check (state in ('open', 'merged', 'apart')),
    constraint lead_reviews_decided_check check ((state = 'open') = (decided_at is null)),
    constraint lead_reviews_survivor_check
        check ((state = 'merged') = (survivor_id is not null) and survivor_id in (lead_id, other_id))
);
create index lead_reviews_state_idx on lead_reviews (state, created_at, id);
create index lead_reviews_other_idx on lead_reviews (other_id);

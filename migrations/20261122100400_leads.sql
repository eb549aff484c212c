-- Leads, their contacts, enquiries and histories. Personal data is sealed per lead before it gets here; beside it
-- stand a masked form to show and, for contacts, a blind index to find by.

-- The catalogue of statuses. Labels are data.
create table statuses (
    code text primary key,
    label_tr text not null,
    label_en text not null,
    stage text not null,
    -- No further work: frees the owner's capacity.
    terminal boolean not null,
    -- What an open lead in this status weighs on its owner's capacity.
    load_weight smallint not null,
    position smallint not null,
    constraint statuses_stage_check check (stage in ('lead', 'contacted', 'qualified', 'proposal', 'sale', 'lost')),
    constraint statuses_weight_check check (load_weight >= 0 and (not terminal or load_weight = 0))
);
insert into statuses (code, label_tr, label_en, stage, terminal, load_weight, position) values
    ('new', 'Yeni', 'New', 'lead', false, 1, 1),
    ('no_answer', 'Cevapsız', 'No answer', 'lead', false, 1, 2),
    ('interested', 'İlgili', 'Interested', 'contacted', false, 1, 3),
    ('not_interested', 'İlgisiz', 'Not interested', 'contacted', false, 1, 4),
    ('wrong_number', 'Yanlış Numara', 'Wrong number', 'lead', false, 1, 5),
    ('blocked', 'Block', 'Blocked', 'lead', false, 1, 6),
    ('qualified', 'Nitelikli', 'Qualified', 'qualified', false, 1, 7),
    ('proposal', 'Teklif', 'Proposal', 'proposal', false, 1, 8),
    ('sale', 'Satış', 'Sale', 'sale', true, 0, 9),
    ('lost', 'Kayıp', 'Lost', 'lost', true, 0, 10);

-- Pools of agents; weights are shares of the pool's leads.
create table pools (
    id uuid primary key,
    name text not null,
    -- Exactly one pool takes what no campaign sends elsewhere.
    is_default boolean not null default false,
    -- The present round of the quota method (turns in which takers and weights stay the same): turns given in it,
    -- and the sum of its takers' weights.
    turns bigint not null default 0,
    round_weight bigint not null default 0,
    created_at timestamptz not null,
    constraint pools_name_key unique (name),
    constraint pools_round_check check (turns >= 0 and round_weight >= 0)
);
create unique index pools_default_key on pools (is_default) where is_default;

-- Members with the stored state of the quota method.
create table pool_members (
    pool_id uuid not null references pools (id),
    user_id uuid not null references users (id),
    weight integer not null,
    -- The weight with which the member takes part in the present round; null when it does not.
    round_weight integer,
    -- Turns that it had in the present round. Whole numbers, so that shares are exact however long a round lasts.
    given bigint not null default 0,
    -- What it was owed (above zero) or ahead (below zero) when the round began, or when it last took part, in
    -- millionths of a lead; strictly within one lead.
    lag_micro bigint not null default 0,
    primary key (pool_id, user_id),
    constraint pool_members_weight_check check (weight between 1 and 10000),
    constraint pool_members_round_check check (round_weight is not null or given = 0),
    constraint pool_members_given_check check (given >= 0),
    constraint pool_members_lag_check check (lag_micro between -999999 and 999999)
);
create index pool_members_user_idx on pool_members (user_id);

-- Where leads come from, as rows synced from the platform: not text on the lead.
create table campaigns (
    id uuid primary key,
    source text not null,
    external_id text not null,
    name text,
    -- Its leads go to this pool; null is the default pool.
    pool_id uuid references pools (id),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint campaigns_external_key unique (source, external_id)
);
create table ad_sets (
    id uuid primary key,
    source text not null,
    external_id text not null,
    name text,
    campaign_id uuid references campaigns (id),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint ad_sets_external_key unique (source, external_id)
);
create table ads (
    id uuid primary key,
    source text not null,
    external_id text not null,
    name text,
    ad_set_id uuid references ad_sets (id),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint ads_external_key unique (source, external_id)
);
create table lead_forms (
    id uuid primary key,
    source text not null,
    external_id text not null,
    name text,
    page_external_id text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint lead_forms_external_key unique (source, external_id)
);

-- The raw inbox: one row per source event, whichever door it came through. The body is sealed under the event's
-- own key.
create table inbound_events (
    id uuid primary key,
    provider text not null,
    external_id text not null,
    -- pending: stored, to be fetched; settled: it became or joined a lead; quarantined: visible, kept, to be mended.
    state text not null,
    body bytea not null,
    -- What the provider answered when the lead was fetched; sealed.
    fetched bytea,
    -- Why it is in quarantine: a stable code and a sentence without personal data.
    reason_code text,
    reason text,
    lead_id uuid,
    received_at timestamptz not null,
    settled_at timestamptz,
    constraint inbound_events_external_key unique (provider, external_id),
    constraint inbound_events_state_check check (state in ('pending', 'settled', 'quarantined')),
    constraint inbound_events_settled_check check ((state = 'settled') = (settled_at is not null)),
    constraint inbound_events_reason_check check ((state = 'quarantined') = (reason_code is not null))
);
create index inbound_events_quarantine_idx on inbound_events (received_at, id) where state = 'quarantined';
create index inbound_events_pending_idx on inbound_events (received_at, id) where state = 'pending';

create table leads (
    id uuid primary key,
    -- For people: L-7K3M-92QX.
    reference text not null,
    channel text not null,
    -- When the person left the lead, as the source says; UTC.
    acquired_at timestamptz not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- Grows by one at each change; the ETag.
    version bigint not null default 1,
    status text not null references statuses (code),
    status_since timestamptz not null,
    owner_id uuid references users (id),
    -- The owner's team when the lead was given, so that a team's list is one index scan.
    team_id uuid references teams (id),
    pool_id uuid not null references pools (id),
    -- Since when it waits for an agent; null once it has one, and for test leads.
    waiting_since timestamptz,
    is_test boolean not null default false,
    campaign_id uuid references campaigns (id),
    ad_set_id uuid references ad_sets (id),
    ad_id uuid references ads (id),
    form_id uuid references lead_forms (id),
    country text,
    language text,
    name_masked text,
    name_sealed bytea,
    constraint leads_reference_key unique (reference),
    constraint leads_channel_check check (channel in ('meta', 'google_ads', 'csv', 'api', 'web', 'referral')),
    constraint leads_waiting_check check (waiting_since is null or (owner_id is null and not is_test))
);
-- Lists, newest first: all, by status, by owner, by team.
create index leads_created_idx on leads (created_at desc, id desc);
create index leads_status_idx on leads (status, created_at desc, id desc);
create index leads_owner_idx on leads (owner_id, created_at desc, id desc);
create index leads_team_idx on leads (team_id, created_at desc, id desc);
-- The waiting queue of a pool, oldest first.
create index leads_waiting_idx on leads (pool_id, waiting_since, id) where waiting_since is not null;

create table lead_contacts (
    id uuid primary key,
    -- Deferred: the contact is inserted first, because its unique key decides whether there is a new lead at all.
    lead_id uuid not null references leads (id) deferrable initially deferred,
    kind text not null,
    masked text not null,
    sealed bytea not null,
    -- HMAC-SHA-256 over the normal form, under a key that never enters the database.
    blind_index bytea not null,
    -- Known to belong to several people (a clinic's desk): does not decide identity.
    shared boolean not null default false,
    -- Belongs to a test lead: does not decide identity either.
    is_test boolean not null default false,
    created_at timestamptz not null,
    constraint lead_contacts_kind_check check (kind in ('phone', 'email')),
    constraint lead_contacts_index_check check (octet_length(blind_index) = 32),
    constraint lead_contacts_lead_key unique (lead_id, kind, blind_index)
);
-- The phone decides: one lead per number.
create unique index lead_contacts_phone_key on lead_contacts (blind_index)
    where kind = 'phone' and not shared and not is_test;
-- E-mails are found, not unique.
create index lead_contacts_email_idx on lead_contacts (blind_index) where kind = 'email';

-- Every time the person asked: the first enquiry made the lead, later ones joined it.
create table lead_enquiries (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    -- Null for leads typed in by hand. Unique: redelivery changes nothing.
    inbound_id uuid references inbound_events (id),
    channel text not null,
    acquired_at timestamptz not null,
    received_at timestamptz not null,
    campaign_id uuid references campaigns (id),
    ad_set_id uuid references ad_sets (id),
    ad_id uuid references ads (id),
    form_id uuid references lead_forms (id),
    -- Raw answers of the form, as JSON, sealed under the lead's key.
    answers_sealed bytea,
    -- created, joined or reopened
    effect text not null,
    constraint lead_enquiries_inbound_key unique (inbound_id),
    constraint lead_enquiries_effect_check check (effect in ('created', 'joined', 'reopened'))
);
create index lead_enquiries_lead_idx on lead_enquiries (lead_id, received_at, id);

create table lead_status_history (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    from_status text references statuses (code),
    to_status text not null references statuses (code),
    actor_kind text not null,
    actor text not null,
    -- A code or a short sentence without personal data.
    reason text,
    at timestamptz not null,
    -- How long the lead stood in from_status, in seconds.
    spent_seconds bigint
);
create index lead_status_history_lead_idx on lead_status_history (lead_id, at, id);

-- The consent ledger: append-only; the state of a channel is its newest row.
create table consent_ledger (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    channel text not null,
    purpose text not null,
    -- granted, refused, withdrawn
    decision text not null,
    -- Where it was given: meta_form, api, import ...
    source text not null,
    -- Which wording was shown: the form's id and its disclaimer's key.
    text_version text,
    -- The source event that proves it.
    inbound_id uuid references inbound_events (id),
    at timestamptz not null,
    recorded_at timestamptz not null,
    constraint consent_ledger_channel_check check (channel in ('call', 'whatsapp', 'sms', 'email')),
    constraint consent_ledger_purpose_check check (purpose in ('commercial', 'transactional')),
    constraint consent_ledger_decision_check check (decision in ('granted', 'refused', 'withdrawn'))
);
create index consent_ledger_lead_idx on consent_ledger (lead_id, channel, purpose, at desc, id desc);
create function consent_ledger_refuse() returns trigger language plpgsql as $$
begin
    raise exception 'consent_ledger is append-only' using errcode = 'insufficient_privilege';
end;
$$;
-- Deletes stay possible, for erasure only. The triggers hold even under session_replication_role = replica.
create trigger consent_ledger_no_change before update on consent_ledger
    for each row execute function consent_ledger_refuse();
create trigger consent_ledger_no_truncate before truncate on consent_ledger
    for each statement execute function consent_ledger_refuse();
alter table consent_ledger enable always trigger consent_ledger_no_change;
alter table consent_ledger enable always trigger consent_ledger_no_truncate;

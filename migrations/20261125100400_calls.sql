-- Masked calls: whether one may be made, what was said with the provider, what became of it.

-- Every answer of the gate, allowed or not, with what it rested on.
create table contact_decisions (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    user_id uuid not null references users (id),
    channel text not null,
    purpose text not null,
    allowed boolean not null,
    -- allowed, or the reason of the refusal: opted_out, consent_missing, cooling_off ...
    reason text not null,
    -- The row of the consent ledger that decided, when one did.
    consent_id uuid references consent_ledger (id),
    decided_at timestamptz not null,
    constraint contact_decisions_channel_check check (channel in ('call', 'whatsapp', 'sms', 'email')),
    constraint contact_decisions_purpose_check check (purpose in ('commercial', 'transactional')),
    constraint contact_decisions_reason_check check (allowed = (reason = 'allowed'))
);
create index contact_decisions_lead_idx on contact_decisions (lead_id, decided_at desc);

create table calls (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    user_id uuid not null references users (id),
    decision_id uuid not null references contact_decisions (id),
    contact_id uuid not null references lead_contacts (id),
    provider text not null,
    -- The provider's id of it, once known.
    provider_ref text,
    status text not null,
    -- Of a failed or unanswered call: a kind of the failure taxonomy.
    failure text,
    -- When the provider said to come back.
    retry_after_s integer,
    dial_url text,
    -- What each leg was last known to do; the callee's decides.
    agent_leg text,
    callee_leg text,
    requested_at timestamptz not null,
    -- Until when the other side is rung at most.
    expires_at timestamptz not null,
    answered_at timestamptz,
    ended_at timestamptz,
    talk_s integer,
    -- What the agent said about it.
    disposition text,
    outcome_at timestamptz,
    constraint calls_provider_key unique (provider, provider_ref),
    constraint calls_status_check check (status in (
        'queued', 'initiated', 'ringing', 'in-progress',
        'completed', 'busy', 'no-answer', 'failed', 'canceled', 'expired', 'unknown'
    )),
    constraint calls_ended_check check (
        (ended_at is null) = (status in ('queued', 'initiated', 'ringing', 'in-progress'))
    ),
    constraint calls_outcome_check check ((disposition is null) = (outcome_at is null))
);
-- One open call a lead: nobody is rung by two people at a time.
create unique index calls_open_key on calls (lead_id) where ended_at is null;
-- Serve the throttles.
create index calls_user_idx on calls (user_id, requested_at);
create index calls_lead_idx on calls (lead_id, requested_at);

-- What a provider told of a call, once each, in the order of arrival. One that names a call not known yet waits for
-- it: the news may be faster than the answer to our request.
create table call_events (
    id uuid primary key,
    provider text not null,
    -- The provider's id of the event: a repetition changes nothing.
    external_id text not null,
    provider_ref text not null,
    -- Null while the call that it belongs to is not known.
    call_id uuid references calls (id),
    leg text not null,
    state text not null,
    talk_s integer,
    failure text,
    -- By the provider's clock.
    at timestamptz not null,
    received_at timestamptz not null,
    constraint call_events_external_key unique (provider, external_id),
    constraint call_events_leg_check check (leg in ('agent', 'callee'))
);
create index call_events_parked_idx on call_events (provider, provider_ref) where call_id is null;
create index call_events_call_idx on call_events (call_id, received_at);

-- Every request to a provider with its answer, in both directions: sealed whole under the lead's key, and a view
-- without numbers and secrets.
create table provider_exchanges (
    id uuid primary key,
    provider text not null,
    operation text not null,
    -- out: we asked; in: a webhook.
    direction text not null,
    lead_id uuid references leads (id),
    call_id uuid references calls (id),
    provider_ref text,
    http_status smallint,
    latency_ms integer,
    failure text,
    request_sealed bytea,
    response_sealed bytea,
    request jsonb not null,
    response jsonb not null,
    at timestamptz not null,
    constraint provider_exchanges_direction_check check (direction in ('in', 'out'))
);
create index provider_exchanges_call_idx on provider_exchanges (call_id, at, id);
create index provider_exchanges_parked_idx on provider_exchanges (provider, provider_ref) where call_id is null;

-- What an agent may say about a call.
create table call_dispositions (
    code text primary key,
    label_tr text not null,
    label_en text not null,
    -- The statuses that are worth proposing after it, the likeliest first.
    suggests text[] not null,
    position smallint not null
);
insert into call_dispositions (code, label_tr, label_en, suggests, position) values
    ('reached', 'Görüşüldü', 'Reached', '{interested,not_interested,qualified}', 1),
    ('callback', 'Geri aranacak', 'Call back', '{}', 2),
    ('no_answer', 'Cevap vermedi', 'No answer', '{no_answer}', 3),
    ('busy', 'Meşgul', 'Busy', '{no_answer}', 4),
    ('voicemail', 'Telesekreter', 'Voicemail', '{no_answer}', 5),
    ('wrong_number', 'Yanlış numara', 'Wrong number', '{wrong_number}', 6),
    ('do_not_call', 'Aranmak istemiyor', 'Do not call', '{blocked}', 7),
    ('technical', 'Teknik sorun', 'Technical problem', '{}', 8);
alter table calls add constraint calls_disposition_fkey foreign key (disposition) references call_dispositions (code);

-- What a status does, which one may follow which, the admin queue, and cooling-off.

-- What entering a status does. All of it happens in the transaction of the change.
alter table statuses
    -- The change wants a reason: why the lead was lost.
    add column needs_reason boolean not null default false,
    -- The lead leaves its owner and goes to the admin queue.
    add column takes_owner boolean not null default false,
    -- For so long the owner that it leaves does not get the lead again.
    add column cooling_off_days smallint not null default 0,
    -- The person said stop on this channel: the consent ledger says so from then on.
    add column suppresses text,
    -- The number is somebody else's: it is not called, and decides no identity, until it is corrected.
    add column spoils_phone boolean not null default false,
    -- How a lead leaves the admin queue by itself: corrected, when its phone was; after, when so many seconds have
    -- passed. Null: when an administrator says so.
    add column redistribute text,
    add column redistribute_after_s integer,
    add constraint statuses_cooling_off_check check (cooling_off_days between 0 and 3650),
    add constraint statuses_suppresses_check check (suppresses in ('call', 'whatsapp', 'sms', 'email')),
    add constraint statuses_redistribute_check check (
        redistribute is null and redistribute_after_s is null
        or redistribute = 'corrected' and redistribute_after_s is null
        or redistribute = 'after' and redistribute_after_s >= 0
    );
update statuses set needs_reason = true where code = 'lost';
update statuses
set takes_owner = true, cooling_off_days = 90, spoils_phone = true, redistribute = 'corrected'
where code = 'wrong_number';
update statuses
set takes_owner = true, cooling_off_days = 180, suppresses = 'call', redistribute = 'after', redistribute_after_s = 86400
where code = 'blocked';

-- Which status may follow which, and the permission that it takes. What is not here is refused.
create table status_transitions (
    from_status text not null references statuses (code),
    to_status text not null references statuses (code),
    permission text not null,
    primary key (from_status, to_status),
    constraint status_transitions_differ_check check (from_status <> to_status),
    constraint status_transitions_permission_check check (
        permission in ('leads.edit', 'leads.reopen', 'leads.redistribute')
    )
);
insert into status_transitions (from_status, to_status, permission)
select from_status, to_status, 'leads.edit'
from (values
    ('new', '{no_answer,interested,not_interested,wrong_number,blocked,lost}'),
    ('no_answer', '{interested,not_interested,wrong_number,blocked,lost}'),
    ('interested', '{no_answer,not_interested,qualified,wrong_number,blocked,lost}'),
    ('not_interested', '{no_answer,interested,wrong_number,blocked,lost}'),
    ('qualified', '{no_answer,interested,not_interested,proposal,wrong_number,blocked,lost}'),
    ('proposal', '{no_answer,interested,not_interested,qualified,sale,wrong_number,blocked,lost}')
) as allowed (from_status, targets)
cross join lateral unnest(targets::text[]) as target (to_status);
insert into status_transitions (from_status, to_status, permission) values
    ('wrong_number', 'new', 'leads.redistribute'),
    ('wrong_number', 'lost', 'leads.redistribute'),
    ('blocked', 'new', 'leads.redistribute'),
    ('blocked', 'lost', 'leads.redistribute'),
    ('sale', 'new', 'leads.reopen'),
    ('lost', 'new', 'leads.reopen');

-- Where a lead without an owner is: with its pool, or with the administrators.
alter table leads
    add column queue text not null default 'pool',
    add constraint leads_queue_check check (
        queue = 'pool' or queue = 'admin' and owner_id is null and waiting_since is null
    );
create index leads_admin_queue_idx on leads (created_at desc, id desc) where queue = 'admin';

-- Since when the contact is known to be somebody else's.
alter table lead_contacts add column invalid_since timestamptz;
drop index lead_contacts_phone_key;
-- The phone decides: one lead per number. A number that was wrong is free for whoever it really belongs to.
create unique index lead_contacts_phone_key on lead_contacts (blind_index)
    where kind = 'phone' and not shared and not is_test and invalid_since is null;

-- For so long this person does not get this lead.
create table cooling_offs (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    user_id uuid not null references users (id),
    -- The status that opened it.
    reason text not null,
    opened_at timestamptz not null,
    until timestamptz not null,
    -- Set by the wake-up at its end.
    ended_at timestamptz,
    constraint cooling_offs_order_check check (opened_at < until)
);
-- Serves routing and the gate of calls.
create index cooling_offs_live_idx on cooling_offs (lead_id, user_id) where ended_at is null;

-- Who was in cooling-off with which lead of the batch: position of the lead -> ids. Part of what the routing function
-- saw, so that a decision can be replayed.
alter table routing_batches add column cooling_offs jsonb not null default '{}';

-- Who leads a team: escalations go there first.
alter table teams add column lead_id uuid references users (id);
-- An agent's line at the telephony provider; no personal data.
alter table users
    add column extension text,
    add constraint users_extension_check check (extension ~ '^[0-9]{1,10}$');

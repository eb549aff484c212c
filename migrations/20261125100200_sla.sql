-- Promises about time: policies, the timers that they start, follow-ups, and what people are told about them.

create table sla_policies (
    code text primary key,
    label_tr text not null,
    label_en text not null,
    -- All times of a policy are working time of this calendar, in seconds.
    calendar_id uuid not null references calendars (id),
    -- From the start until the first action is due.
    due_s integer not null,
    -- Reminders of the owner: from the start, each before it is due.
    remind_at_s integer[] not null,
    -- What follows when it was not kept, in order: [{"after_s": 0, "to": "team_lead"}], from the time it was due.
    -- team_lead, manager, admins: told. admin_queue: the lead leaves its owner.
    escalations jsonb not null,
    -- Which call keeps it: attempt (the other side rang or was busy) or conversation (it answered).
    call_counts text not null,
    updated_at timestamptz not null default now(),
    constraint sla_policies_due_check check (due_s between 1 and 31536000),
    constraint sla_policies_call_counts_check check (call_counts in ('attempt', 'conversation'))
);
insert into sla_policies (code, label_tr, label_en, calendar_id, due_s, remind_at_s, escalations, call_counts)
select code, label_tr, label_en, calendar.id, due_s, remind_at_s::integer[], escalations::jsonb, call_counts
from (values
    ('first_response', 'İlk yanıt', 'First response', 1800, '{900}',
        '[{"after_s":0,"to":"team_lead"},{"after_s":1800,"to":"manager"},{"after_s":7200,"to":"admin_queue"}]', 'attempt'),
    ('call_again', 'Cevapsız: yeniden ara', 'No answer: call again', 14400, '{10800}',
        '[{"after_s":0,"to":"team_lead"},{"after_s":32400,"to":"manager"}]', 'attempt'),
    ('keep_interested', 'İlgili: takip et', 'Interested: follow up', 28800, '{21600}',
        '[{"after_s":0,"to":"team_lead"},{"after_s":32400,"to":"manager"}]', 'conversation'),
    ('win_back', 'İlgisiz: yeniden dene', 'Not interested: try again', 162000, '{145800}',
        '[{"after_s":0,"to":"team_lead"}]', 'attempt'),
    ('correct_number', 'Yanlış numara: düzelt', 'Wrong number: correct it', 28800, '{21600}',
        '[{"after_s":0,"to":"admins"}]', 'conversation'),
    ('decide_blocked', 'Block: karar ver', 'Blocked: decide', 28800, '{21600}',
        '[{"after_s":0,"to":"admins"}]', 'conversation')
) as policy (code, label_tr, label_en, due_s, remind_at_s, escalations, call_counts)
cross join (select id from calendars where is_default) as calendar;

-- The promise that a lead in this status is under.
alter table statuses add column sla_policy text references sla_policies (code);
update statuses set sla_policy = case code
    when 'new' then 'first_response'
    when 'no_answer' then 'call_again'
    when 'interested' then 'keep_interested'
    when 'not_interested' then 'win_back'
    when 'wrong_number' then 'correct_number'
    when 'blocked' then 'decide_blocked'
end;

-- One promise about one lead.
create table sla_timers (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    policy text not null references sla_policies (code),
    -- running, paused; satisfied: kept or at last done; superseded: its purpose is gone.
    state text not null,
    started_at timestamptz not null,
    -- Working time used up before running_since, in seconds.
    consumed_s bigint not null default 0,
    -- Null while paused, and at the end.
    running_since timestamptz,
    -- By the calendar as it is; null while paused.
    due_at timestamptz,
    -- Until when it is paused.
    paused_until timestamptz,
    -- Raised by the timer, not by the next change.
    breached_at timestamptz,
    -- Steps of the policy up to this working time from the start were taken.
    done_until_s bigint not null default 0,
    ended_at timestamptz,
    end_reason text,
    constraint sla_timers_state_check check (state in ('running', 'paused', 'satisfied', 'superseded')),
    constraint sla_timers_running_check check ((state = 'running') = (running_since is not null)),
    constraint sla_timers_paused_check check ((state = 'paused') = (paused_until is not null)),
    constraint sla_timers_due_check check (state <> 'running' or due_at is not null),
    constraint sla_timers_ended_check check (
        (ended_at is not null) = (state in ('satisfied', 'superseded')) and (ended_at is null) = (end_reason is null)
    )
);
-- One live promise of a kind about a lead.
create unique index sla_timers_live_key on sla_timers (lead_id, policy) where ended_at is null;
-- Serves what is overdue, the longest first.
create index sla_timers_due_idx on sla_timers (due_at, id) where ended_at is null;
create index sla_timers_lead_idx on sla_timers (lead_id, started_at desc, id desc);

-- Something agreed with the person for a certain time.
create table follow_ups (
    id uuid primary key,
    lead_id uuid not null references leads (id),
    -- Who planned it and is reminded, as long as the lead is theirs; else its owner.
    user_id uuid not null references users (id),
    due_at timestamptz not null,
    -- open, done; superseded by a later plan.
    state text not null default 'open',
    created_at timestamptz not null,
    reminded_at timestamptz,
    closed_at timestamptz,
    constraint follow_ups_state_check check (state in ('open', 'done', 'superseded')),
    constraint follow_ups_closed_check check ((closed_at is null) = (state = 'open'))
);
-- One plan at a time.
create unique index follow_ups_open_key on follow_ups (lead_id) where state = 'open';

-- What somebody is told, until they have read it.
create table notifications (
    id uuid primary key,
    user_id uuid not null references users (id),
    -- sla.reminder, sla.breached, sla.escalated, follow_up.due
    code text not null,
    lead_id uuid not null references leads (id),
    -- Ids, codes and times.
    body jsonb not null,
    created_at timestamptz not null,
    read_at timestamptz
);
create index notifications_user_idx on notifications (user_id, created_at desc, id desc);
create index notifications_unread_idx on notifications (user_id, created_at desc, id desc) where read_at is null;

-- People who work with leads: who they are, when they work, how much they can carry.

create table teams (
    id uuid primary key,
    name text not null,
    constraint teams_name_key unique (name)
);

create table users (
    id uuid primary key,
    -- Lower-case; what one signs in with.
    username text not null,
    display_name text not null,
    role text not null,
    team_id uuid references teams (id),
    -- argon2id in PHC form.
    password_hash text not null,
    active boolean not null default true,
    -- IANA name; working hours are in this zone.
    time_zone text not null default 'Europe/Istanbul',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint users_username_key unique (username),
    constraint users_role_check check (role in ('admin', 'manager', 'agent', 'auditor')),
    constraint users_username_check check (username ~ '^[a-z0-9][a-z0-9._-]{1,62}$')
);
create index users_team_idx on users (team_id);

-- Working hours: any number of half-open blocks [starts, ends) a weekday. A user without any block always works.
create table working_hours (
    user_id uuid not null references users (id),
    -- ISO: 1 is Monday, 7 is Sunday.
    weekday smallint not null,
    -- Minutes from midnight in the user's zone.
    starts_minute smallint not null,
    ends_minute smallint not null,
    primary key (user_id, weekday, starts_minute),
    constraint working_hours_weekday_check check (weekday between 1 and 7),
    constraint working_hours_block_check check (0 <= starts_minute and starts_minute < ends_minute and ends_minute <= 1440)
);

-- Absences, half-open.
create table absences (
    id uuid primary key,
    user_id uuid not null references users (id),
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    constraint absences_order_check check (starts_at < ends_at)
);
create index absences_user_idx on absences (user_id, ends_at);

-- What an agent carries. Every path that gives or takes a lead updates it conditionally, rows in id order;
-- the checks make "over capacity" impossible whatever the code does.
create table agent_load (
    user_id uuid primary key references users (id),
    -- Sum of the load weights of the open leads owned.
    open_weight integer not null default 0,
    capacity integer not null,
    -- Leads taken on day_of, in the user's zone.
    day_of date,
    day_count integer not null default 0,
    day_capacity integer not null,
    last_assigned_at timestamptz,
    constraint agent_load_open_check check (0 <= open_weight and open_weight <= capacity),
    constraint agent_load_day_check check (0 <= day_count and day_count <= day_capacity)
);

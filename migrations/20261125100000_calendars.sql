-- When a business is open: weekly hours and holidays, in a zone. Deadlines are counted in them.

create table calendars (
    id uuid primary key,
    name text not null,
    -- IANA name; hours and holidays are on the wall clock of this zone.
    time_zone text not null,
    -- The calendar of whatever names none.
    is_default boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint calendars_name_key unique (name),
    constraint calendars_name_check check (length(name) between 1 and 120)
);
create unique index calendars_default_key on calendars (is_default) where is_default;

-- Any number of half-open blocks [starts, ends) a weekday. A calendar without any block is open around the clock.
create table calendar_hours (
    calendar_id uuid not null references calendars (id),
    -- ISO: 1 is Monday, 7 is Sunday.
    weekday smallint not null,
    -- Minutes from midnight in the calendar's zone.
    starts_minute smallint not null,
    ends_minute smallint not null,
    primary key (calendar_id, weekday, starts_minute),
    constraint calendar_hours_weekday_check check (weekday between 1 and 7),
    constraint calendar_hours_block_check check (0 <= starts_minute and starts_minute < ends_minute and ends_minute <= 1440)
);

-- Dates, or half-open parts of them, on which a calendar is closed whatever its hours. Closed is what any row closes.
create table calendar_holidays (
    calendar_id uuid not null references calendars (id),
    -- In the calendar's zone.
    day date not null,
    -- Minutes from midnight: 0 to 1440 is the whole date, 780 to 1440 a half day that closes at 13:00.
    closed_from_minute smallint not null,
    closed_to_minute smallint not null,
    name_tr text not null,
    name_en text not null,
    primary key (calendar_id, day, closed_from_minute),
    constraint calendar_holidays_part_check
        check (0 <= closed_from_minute and closed_from_minute < closed_to_minute and closed_to_minute <= 1440),
    constraint calendar_holidays_name_check
        check (length(name_tr) between 1 and 120 and length(name_en) between 1 and 120)
);

-- What is there before anybody sets anything up; it can be changed as any calendar can.
insert into calendars (id, name, time_zone, is_default, created_at, updated_at) values
    ('01a21225-d900-7000-8000-000000000001', 'Türkiye', 'Europe/Istanbul', true,
     '2026-11-25 10:00:00+00', '2026-11-25 10:00:00+00');

insert into calendar_hours (calendar_id, weekday, starts_minute, ends_minute)
select '01a21225-d900-7000-8000-000000000001', weekday, 540, 1080 from generate_series(1, 5) as weekday;

-- Turkey's official holidays, 2025 to 2031, by law 2429. The half days begin at 13:00. Where a half day meets a whole
-- one, the whole one stands (23 April 2029 is also an eve); where two whole ones meet, one row bears both names.
--
-- The dates of Ramazan Bayramı and Kurban Bayramı are the Diyanet's announced ones for 2025 and 2026. Those from 2027
-- on are ESTIMATES: calculated in advance by the rule that the Diyanet follows (the new moon's first visibility
-- anywhere on earth), not yet announced for the year. They are to be checked when each year's calendar appears. Days
-- that a decree adds to a bayram in a single year, for public offices, are not here.
insert into calendar_holidays (calendar_id, day, closed_from_minute, closed_to_minute, name_tr, name_en)
select '01a21225-d900-7000-8000-000000000001', day, closed_from_minute, 1440, name_tr, name_en
from (values
    ('2025-01-01'::date, 0, 'Yılbaşı', 'New Year''s Day'),
    ('2025-03-29', 780, 'Ramazan Bayramı arifesi', 'Eve of Eid al-Fitr'),
    ('2025-03-30', 0, 'Ramazan Bayramı, 1. gün', 'Eid al-Fitr, day 1'),
    ('2025-03-31', 0, 'Ramazan Bayramı, 2. gün', 'Eid al-Fitr, day 2'),
    ('2025-04-01', 0, 'Ramazan Bayramı, 3. gün', 'Eid al-Fitr, day 3'),
    ('2025-04-23', 0, 'Ulusal Egemenlik ve Çocuk Bayramı', 'National Sovereignty and Children''s Day'),
    ('2025-05-01', 0, 'Emek ve Dayanışma Günü', 'Labour and Solidarity Day'),
    ('2025-05-19', 0, 'Atatürk''ü Anma, Gençlik ve Spor Bayramı', 'Commemoration of Atatürk, Youth and Sports Day'),
    ('2025-06-05', 780, 'Kurban Bayramı arifesi', 'Eve of Eid al-Adha'),
    ('2025-06-06', 0, 'Kurban Bayramı, 1. gün', 'Eid al-Adha, day 1'),
    ('2025-06-07', 0, 'Kurban Bayramı, 2. gün', 'Eid al-Adha, day 2'),
    ('2025-06-08', 0, 'Kurban Bayramı, 3. gün', 'Eid al-Adha, day 3'),
    ('2025-06-09', 0, 'Kurban Bayramı, 4. gün', 'Eid al-Adha, day 4'),
    ('2025-07-15', 0, 'Demokrasi ve Millî Birlik Günü', 'Democracy and National Unity Day'),
    ('2025-08-30', 0, 'Zafer Bayramı', 'Victory Day'),
    ('2025-10-28', 780, 'Cumhuriyet Bayramı arifesi', 'Eve of Republic Day'),
    ('2025-10-29', 0, 'Cumhuriyet Bayramı', 'Republic Day'),
    ('2026-01-01', 0, 'Yılbaşı', 'New Year''s Day'),
    ('2026-03-19', 780, 'Ramazan Bayramı arifesi', 'Eve of Eid al-Fitr'),
    ('2026-03-20', 0, 'Ramazan Bayramı, 1. gün', 'Eid al-Fitr, day 1'),
    ('2026-03-21', 0, 'Ramazan Bayramı, 2. gün', 'Eid al-Fitr, day 2'),
    ('2026-03-22', 0, 'Ramazan Bayramı, 3. gün', 'Eid al-Fitr, day 3'),
    ('2026-04-23', 0, 'Ulusal Egemenlik ve Çocuk Bayramı', 'National Sovereignty and Children''s Day'),
    ('2026-05-01', 0, 'Emek ve Dayanışma Günü', 'Labour and Solidarity Day'),
    ('2026-05-19', 0, 'Atatürk''ü Anma, Gençlik ve Spor Bayramı', 'Commemoration of Atatürk, Youth and Sports Day'),
    ('2026-05-26', 780, 'Kurban Bayramı arifesi', 'Eve of Eid al-Adha'),
    ('2026-05-27', 0, 'Kurban Bayramı, 1. gün', 'Eid al-Adha, day 1'),
    ('2026-05-28', 0, 'Kurban Bayramı, 2. gün', 'Eid al-Adha, day 2'),
    ('2026-05-29', 0, 'Kurban Bayramı, 3. gün', 'Eid al-Adha, day 3'),
    ('2026-05-30', 0, 'Kurban Bayramı, 4. gün', 'Eid al-Adha, day 4'),
    ('2026-07-15', 0, 'Demokrasi ve Millî Birlik Günü', 'Democracy and National Unity Day'),
    ('2026-08-30', 0, 'Zafer Bayramı', 'Victory Day'),
    ('2026-10-28', 780, 'Cumhuriyet Bayramı arifesi', 'Eve of Republic Day'),
    ('2026-10-29', 0, 'Cumhuriyet Bayramı', 'Republic Day'),
    ('2027-01-01', 0, 'Yılbaşı', 'New Year''s Day'),
    ('2027-03-08', 780, 'Ramazan Bayramı arifesi', 'Eve of Eid al-Fitr'),
    ('2027-03-09', 0, 'Ramazan Bayramı, 1. gün', 'Eid al-Fitr, day 1'),
    ('2027-03-10', 0, 'Ramazan Bayramı, 2. gün', 'Eid al-Fitr, day 2'),
    ('2027-03-11', 0, 'Ramazan Bayramı, 3. gün', 'Eid al-Fitr, day 3'),
    ('2027-04-23', 0, 'Ulusal Egemenlik ve Çocuk Bayramı', 'National Sovereignty and Children''s Day'),
    ('2027-05-01', 0, 'Emek ve Dayanışma Günü', 'Labour and Solidarity Day'),
    ('2027-05-15', 780, 'Kurban Bayramı arifesi', 'Eve of Eid al-Adha'),
    ('2027-05-16', 0, 'Kurban Bayramı, 1. gün', 'Eid al-Adha, day 1'),
    ('2027-05-17', 0, 'Kurban Bayramı, 2. gün', 'Eid al-Adha, day 2'),
    ('2027-05-18', 0, 'Kurban Bayramı, 3. gün', 'Eid al-Adha, day 3'),
    ('2027-05-19', 0, 'Atatürk''ü Anma, Gençlik ve Spor Bayramı; Kurban Bayramı, 4. gün', 'Commemoration of Atatürk, Youth and Sports Day; Eid al-Adha, day 4'),
    ('2027-07-15', 0, 'Demokrasi ve Millî Birlik Günü', 'Democracy and National Unity Day'),
    ('2027-08-30', 0, 'Zafer Bayramı', 'Victory Day'),
    ('2027-10-28', 780, 'Cumhuriyet Bayramı arifesi', 'Eve of Republic Day'),
    ('2027-10-29', 0, 'Cumhuriyet Bayramı', 'Republic Day'),
    ('2028-01-01', 0, 'Yılbaşı', 'New Year''s Day'),
    ('2028-02-25', 780, 'Ramazan Bayramı arifesi', 'Eve of Eid al-Fitr'),
    ('2028-02-26', 0, 'Ramazan Bayramı, 1. gün', 'Eid al-Fitr, day 1'),
    ('2028-02-27', 0, 'Ramazan Bayramı, 2. gün', 'Eid al-Fitr, day 2'),
    ('2028-02-28', 0, 'Ramazan Bayramı, 3. gün', 'Eid al-Fitr, day 3'),
    ('2028-04-23', 0, 'Ulusal Egemenlik ve Çocuk Bayramı', 'National Sovereignty and Children''s Day'),
    ('2028-05-01', 0, 'Emek ve Dayanışma Günü', 'Labour and Solidarity Day'),
    ('2028-05-04', 780, 'Kurban Bayramı arifesi', 'Eve of Eid al-Adha'),
    ('2028-05-05', 0, 'Kurban Bayramı, 1. gün', 'Eid al-Adha, day 1'),
    ('2028-05-06', 0, 'Kurban Bayramı, 2. gün', 'Eid al-Adha, day 2'),
    ('2028-05-07', 0, 'Kurban Bayramı, 3. gün', 'Eid al-Adha, day 3'),
    ('2028-05-08', 0, 'Kurban Bayramı, 4. gün', 'Eid al-Adha, day 4'),
    ('2028-05-19', 0, 'Atatürk''ü Anma, Gençlik ve Spor Bayramı', 'Commemoration of Atatürk, Youth and Sports Day'),
    ('2028-07-15', 0, 'Demokrasi ve Millî Birlik Günü', 'Democracy and National Unity Day'),
    ('2028-08-30', 0, 'Zafer Bayramı', 'Victory Day'),
    ('2028-10-28', 780, 'Cumhuriyet Bayramı arifesi', 'Eve of Republic Day'),
    ('2028-10-29', 0, 'Cumhuriyet Bayramı', 'Republic Day'),
    ('2029-01-01', 0, 'Yılbaşı', 'New Year''s Day'),
    ('2029-02-13', 780, 'Ramazan Bayramı arifesi', 'Eve of Eid al-Fitr'),
    ('2029-02-14', 0, 'Ramazan Bayramı, 1. gün', 'Eid al-Fitr, day 1'),
    ('2029-02-15', 0, 'Ramazan Bayramı, 2. gün', 'Eid al-Fitr, day 2'),
    ('2029-02-16', 0, 'Ramazan Bayramı, 3. gün', 'Eid al-Fitr, day 3'),
    ('2029-04-23', 0, 'Ulusal Egemenlik ve Çocuk Bayramı', 'National Sovereignty and Children''s Day'),
    ('2029-04-24', 0, 'Kurban Bayramı, 1. gün', 'Eid al-Adha, day 1'),
    ('2029-04-25', 0, 'Kurban Bayramı, 2. gün', 'Eid al-Adha, day 2'),
    ('2029-04-26', 0, 'Kurban Bayramı, 3. gün', 'Eid al-Adha, day 3'),
    ('2029-04-27', 0, 'Kurban Bayramı, 4. gün', 'Eid al-Adha, day 4'),
    ('2029-05-01', 0, 'Emek ve Dayanışma Günü', 'Labour and Solidarity Day'),
    ('2029-05-19', 0, 'Atatürk''ü Anma, Gençlik ve Spor Bayramı', 'Commemoration of Atatürk, Youth and Sports Day'),
    ('2029-07-15', 0, 'Demokrasi ve Millî Birlik Günü', 'Democracy and National Unity Day'),
    ('2029-08-30', 0, 'Zafer Bayramı', 'Victory Day'),
    ('2029-10-28', 780, 'Cumhuriyet Bayramı arifesi', 'Eve of Republic Day'),
    ('2029-10-29', 0, 'Cumhuriyet Bayramı', 'Republic Day'),
    ('2030-01-01', 0, 'Yılbaşı', 'New Year''s Day'),
    ('2030-02-03', 780, 'Ramazan Bayramı arifesi', 'Eve of Eid al-Fitr'),
    ('2030-02-04', 0, 'Ramazan Bayramı, 1. gün', 'Eid al-Fitr, day 1'),
    ('2030-02-05', 0, 'Ramazan Bayramı, 2. gün', 'Eid al-Fitr, day 2'),
    ('2030-02-06', 0, 'Ramazan Bayramı, 3. gün', 'Eid al-Fitr, day 3'),
    ('2030-04-12', 780, 'Kurban Bayramı arifesi', 'Eve of Eid al-Adha'),
    ('2030-04-13', 0, 'Kurban Bayramı, 1. gün', 'Eid al-Adha, day 1'),
    ('2030-04-14', 0, 'Kurban Bayramı, 2. gün', 'Eid al-Adha, day 2'),
    ('2030-04-15', 0, 'Kurban Bayramı, 3. gün', 'Eid al-Adha, day 3'),
    ('2030-04-16', 0, 'Kurban Bayramı, 4. gün', 'Eid al-Adha, day 4'),
    ('2030-04-23', 0, 'Ulusal Egemenlik ve Çocuk Bayramı', 'National Sovereignty and Children''s Day'),
    ('2030-05-01', 0, 'Emek ve Dayanışma Günü', 'Labour and Solidarity Day'),
    ('2030-05-19', 0, 'Atatürk''ü Anma, Gençlik ve Spor Bayramı', 'Commemoration of Atatürk, Youth and Sports Day'),
    ('2030-07-15', 0, 'Demokrasi ve Millî Birlik Günü', 'Democracy and National Unity Day'),
    ('2030-08-30', 0, 'Zafer Bayramı', 'Victory Day'),
    ('2030-10-28', 780, 'Cumhuriyet Bayramı arifesi', 'Eve of Republic Day'),
    ('2030-10-29', 0, 'Cumhuriyet Bayramı', 'Republic Day'),
    ('2031-01-01', 0, 'Yılbaşı', 'New Year''s Day'),
    ('2031-01-23', 780, 'Ramazan Bayramı arifesi', 'Eve of Eid al-Fitr'),
    ('2031-01-24', 0, 'Ramazan Bayramı, 1. gün', 'Eid al-Fitr, day 1'),
    ('2031-01-25', 0, 'Ramazan Bayramı, 2. gün', 'Eid al-Fitr, day 2'),
    ('2031-01-26', 0, 'Ramazan Bayramı, 3. gün', 'Eid al-Fitr, day 3'),
    ('2031-04-01', 780, 'Kurban Bayramı arifesi', 'Eve of Eid al-Adha'),
    ('2031-04-02', 0, 'Kurban Bayramı, 1. gün', 'Eid al-Adha, day 1'),
    ('2031-04-03', 0, 'Kurban Bayramı, 2. gün', 'Eid al-Adha, day 2'),
    ('2031-04-04', 0, 'Kurban Bayramı, 3. gün', 'Eid al-Adha, day 3'),
    ('2031-04-05', 0, 'Kurban Bayramı, 4. gün', 'Eid al-Adha, day 4'),
    ('2031-04-23', 0, 'Ulusal Egemenlik ve Çocuk Bayramı', 'National Sovereignty and Children''s Day'),
    ('2031-05-01', 0, 'Emek ve Dayanışma Günü', 'Labour and Solidarity Day'),
    ('2031-05-19', 0, 'Atatürk''ü Anma, Gençlik ve Spor Bayramı', 'Commemoration of Atatürk, Youth and Sports Day'),
    ('2031-07-15', 0, 'Demokrasi ve Millî Birlik Günü', 'Democracy and National Unity Day'),
    ('2031-08-30', 0, 'Zafer Bayramı', 'Victory Day'),
    ('2031-10-28', 780, 'Cumhuriyet Bayramı arifesi', 'Eve of Republic Day'),
    ('2031-10-29', 0, 'Cumhuriyet Bayramı', 'Republic Day')
) as holiday (day, closed_from_minute, name_tr, name_en);

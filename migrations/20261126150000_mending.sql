-- Bad rows that were mended: kept as what became of them, so that mending one twice changes nothing.
alter table import_rows
    add column mended_at timestamptz,
    -- created, joined or reopened, and the lead.
    add column effect text,
    add column lead_id uuid,
    add constraint import_rows_mended_check
        check ((mended_at is null) = (effect is null) and (mended_at is null) = (lead_id is null)),
    add constraint import_rows_effect_check check (effect in ('created', 'joined', 'reopened'));

-- What somebody put in the place of what a person had written, as JSON, sealed under the event's own key.
alter table inbound_events add column correction bytea;

-- Whether SMS and WhatsApp may be tried: the number's plan says that it is mobile, or does not tell. Known when the number is
-- sealed, and needed when it is not opened. Numbers that were stored before count as unable until they are corrected.
alter table lead_contacts
    add column can_text boolean not null default false,
    add constraint lead_contacts_text_check check (not can_text or kind = 'phone');

-- Names are found by their words: HMACs over folded words, under a key that never enters the database, cut to 64 bits.
-- Leads that were stored before have none, and are found by their contacts.
alter table leads add column name_tokens bigint[];
create index leads_name_tokens_idx on leads using gin (name_tokens);

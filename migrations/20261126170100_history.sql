-- Keeping history for a while: how what is too old is found.
create index workflows_finished_idx on engine.workflows (finished_at) where finished_at is not null;
-- Rows lie in the order of their time, so that a summary a block range is enough, and costs an insert next to nothing.
create index job_tags_created_idx on engine.job_tags using brin (created_at);

-- What always holds for rows of the tables that each job or step writes to. Constraints in the tests' databases alone: docs/adr/0016.

alter table engine.jobs
    add constraint jobs_state_check check (state in ('scheduled', 'held', 'ready', 'running', 'dead')),
    add constraint jobs_session_check check ((state = 'running') = (session is not null)),
    add constraint jobs_attempt_check check (attempt >= 0 and attempts_max > 0),
    add constraint jobs_held_check check (state <> 'held' or gate is not null);
alter table engine.finished
    add constraint finished_outcome_check check (outcome in ('done', 'cancelled', 'merged'));
alter table engine.workflow_steps
    add constraint workflow_steps_workflow_id_fkey foreign key (workflow_id) references engine.workflows (id);

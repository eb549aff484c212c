-- A step changes its workflow's row once and adds one row of history: what either costs is what a workflow costs.

-- Room for the next version of a row in its page: a step that changes nothing indexed then adds nothing to any index.
alter table engine.workflows set (fillfactor = 50);
-- A step is written under the lock of its workflow's row, and history goes with it: the look-up for each row proved nothing.
alter table engine.workflow_steps drop constraint workflow_steps_workflow_id_fkey;

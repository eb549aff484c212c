-- Proofs of single events, and the auditor's search.

-- Roots of complete subtrees: of 256 leaves at level 1, of 256 of those at level 2, and so on. A proof is made of a few of them.
create table audit_tile (
    level smallint,
    place bigint,
    hash bytea not null,
    primary key (level, place)
);
create trigger audit_tile_no_change before update or delete on audit_tile
    for each row execute function audit_refuse();
create trigger audit_tile_no_truncate before truncate on audit_tile
    for each statement execute function audit_refuse();
alter table audit_tile enable always trigger audit_tile_no_change;
alter table audit_tile enable always trigger audit_tile_no_truncate;

-- Serve the auditor's search, newest first.
create index audit_event_actor_idx on audit_event (actor, id);
create index audit_event_action_idx on audit_event (action, id);

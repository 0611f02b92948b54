-- A collection that nobody has used for `idle_s` seconds goes with its documents; 0 for one that stays.
ALTER TABLE collection ADD COLUMN idle_s bigint NOT NULL DEFAULT 0, ADD COLUMN used double precision NOT NULL DEFAULT 0;
CREATE INDEX collection_idle ON collection (used) WHERE idle_s > 0;

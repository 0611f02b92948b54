-- Digest of the end user whose request was kept: found by it when their data is erased. Records of before have none.
ALTER TABLE record ADD COLUMN subject text NOT NULL DEFAULT '';
CREATE INDEX record_subject ON record (tenant, subject) WHERE subject <> '';

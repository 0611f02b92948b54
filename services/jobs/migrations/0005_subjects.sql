-- Digest of the end user whose request it is: found by it when their data is erased. Jobs that were handed in before have none.
ALTER TABLE job ADD COLUMN subject text NOT NULL DEFAULT '';
CREATE INDEX job_subject ON job (tenant, subject) WHERE subject <> '';

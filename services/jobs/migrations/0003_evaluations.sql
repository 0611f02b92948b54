-- What was handed in under a request id, so that other work under the same one is refused.
ALTER TABLE job ADD COLUMN digest bytea;
-- An evaluation is a batch whose lines have scores: `kind` stays 'batch' and 'case', for the indexes of what waits.
ALTER TABLE job ADD COLUMN evaluation boolean NOT NULL DEFAULT false;
ALTER TABLE job ADD COLUMN scores jsonb NOT NULL DEFAULT '{}';
-- Whether the answer is shown as it grows, and what of it is there.
ALTER TABLE job ADD COLUMN shown boolean NOT NULL DEFAULT false;
ALTER TABLE job ADD COLUMN partial text NOT NULL DEFAULT '';
CREATE INDEX delivery_job ON delivery (job);

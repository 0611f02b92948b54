-- Until when what has ended is kept. In UTC, where a time and an interval make the same time everywhere: only such can be indexed.
DROP INDEX job_old;
CREATE INDEX job_kept ON job ((timezone('UTC', ended) + keep)) WHERE ended IS NOT NULL AND parent IS NULL;

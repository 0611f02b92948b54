-- Answers that were given at once are kept as jobs that have succeeded. There may be far more of them than there are jobs, and
-- nobody lists them together.
DROP INDEX job_listed;
CREATE INDEX job_listed ON job (account, created DESC, id) WHERE parent IS NULL AND kind <> 'answer';
CREATE INDEX job_answers ON job (account, created DESC, id) WHERE kind = 'answer';

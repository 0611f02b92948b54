-- A job is one row from the moment it is taken until its result is no longer kept. Lines of a batch are jobs with a parent.
CREATE TABLE job (
    id uuid PRIMARY KEY,
    parent uuid REFERENCES job ON DELETE CASCADE,
    line int,
    custom_id text NOT NULL DEFAULT '',
    request_id text NOT NULL DEFAULT '',
    kind text NOT NULL,
    account text NOT NULL,
    tenant text NOT NULL,
    key_id text NOT NULL,
    state smallint NOT NULL,
    priority smallint NOT NULL,
    created timestamptz NOT NULL,
    ready timestamptz NOT NULL, -- not to be begun before
    deadline timestamptz NOT NULL,
    started timestamptz,
    ended timestamptz,
    keep interval NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    worker uuid,
    lease timestamptz,
    total bigint NOT NULL DEFAULT 1,
    succeeded bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    webhook text NOT NULL DEFAULT '',
    metadata jsonb NOT NULL DEFAULT '{}',
    code int NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    message text NOT NULL DEFAULT '',
    request bytea NOT NULL,
    result bytea
);
CREATE UNIQUE INDEX job_request ON job (account, request_id) WHERE request_id <> '';
CREATE INDEX job_waiting ON job (tenant, priority DESC, ready, id) WHERE state = 1 AND kind <> 'batch';
CREATE INDEX job_running ON job (tenant) WHERE state = 2 AND kind <> 'batch';
CREATE INDEX job_leased ON job (lease) WHERE state = 2 AND kind <> 'batch';
CREATE INDEX job_lines ON job (parent, line) WHERE parent IS NOT NULL;
CREATE INDEX job_listed ON job (account, created DESC, id) WHERE parent IS NULL;
CREATE INDEX job_late ON job (deadline) WHERE state = 1 AND kind <> 'batch';
CREATE INDEX job_old ON job (ended) WHERE ended IS NOT NULL AND parent IS NULL;

-- What the broker is to be told, written with what it tells of: sent at least once.
CREATE TABLE outbox (
    id bigserial PRIMARY KEY,
    topic text NOT NULL,
    key text NOT NULL,
    body bytea NOT NULL,
    due timestamptz NOT NULL
);
CREATE INDEX outbox_due ON outbox (due, id);

-- Webhooks, and how they fared.
CREATE TABLE delivery (
    id uuid PRIMARY KEY,
    job uuid NOT NULL REFERENCES job ON DELETE CASCADE,
    tenant text NOT NULL,
    url text NOT NULL,
    body bytea NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    due timestamptz, -- null once delivered, or given up
    delivered timestamptz,
    status int NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT ''
);
CREATE INDEX delivery_due ON delivery (due) WHERE due IS NOT NULL;

-- A candidate that is asked what others answer. `spec` is a tollway.registry.v1.Shadow.
CREATE TABLE shadow (
    tenant text NOT NULL,
    name text NOT NULL,
    revision bigint NOT NULL,
    spec bytea NOT NULL,
    key_id text NOT NULL,
    account text NOT NULL,
    created timestamptz NOT NULL,
    skipped bigint NOT NULL DEFAULT 0,
    promoted timestamptz,
    PRIMARY KEY (tenant, name)
);

-- Two answers to one request; what they say is in the job.
CREATE TABLE comparison (
    number bigserial PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    tenant text NOT NULL,
    name text NOT NULL,
    revision bigint NOT NULL,
    job uuid NOT NULL,
    state text NOT NULL DEFAULT 'waiting', -- done, failed, skipped
    due timestamptz NOT NULL,
    looks int NOT NULL DEFAULT 0,
    trace text NOT NULL DEFAULT '',
    expected boolean NOT NULL, -- the correct answer is known
    live_cost bigint NOT NULL DEFAULT 0,
    live_took interval NOT NULL DEFAULT '0',
    candidate_cost bigint,
    candidate_took interval,
    candidate jsonb NOT NULL DEFAULT '{}', -- scores by measure
    live jsonb NOT NULL DEFAULT '{}',
    at timestamptz NOT NULL,
    FOREIGN KEY (tenant, name) REFERENCES shadow ON DELETE CASCADE
);
CREATE INDEX comparison_due ON comparison (due) WHERE state = 'waiting';
CREATE INDEX comparison_listed ON comparison (tenant, name, number DESC);
CREATE INDEX comparison_old ON comparison (at);

-- What a measure found so far: sums, and the logarithms of the bets.
CREATE TABLE verdict (
    tenant text NOT NULL,
    name text NOT NULL,
    revision bigint NOT NULL,
    measure text NOT NULL,
    pairs bigint NOT NULL,
    total float8 NOT NULL,
    squares float8 NOT NULL,
    candidate float8 NOT NULL,
    live float8 NOT NULL,
    up float8[] NOT NULL,
    down float8[] NOT NULL,
    PRIMARY KEY (tenant, name, revision, measure),
    FOREIGN KEY (tenant, name) REFERENCES shadow ON DELETE CASCADE
);

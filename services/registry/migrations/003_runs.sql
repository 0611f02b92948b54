-- A candidate's answers to a dataset.
CREATE TABLE run (
    number bigserial PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    tenant text NOT NULL,
    dataset text NOT NULL,
    version int NOT NULL,
    candidate bytea NOT NULL, -- a tollway.registry.v1.Candidate
    measures text[] NOT NULL,
    job uuid NOT NULL,
    state text NOT NULL DEFAULT 'running', -- done, cancelled
    due timestamptz NOT NULL,
    cases bigint NOT NULL,
    key_id text NOT NULL,
    account text NOT NULL,
    created timestamptz NOT NULL
);
CREATE INDEX run_listed ON run (tenant, number DESC);
CREATE INDEX run_due ON run (due) WHERE state = 'running';

CREATE TABLE run_result (
    run uuid NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    line int NOT NULL,
    case_id text NOT NULL,
    scores jsonb NOT NULL DEFAULT '{}',
    error text NOT NULL DEFAULT '',
    cost bigint NOT NULL DEFAULT 0,
    took interval NOT NULL DEFAULT '0',
    PRIMARY KEY (run, line)
);

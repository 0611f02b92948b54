-- Requests and answers that a policy keeps, masked. `record` is a tollway.registry.v1.Record.
CREATE TABLE record (
    number bigserial PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    tenant text NOT NULL,
    trace text NOT NULL DEFAULT '',
    record bytea NOT NULL,
    review text NOT NULL DEFAULT '', -- waiting, approved, corrected, rejected
    reviewer text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    correction text NOT NULL DEFAULT '',
    at timestamptz NOT NULL,
    decided timestamptz,
    expires timestamptz NOT NULL
);
CREATE INDEX record_listed ON record (tenant, number DESC);
CREATE INDEX record_review ON record (tenant, review, number DESC) WHERE review <> '';
CREATE INDEX record_trace ON record (tenant, trace) WHERE trace <> '';
CREATE INDEX record_old ON record (expires);

-- What people made of answers. `feedback` is a tollway.registry.v1.Feedback.
CREATE TABLE feedback (
    number bigserial PRIMARY KEY,
    tenant text NOT NULL,
    trace text NOT NULL DEFAULT '',
    feedback bytea NOT NULL,
    key_id text NOT NULL,
    at timestamptz NOT NULL,
    expires timestamptz NOT NULL
);
CREATE INDEX feedback_listed ON feedback (tenant, number DESC);
CREATE INDEX feedback_trace ON feedback (tenant, trace) WHERE trace <> '';
CREATE INDEX feedback_old ON feedback (expires);

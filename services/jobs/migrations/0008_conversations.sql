-- What was said, turn after turn, until nobody has gone on from it for `idle`. `places` is the place of the next item.
CREATE TABLE conversation (
    id uuid PRIMARY KEY,
    account text NOT NULL,
    tenant text NOT NULL,
    created timestamptz NOT NULL DEFAULT now(),
    used timestamptz NOT NULL DEFAULT now(),
    idle interval NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    sealed bytea NOT NULL DEFAULT '',
    places bigint NOT NULL DEFAULT 0
);
CREATE INDEX conversation_tenant ON conversation (tenant);
-- In UTC, where a time and an interval make the same time everywhere: only such can be indexed.
CREATE INDEX conversation_idle ON conversation ((timezone('UTC', used) + idle));

-- `subject` is the digest of the end user in whose turn it was said: found by it when their data is erased.
CREATE TABLE item (
    conversation uuid NOT NULL REFERENCES conversation ON DELETE CASCADE,
    place bigint NOT NULL,
    id text NOT NULL,
    subject text NOT NULL DEFAULT '',
    body bytea NOT NULL,
    PRIMARY KEY (conversation, place),
    UNIQUE (conversation, id)
);
CREATE INDEX item_subject ON item (subject) WHERE subject <> '';

-- The conversation that a job is a turn of, which has it once the job has succeeded.
ALTER TABLE job ADD COLUMN conversation uuid;

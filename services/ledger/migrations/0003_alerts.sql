-- What is watched of an account's keys, as JSON of its rules.
CREATE TABLE safeguard (
    account text  PRIMARY KEY,
    rules   jsonb NOT NULL
);

-- What people should know of. `once` tells the same thing seen twice.
CREATE TABLE alert (
    id      bigserial   PRIMARY KEY,
    once    text        NOT NULL UNIQUE,
    kind    text        NOT NULL,
    account text        NOT NULL,
    subject text        NOT NULL,
    text    text        NOT NULL,
    at      timestamptz NOT NULL
);
CREATE INDEX ON alert (account text_pattern_ops, id);

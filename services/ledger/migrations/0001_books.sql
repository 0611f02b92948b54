CREATE TABLE api_key (
    id          text        PRIMARY KEY,
    account     text        NOT NULL,
    name        text        NOT NULL,
    secret_hash bytea       NOT NULL UNIQUE,
    admin       boolean     NOT NULL,
    models      text[]      NOT NULL,
    created     timestamptz NOT NULL,
    expires     timestamptz,
    revoked     timestamptz,
    request_id  text UNIQUE
);
CREATE INDEX ON api_key (revoked) WHERE revoked IS NOT NULL;

-- Public halves only: each replica keeps its own private half in memory.
CREATE TABLE signing_key (
    id      text        PRIMARY KEY,
    ed25519 bytea       NOT NULL,
    expires timestamptz NOT NULL
);

-- What replicas share to seal holds.
CREATE TABLE secret (
    name  text  PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE budget (
    account   text   NOT NULL,
    name      text   NOT NULL,
    unit      text   NOT NULL,
    "limit"   bigint NOT NULL CHECK ("limit" >= 0),
    "window"  text   NOT NULL,
    time_zone text   NOT NULL,
    model     text   NOT NULL,
    warn_at   double precision NOT NULL,
    PRIMARY KEY (account, name)
);

-- The standing of a budget in one window. `spent` is the sum of its charges; `leased` is out with replicas.
CREATE TABLE meter (
    account text        NOT NULL,
    name    text        NOT NULL,
    started timestamptz NOT NULL,
    spent   bigint      NOT NULL,
    leased  bigint      NOT NULL CHECK (leased >= 0),
    PRIMARY KEY (account, name, started),
    FOREIGN KEY (account, name) REFERENCES budget ON DELETE CASCADE
);

-- How much of a meter a replica may grant from memory. A dead replica's lease returns once it expires.
CREATE TABLE lease (
    replica uuid        NOT NULL,
    account text        NOT NULL,
    name    text        NOT NULL,
    started timestamptz NOT NULL,
    amount  bigint      NOT NULL CHECK (amount >= 0),
    expires timestamptz NOT NULL,
    PRIMARY KEY (replica, account, name, started),
    FOREIGN KEY (account, name, started) REFERENCES meter ON DELETE CASCADE
);

-- One row ends a reservation, for good: nothing here is ever updated.
CREATE TABLE entry (
    reservation_id uuid        PRIMARY KEY,
    outcome        text        NOT NULL CHECK (outcome IN ('settled', 'released', 'expired')),
    at             timestamptz NOT NULL,
    key_id         text        NOT NULL,
    account        text        NOT NULL,
    model          text        NOT NULL,
    input_tokens   bigint      NOT NULL,
    output_tokens  bigint      NOT NULL,
    cached_tokens  bigint      NOT NULL,
    reasoning_tokens bigint    NOT NULL,
    cost           bigint      NOT NULL,
    held           bigint      NOT NULL,
    cached         boolean     NOT NULL,
    tags           jsonb       NOT NULL
);
CREATE INDEX ON entry (at);
CREATE INDEX ON entry (account text_pattern_ops, at);

-- Double entry: the lines of a reservation add up to zero.
CREATE TABLE posting (
    reservation_id uuid   NOT NULL REFERENCES entry,
    book           text   NOT NULL,
    amount         bigint NOT NULL,
    PRIMARY KEY (reservation_id, book)
);

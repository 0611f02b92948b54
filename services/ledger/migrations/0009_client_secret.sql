-- What opens sessions for a while, by a key's right: found by its hash, gone when it ends.
CREATE TABLE client_secret (
    secret_hash bytea       PRIMARY KEY,
    key_id      text        NOT NULL,
    models      text[]      NOT NULL,
    session     text        NOT NULL,
    expires     timestamptz NOT NULL
);
CREATE INDEX ON client_secret (key_id);
CREATE INDEX ON client_secret (expires);

-- What batches are made of. A file is there once `ready` is set; one whose upload broke off is swept away.
CREATE TABLE file (
    id uuid PRIMARY KEY,
    account text NOT NULL,
    tenant text NOT NULL,
    name text NOT NULL DEFAULT '',
    purpose text NOT NULL DEFAULT '',
    bytes bigint NOT NULL DEFAULT 0,
    created timestamptz NOT NULL,
    expires timestamptz NOT NULL,
    ready boolean NOT NULL DEFAULT false
);
CREATE INDEX file_listed ON file (account, created DESC, id DESC);
CREATE INDEX file_tenant ON file (tenant);
CREATE INDEX file_old ON file (expires);

CREATE TABLE piece (
    file uuid NOT NULL REFERENCES file ON DELETE CASCADE,
    number int NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (file, number)
);

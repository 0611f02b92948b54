-- A version never changes. Its content is kept as the text that its digest is of.
CREATE TABLE version (
    tenant text NOT NULL,
    name text NOT NULL,
    number int NOT NULL,
    kind text NOT NULL,
    digest text NOT NULL,
    content text NOT NULL,
    includes jsonb NOT NULL DEFAULT '{}',
    parent int NOT NULL DEFAULT 0,
    owner text NOT NULL DEFAULT '',
    why text NOT NULL DEFAULT '',
    author text NOT NULL,
    account text NOT NULL,
    created timestamptz NOT NULL,
    PRIMARY KEY (tenant, name, number)
);
CREATE UNIQUE INDEX version_digest ON version (tenant, name, digest text_pattern_ops);

CREATE TABLE review (
    tenant text NOT NULL,
    name text NOT NULL,
    number int NOT NULL,
    reviewer text NOT NULL,
    approved boolean NOT NULL,
    note text NOT NULL DEFAULT '',
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant, name, number, reviewer),
    FOREIGN KEY (tenant, name, number) REFERENCES version
);

CREATE TABLE label (
    tenant text NOT NULL,
    name text NOT NULL,
    label text NOT NULL,
    number int NOT NULL,
    revision bigint NOT NULL,
    rollout jsonb, -- the candidate, its share, its rules
    moved_by text NOT NULL,
    account text NOT NULL,
    moved timestamptz NOT NULL,
    why text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, name, label),
    FOREIGN KEY (tenant, name, number) REFERENCES version
);

-- How a rollout's answers fared: counted from the revision that it began with.
CREATE TABLE tally (
    tenant text NOT NULL,
    name text NOT NULL,
    label text NOT NULL,
    began bigint NOT NULL,
    number int NOT NULL,
    answers bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    took interval NOT NULL DEFAULT '0',
    PRIMARY KEY (tenant, name, label, began, number)
);

-- One chain of entries a tenant, without gaps: the row of its head is locked by whoever writes the next.
CREATE TABLE chain (
    tenant text PRIMARY KEY,
    sequence bigint NOT NULL DEFAULT 0,
    hash text NOT NULL
);
CREATE TABLE entry (
    tenant text NOT NULL,
    sequence bigint NOT NULL,
    json text NOT NULL,
    hash text NOT NULL,
    PRIMARY KEY (tenant, sequence)
);

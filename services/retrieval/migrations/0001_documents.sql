CREATE TABLE document (
    tenant text NOT NULL,
    collection text NOT NULL,
    document_id text NOT NULL,
    version text NOT NULL,
    title text NOT NULL DEFAULT '',
    uri text NOT NULL DEFAULT '',
    chunks integer NOT NULL DEFAULT 0,
    source text NOT NULL DEFAULT '',
    mark text NOT NULL DEFAULT '',
    changed double precision NOT NULL DEFAULT 0,
    indexed double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, collection, document_id)
);
CREATE INDEX document_source ON document (tenant, source) WHERE source <> '';

CREATE TABLE parked (
    tenant text NOT NULL,
    collection text NOT NULL,
    document_id text NOT NULL,
    reason text NOT NULL,
    raw bytea NOT NULL,
    source text NOT NULL,
    mark text NOT NULL,
    tries integer NOT NULL,
    parked double precision NOT NULL,
    PRIMARY KEY (tenant, collection, document_id)
);

-- Grows with each change of a tenant's documents; in microseconds since 1970, so that none ever comes again.
CREATE TABLE epoch (
    tenant text PRIMARY KEY,
    epoch bigint NOT NULL
);

CREATE TABLE source (
    tenant text NOT NULL,
    name text NOT NULL,
    changes bigint NOT NULL DEFAULT 0,
    in_time bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE evaluation (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    name text NOT NULL,
    at double precision NOT NULL,
    scores jsonb NOT NULL
);
CREATE INDEX evaluation_name ON evaluation (tenant, name, number);

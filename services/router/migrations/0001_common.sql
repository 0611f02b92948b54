-- What replicas of the router have in common. A conversation is known by a digest of its tenant and its name, for half an hour.
CREATE TABLE conversation (
    digest bytea PRIMARY KEY,
    tenant text NOT NULL,
    model text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversation_at ON conversation (at);
CREATE INDEX conversation_tenant ON conversation (tenant);
-- How far outcomes have moved the ability of a model in the rankings of a tenant, and how many they were.
CREATE TABLE learnt (
    tenant text NOT NULL,
    model text NOT NULL,
    moved double precision NOT NULL,
    outcomes integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, model)
);
CREATE INDEX learnt_at ON learnt (at);

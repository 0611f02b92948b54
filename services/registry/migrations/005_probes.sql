-- Questions that models are asked again and again. `spec` is a tollway.registry.v1.Probe.
CREATE TABLE probe (
    tenant text NOT NULL,
    name text NOT NULL,
    spec bytea NOT NULL,
    key_id text NOT NULL,
    account text NOT NULL,
    created timestamptz NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- What a probe sees of a model.
CREATE TABLE watched (
    tenant text NOT NULL,
    name text NOT NULL,
    model text NOT NULL,
    due timestamptz NOT NULL,
    job uuid, -- the round under way
    rounds bigint NOT NULL DEFAULT 0,
    reference jsonb, -- the first round's answers by case
    baseline jsonb NOT NULL DEFAULT '{}', -- by case: what it is usually like
    signals jsonb NOT NULL DEFAULT '{}', -- by name: what was seen, the evidence
    reported text NOT NULL DEFAULT '',
    alarmed timestamptz,
    alarm text NOT NULL DEFAULT '',
    asked timestamptz,
    PRIMARY KEY (tenant, name, model),
    FOREIGN KEY (tenant, name) REFERENCES probe ON DELETE CASCADE
);
CREATE INDEX watched_due ON watched (due);

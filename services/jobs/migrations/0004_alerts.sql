-- Where an account's alerts are sent, with those of all below it.
CREATE TABLE hook (
    account text PRIMARY KEY,
    url     text NOT NULL
);

-- The last of the ledger's alerts that was told.
CREATE TABLE told (
    after bigint NOT NULL
);
INSERT INTO told VALUES (0);

-- A message to a webhook is about a job, or about an alert.
ALTER TABLE delivery ALTER COLUMN job DROP NOT NULL;
ALTER TABLE delivery ADD COLUMN made timestamptz NOT NULL DEFAULT now();
CREATE INDEX delivery_alert ON delivery (made) WHERE job IS NULL;

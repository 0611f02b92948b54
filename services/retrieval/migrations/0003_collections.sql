-- The epoch of each collection: the tenant's when it changed last. A replica of the release before names no collection when it moves a
-- tenant's epoch, and neither does a restart: all of the tenant's collections count as changed then.
ALTER TABLE epoch ADD COLUMN everywhere bigint;
UPDATE epoch SET everywhere = epoch;
CREATE TABLE collection_epoch (
    tenant text NOT NULL,
    collection text NOT NULL,
    epoch bigint NOT NULL,
    PRIMARY KEY (tenant, collection)
);

CREATE FUNCTION epoch_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    named text := nullif(current_setting('tollway.collection', true), '');
BEGIN
    IF named IS NULL THEN
        NEW.everywhere := NEW.epoch;
    ELSE
        INSERT INTO collection_epoch VALUES (NEW.tenant, substr(named, 2), NEW.epoch)
        ON CONFLICT (tenant, collection) DO UPDATE SET epoch = excluded.epoch;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER epoch_moved BEFORE INSERT OR UPDATE ON epoch FOR EACH ROW EXECUTE FUNCTION epoch_moved();

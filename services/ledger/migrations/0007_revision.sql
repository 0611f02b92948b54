-- Counts the changes of what replicas keep in memory: who sees the same number need not read it again.
CREATE TABLE revision (
    number bigint NOT NULL
);
INSERT INTO revision VALUES (0);

CREATE FUNCTION revised() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE revision SET number = number + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER revised AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON budget FOR EACH STATEMENT EXECUTE FUNCTION revised();
CREATE TRIGGER revised AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON suspension FOR EACH STATEMENT EXECUTE FUNCTION revised();
CREATE TRIGGER revised AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON safeguard FOR EACH STATEMENT EXECUTE FUNCTION revised();

-- What a database needs for its changes to be followed: your transactions write to this table, Tollway empties it.
CREATE TABLE document_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id text NOT NULL,
    title text,
    text text,
    content bytea,
    media_type text,
    uri text,
    attributes jsonb,
    readers text[],
    deleted boolean NOT NULL DEFAULT false,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Saves the wait for the next look.
CREATE OR REPLACE FUNCTION document_outbox_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('document_outbox', '');
    RETURN NULL;
END $$;
CREATE TRIGGER document_outbox_told AFTER INSERT ON document_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION document_outbox_told();

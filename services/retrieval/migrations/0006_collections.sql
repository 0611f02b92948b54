-- What is known of a collection beside its documents. One that only has documents has no row.
CREATE TABLE collection (
    tenant text NOT NULL,
    name text NOT NULL,
    title text NOT NULL DEFAULT '',
    metadata text NOT NULL DEFAULT '{}',
    created double precision NOT NULL,
    PRIMARY KEY (tenant, name)
);
-- A document's facts, as JSON. Documents that were brought in before have theirs from when they are brought in again.
ALTER TABLE document ADD COLUMN attributes text NOT NULL DEFAULT '{}';

-- At most one row: which generation of vectors is searched, and where it is moved to.
CREATE TABLE generation (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    active text NOT NULL,
    moving_to text NOT NULL DEFAULT '',
    leaving text NOT NULL DEFAULT '',
    state integer NOT NULL DEFAULT 0,
    tolerance double precision NOT NULL DEFAULT 0.05,
    after_collection text NOT NULL DEFAULT '',
    after_document text NOT NULL DEFAULT '',
    after_tenant text NOT NULL DEFAULT '',
    looked_at bigint NOT NULL DEFAULT 0,
    copied bigint NOT NULL DEFAULT 0,
    recall_before double precision NOT NULL DEFAULT 0,
    recall_now double precision NOT NULL DEFAULT 0,
    fault text NOT NULL DEFAULT ''
);

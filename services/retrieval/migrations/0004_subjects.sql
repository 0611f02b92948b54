-- Whom a document is about, as its attribute `subject` says: it goes when their data is erased. Documents that were brought in before
-- have theirs from when they are brought in again.
ALTER TABLE document ADD COLUMN subject text NOT NULL DEFAULT '';
CREATE INDEX document_subject ON document (tenant, subject) WHERE subject <> '';

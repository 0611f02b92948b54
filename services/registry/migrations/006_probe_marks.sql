-- Another with each change: whoever looks at what a probe sees, and is overtaken by a renewal, changes nothing.
ALTER TABLE watched ADD COLUMN mark uuid NOT NULL DEFAULT gen_random_uuid();

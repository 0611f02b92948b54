-- Entries and postings by the month, so that an old month leaves as a whole. Who settles meanwhile waits.
LOCK TABLE entry, posting, spared IN ACCESS EXCLUSIVE MODE;

-- What has ended is known whichever month it is in.
CREATE TABLE ended (
    reservation_id uuid        PRIMARY KEY,
    at             timestamptz NOT NULL
);
INSERT INTO ended SELECT reservation_id, at FROM entry;

-- What was used, by the half hour and by the day of UTC: reports read it instead of entries, and it stays when they leave.
CREATE TABLE tally (
    minutes         smallint    NOT NULL,
    began           timestamptz NOT NULL,
    account         text        NOT NULL COLLATE "C",
    key_id          text        NOT NULL,
    model           text        NOT NULL,
    template        text        NOT NULL,
    requests        bigint      NOT NULL,
    cached          bigint      NOT NULL,
    input_tokens    bigint      NOT NULL,
    output_tokens   bigint      NOT NULL,
    cost            bigint      NOT NULL,
    baseline        bigint      NOT NULL,
    cached_baseline bigint      NOT NULL,
    PRIMARY KEY (minutes, began, account, key_id, model, template)
) PARTITION BY LIST (minutes);
CREATE TABLE tally_half_hour PARTITION OF tally FOR VALUES IN (30) WITH (fillfactor = 70);
CREATE TABLE tally_day PARTITION OF tally FOR VALUES IN (1440) WITH (fillfactor = 70);

-- Balances of the books as of the months that have left.
CREATE TABLE carried (
    book   text   PRIMARY KEY,
    amount bigint NOT NULL
);

INSERT INTO tally
SELECT minutes, date_bin(make_interval(mins => minutes), at, 'epoch'), account, key_id, model, coalesce(tags->>'template', ''), count(*),
       count(*) FILTER (WHERE cached), sum(input_tokens), sum(output_tokens), sum(cost), coalesce(sum(baseline), 0),
       coalesce(sum(baseline) FILTER (WHERE cached), 0)
FROM entry LEFT JOIN spared USING (reservation_id), (VALUES (30), (1440)) AS steps(minutes)
WHERE outcome = 'settled' GROUP BY 1, 2, 3, 4, 5, 6;

ALTER TABLE posting DROP CONSTRAINT posting_reservation_id_fkey, DROP CONSTRAINT posting_pkey;
ALTER TABLE posting ADD COLUMN at timestamptz NOT NULL DEFAULT now();
ALTER TABLE spared DROP CONSTRAINT spared_reservation_id_fkey;
ALTER TABLE entry DROP CONSTRAINT entry_pkey;

ALTER TABLE entry RENAME TO entry_first;
ALTER TABLE posting RENAME TO posting_first;
CREATE TABLE entry (LIKE entry_first INCLUDING CONSTRAINTS) PARTITION BY RANGE (at);
CREATE TABLE posting (LIKE posting_first INCLUDING DEFAULTS) PARTITION BY RANGE (at);
CREATE INDEX ON entry (reservation_id);
CREATE INDEX ON entry (at);
CREATE INDEX ON entry (account text_pattern_ops, at);
CREATE INDEX ON posting USING brin (at);
CREATE TABLE entry_other PARTITION OF entry DEFAULT;
CREATE TABLE posting_other PARTITION OF posting DEFAULT;
DO $$
DECLARE
    upto timestamptz := (SELECT date_trunc('month', greatest(max(at), now()), 'UTC') + interval '1 month' FROM entry_first);
BEGIN
    EXECUTE format('ALTER TABLE entry ATTACH PARTITION entry_first FOR VALUES FROM (MINVALUE) TO (%L)', upto);
    EXECUTE format('ALTER TABLE posting ATTACH PARTITION posting_first FOR VALUES FROM (MINVALUE) TO (%L)', upto);
END $$;

-- A reservation ends once: what comes again is left out, as a conflict would leave it out.
CREATE FUNCTION ends_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ended VALUES (NEW.reservation_id, NEW.at) ON CONFLICT DO NOTHING;
    RETURN CASE WHEN FOUND THEN NEW END;
END $$;
CREATE TRIGGER ends_once BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION ends_once();

-- The sums are the entries', whoever writes them. In the order of their keys, so that no two writers wait for each other.
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tally AS t
    SELECT minutes, date_bin(make_interval(mins => minutes), at, 'epoch'), account, key_id, model, coalesce(tags->>'template', ''),
           count(*), count(*) FILTER (WHERE cached), sum(input_tokens), sum(output_tokens), sum(cost), 0, 0
    FROM fresh, (VALUES (30), (1440)) AS steps(minutes) WHERE outcome = 'settled'
    GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (minutes, began, account, key_id, model, template) DO UPDATE
    SET requests = t.requests + excluded.requests, cached = t.cached + excluded.cached,
        input_tokens = t.input_tokens + excluded.input_tokens, output_tokens = t.output_tokens + excluded.output_tokens,
        cost = t.cost + excluded.cost;
    RETURN NULL;
END $$;
CREATE TRIGGER counted AFTER INSERT ON entry REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION counted();

CREATE FUNCTION compared() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tally AS t
    SELECT minutes, date_bin(make_interval(mins => minutes), e.at, 'epoch'), e.account, e.key_id, e.model,
           coalesce(e.tags->>'template', ''), 0, 0, 0, 0, 0, sum(f.baseline), coalesce(sum(f.baseline) FILTER (WHERE e.cached), 0)
    FROM fresh f JOIN ended USING (reservation_id) JOIN entry e ON (e.reservation_id, e.at) = (ended.reservation_id, ended.at),
         (VALUES (30), (1440)) AS steps(minutes)
    WHERE e.outcome = 'settled' GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (minutes, began, account, key_id, model, template) DO UPDATE
    SET baseline = t.baseline + excluded.baseline, cached_baseline = t.cached_baseline + excluded.cached_baseline;
    RETURN NULL;
END $$;
CREATE TRIGGER compared AFTER INSERT ON spared REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION compared();

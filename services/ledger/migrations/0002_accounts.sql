-- How far back a window's meter may look for another that was charged what ended in it; of a rolling one, how far it counts.
CREATE FUNCTION reach("window" text) RETURNS interval IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE "window"
        WHEN 'minute' THEN interval '1 minute' WHEN 'day' THEN interval '26 hours' WHEN 'month' THEN interval '32 days'
        WHEN 'rolling_hour' THEN interval '1 hour' WHEN 'rolling_day' THEN interval '24 hours'
        WHEN 'rolling_30_days' THEN interval '720 hours' ELSE interval '0' END
$$;

-- What a key may do, and who may answer it; empty for all.
ALTER TABLE api_key ADD COLUMN scopes text[] NOT NULL DEFAULT '{}';
ALTER TABLE api_key ADD COLUMN regions text[] NOT NULL DEFAULT '{}';

-- Accounts that are stopped, all below them included.
CREATE TABLE suspension (
    account text        PRIMARY KEY,
    reason  text        NOT NULL,
    since   timestamptz NOT NULL,
    key_id  text        NOT NULL
);

"""The statements that change meters and leases, each whole in itself."""

# In the order of `sorted(meters)`: code points, whatever the database's own collation is.
IN_ORDER = 'ORDER BY m.account COLLATE "C", m.name COLLATE "C", m.started FOR UPDATE OF m'
# What a meter that is asked for counts with: itself, and of a rolling window the steps before it (and any after it, which a
# replica with a faster clock has begun).
CONCERNED = """
SELECT m.*, b."limit", t.started AS asked, EXISTS (SELECT FROM recall r WHERE (r.account, r.name) = (b.account, b.name)) AS recalled
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS t(account, name, started)
JOIN budget b USING (account, name) JOIN meter m ON m.account = b.account AND m.name = b.name AND (
    m.started = t.started OR (starts_with(b."window", 'rolling') AND m.started >= t.started - reach(b."window")))
"""
LOCKED = f"{CONCERNED} {IN_ORDER}"

# What ended is inserted once; its lines and charges follow only for rows that are new. One round trip.
# `locks` is asked by itself, so that all of it is there before the first lease changes.
END = f"""
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[],
                         $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
                         $13::boolean[], $14::jsonb[])
        AS t(reservation_id, outcome, at, key_id, account, model, input_tokens, output_tokens, cached_tokens,
             reasoning_tokens, cost, held, cached, tags)
), made AS (
    INSERT INTO entry (reservation_id, outcome, at, key_id, account, model, input_tokens, output_tokens,
                       cached_tokens, reasoning_tokens, cost, held, cached, tags)
    SELECT * FROM asked ON CONFLICT DO NOTHING RETURNING reservation_id, account, model, cost, at
), lines AS (
    INSERT INTO posting (reservation_id, book, amount, at)
    SELECT reservation_id, 'account:' || account, -cost, at FROM made WHERE cost > 0
    UNION ALL
    SELECT reservation_id, 'model:' || model, cost, at FROM made WHERE cost > 0
), baselines AS (
    INSERT INTO spared (reservation_id, baseline)
    SELECT reservation_id, b.baseline FROM unnest($22::uuid[], $23::bigint[]) AS b(reservation_id, baseline)
    JOIN made USING (reservation_id)
), charged AS (
    SELECT c.* FROM unnest($15::uuid[], $16::uuid[], $17::text[], $18::text[], $19::timestamptz[], $20::bigint[],
                           $21::bigint[])
        AS c(reservation_id, replica, account, name, started, spent, unleased)
    JOIN made USING (reservation_id)
), locks AS (
    SELECT m.account FROM meter m WHERE (m.account, m.name, m.started) IN (SELECT account, name, started FROM charged)
    {IN_ORDER}
), leases AS (
    UPDATE lease SET amount = lease.amount - c.unleased
    FROM (SELECT replica, account, name, started, sum(unleased)::bigint AS unleased FROM charged
          GROUP BY 1, 2, 3, 4) c
    WHERE (lease.replica, lease.account, lease.name, lease.started) = (c.replica, c.account, c.name, c.started)
      AND (SELECT count(*) FROM locks) > 0
    RETURNING lease.account, lease.name, lease.started, c.unleased
), sums AS (
    SELECT account, name, started, sum(spent)::bigint AS spent FROM charged GROUP BY 1, 2, 3
), returned AS (
    SELECT account, name, started, sum(unleased)::bigint AS unleased FROM leases GROUP BY 1, 2, 3
), meters AS (
    UPDATE meter SET spent = meter.spent + s.spent, leased = meter.leased - coalesce(r.unleased, 0)
    FROM sums s LEFT JOIN returned r USING (account, name, started)
    WHERE (meter.account, meter.name, meter.started) = (s.account, s.name, s.started)
      AND (SELECT count(*) FROM locks) > 0
)
SELECT reservation_id FROM made
"""

# A budget's first meter also counts what its window has seen before the budget was set; without an end, as sums have it, which
# stay when entries leave. A later one does not: what ended in its window was charged to a meter, its own or that of the window in
# which it was held.
OPEN_METERS = """
INSERT INTO meter (account, name, started, spent, leased)
SELECT b.account, b.name, t.started, CASE WHEN EXISTS (
    SELECT FROM meter m WHERE m.account = b.account AND m.name = b.name AND m.started < t.started AND m.started >= t.started - reach(b."window")
) THEN 0 ELSE coalesce((
    SELECT sum(CASE b.unit WHEN 'nano_usd' THEN e.cost WHEN 'tokens' THEN e.input_tokens + e.output_tokens
                           WHEN 'requests' THEN e.requests ELSE 0 END)
    FROM (
        SELECT account, model, began AS at, requests, input_tokens, output_tokens, cost FROM tally
        WHERE minutes = 1440 AND b."window" = 'total'
        UNION ALL
        SELECT account, model, at, 1, input_tokens, output_tokens, cost FROM entry
        WHERE b."window" <> 'total' AND outcome = 'settled'
    ) e
    WHERE (e.account = b.account OR starts_with(e.account, b.account || '/'))
      AND e.at >= t.started - CASE WHEN starts_with(b."window", 'rolling') THEN reach(b."window") ELSE interval '0' END
      AND (b.model = '' OR e.model = b.model OR
           (b.model LIKE '%*%' AND e.model LIKE replace(replace(replace(replace(b.model, '\\', '\\\\'), '%', '\\%'), '_', '\\_'), '*', '%')))
), 0)::bigint END, 0
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS t(account, name, started) JOIN budget b USING (account, name)
WHERE NOT EXISTS (SELECT FROM meter m WHERE (m.account, m.name, m.started) = (b.account, b.name, t.started))
ORDER BY b.account COLLATE "C", b.name COLLATE "C", t.started
ON CONFLICT DO NOTHING
"""

LEASE = """
WITH wants AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[]) AS t(account, name, started, amount)
), leased AS (
    UPDATE meter m SET leased = m.leased + w.amount FROM wants w
    WHERE (m.account, m.name, m.started) = (w.account, w.name, w.started)
)
INSERT INTO lease SELECT $5, account, name, started, amount, $6 FROM wants
ON CONFLICT (replica, account, name, started) DO UPDATE SET amount = lease.amount + excluded.amount, expires = excluded.expires
"""

GIVE_BACK = """
WITH idle AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[]) AS t(account, name, started, amount)
), back AS (
    UPDATE lease l SET amount = l.amount - i.amount FROM idle i
    WHERE l.replica = $5 AND (l.account, l.name, l.started) = (i.account, i.name, i.started) AND l.amount >= i.amount
    RETURNING i.*
)
UPDATE meter m SET leased = m.leased - b.amount FROM back b WHERE (m.account, m.name, m.started) = (b.account, b.name, b.started)
"""

RECALL = f"""
WITH others AS (
    SELECT DISTINCT c.account, c.name FROM ({CONCERNED}) c JOIN lease l USING (account, name, started)
    WHERE l.replica <> $4 AND l.amount > 0
)
INSERT INTO recall SELECT account, name, $5 FROM others
ON CONFLICT (account, name) DO UPDATE SET until = greatest(recall.until, excluded.until) RETURNING account
"""

RECALLED = """
WITH over AS (DELETE FROM recall WHERE until <= $1)
SELECT account, name FROM recall WHERE until > $1
"""

TAKE_BACK = """
WITH gone AS (
    DELETE FROM lease WHERE expires <= $1 RETURNING account, name, started, amount
), sums AS (
    SELECT account, name, started, sum(amount)::bigint AS amount FROM gone GROUP BY 1, 2, 3
), returned AS (
    UPDATE meter m SET leased = m.leased - s.amount FROM sums s WHERE (m.account, m.name, m.started) = (s.account, s.name, s.started)
)
SELECT count(*) FROM gone
"""

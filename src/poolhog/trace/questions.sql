-- waits: Who waited the longest, for what, and in vain?
WITH now AS (SELECT max(value + 0) AS ns FROM meta WHERE key = 'written_ns')
SELECT round((coalesce(granted_ns, gave_up_ns, now.ns) - asked_ns) / 1e9, 3) AS wait_s,
       outcome, method, coalesce(route, path) AS route, p.name AS pool, owner
FROM checkouts AS c
JOIN now
JOIN pools AS p ON p.id = c.pool_id
LEFT JOIN requests AS r ON r.id = c.request_id
ORDER BY wait_s DESC
LIMIT 10;

-- held: Who holds a connection now (or held it when the process ended), and is it in use?
WITH now AS (SELECT max(value + 0) AS ns FROM meta WHERE key = 'written_ns')
SELECT p.name AS pool, c.connection, method, path, owner,
       round((now.ns - granted_ns) / 1e9, 3) AS held_s,
       CASE WHEN EXISTS (SELECT * FROM operations WHERE checkout_id = c.id AND ended_ns IS NULL)
            THEN 'yes' ELSE 'no' END AS in_use,
       (SELECT statement FROM operations WHERE checkout_id = c.id AND statement IS NOT NULL
        ORDER BY started_ns DESC LIMIT 1) AS last_statement
FROM checkouts AS c
JOIN now
JOIN pools AS p ON p.id = c.pool_id
LEFT JOIN requests AS r ON r.id = c.request_id
WHERE c.outcome = 'open'
ORDER BY granted_ns;

-- lines: Which lines of the application hold connections parked, and for how many seconds?
WITH RECURSIVE now AS (SELECT max(value + 0) AS ns FROM meta WHERE key = 'written_ns'),
parked AS (
    SELECT s.site_id, checkout_id, coalesce(ended_ns, returned_ns, now.ns) - started_ns AS ns
    FROM samples AS s
    JOIN now
    JOIN checkouts AS c ON c.id = s.checkout_id
    WHERE activity = 'parked'
),
-- From where the owner was, outwards to the first frame of the application.
stack (inner_id, site_id) AS (
    SELECT DISTINCT site_id, site_id FROM parked WHERE site_id IS NOT NULL
    UNION ALL
    SELECT inner_id, caller_id
    FROM stack JOIN sites ON sites.id = stack.site_id
    WHERE NOT is_application AND caller_id IS NOT NULL
)
SELECT round(sum(ns) / 1e9, 3) AS parked_s,
       count(DISTINCT checkout_id) AS checkouts,
       file, line, function, source
FROM parked
JOIN stack ON stack.inner_id = parked.site_id
JOIN sites ON sites.id = stack.site_id AND is_application
GROUP BY file, line
ORDER BY parked_s DESC
LIMIT 20;

-- statements: Which statements took the database's time?
WITH now AS (SELECT max(value + 0) AS ns FROM meta WHERE key = 'written_ns')
SELECT round(sum(coalesce(ended_ns, now.ns) - started_ns) / 1e9, 3) AS total_s,
       count(*) AS times,
       round(avg(coalesce(ended_ns, now.ns) - started_ns) / 1e6, 2) AS mean_ms,
       count(error) AS failed, statement
FROM operations
JOIN now
WHERE statement IS NOT NULL
GROUP BY statement
ORDER BY total_s DESC
LIMIT 20;

-- routes: Which routes take the connections' time, and how much of it is the database busy?
WITH now AS (SELECT max(value + 0) AS ns FROM meta WHERE key = 'written_ns'),
used AS (
    SELECT request_id, coalesce(returned_ns, now.ns) - granted_ns AS use_ns, busy_ns
    FROM checkouts JOIN now
    WHERE granted_ns IS NOT NULL
)
SELECT coalesce(trim(method || ' ' || coalesce(route, path)), 'other') AS request,
       count(*) AS checkouts,
       round(sum(use_ns) / 1e9, 3) AS use_s,
       round(sum(busy_ns) / 1e9, 3) AS busy_s,
       round(100.0 * sum(busy_ns) / max(sum(use_ns), 1)) AS busy_percent
FROM used
LEFT JOIN requests AS r ON r.id = used.request_id
GROUP BY 1
ORDER BY use_s DESC;

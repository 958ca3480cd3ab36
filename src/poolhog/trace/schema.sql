-- One recorded process. The packed_ tables are what is written, a row per request and a row per
-- checkout; the views below them are what to ask. In packed tables an instant is a number of
-- microseconds since an earlier one, and texts and sites are numbers. In views every *_ns column is a reading of the
-- monotonic clock in nanoseconds (CLOCK_MONOTONIC: one clock for all processes of a machine since
-- it booted). NULL means that it had not happened when the file was last written.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE pools (
    id           INTEGER PRIMARY KEY,
    library      TEXT NOT NULL,          -- sqlalchemy, asyncpg, psycopg_pool
    kind         TEXT NOT NULL,          -- the pool's class
    name         TEXT NOT NULL,
    size         INTEGER,                -- connections it keeps; NULL: no such limit
    max_overflow INTEGER,                -- more that it may open; -1: no limit
    timeout_s    REAL                    -- how long it lets a request wait
);

CREATE TABLE texts (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE            -- of SQL: without parameters, literals and comments
);

CREATE TABLE sites (
    id             INTEGER PRIMARY KEY,
    caller_id      INTEGER,              -- the site that this one was called from
    file           TEXT NOT NULL,
    line           INTEGER NOT NULL,
    function       TEXT NOT NULL,
    source         TEXT NOT NULL,        -- the text of the line
    is_application INTEGER NOT NULL      -- 0: a library's
);

CREATE TABLE packed_requests (
    id         INTEGER PRIMARY KEY,
    kind       INTEGER NOT NULL,         -- kind, method, route and error are texts
    method     INTEGER NOT NULL,
    route      INTEGER,
    path       TEXT NOT NULL,
    status     INTEGER,
    error      INTEGER,
    started    INTEGER NOT NULL,         -- since monotonic_ns of meta
    responding INTEGER,                  -- these three since started
    responded  INTEGER,
    ended      INTEGER,
    stages     TEXT                      -- JSON: [[name, since started, duration, site], ...]
);

CREATE TABLE packed_checkouts (
    id         INTEGER PRIMARY KEY,
    pool_id    INTEGER NOT NULL,
    request_id INTEGER,
    owner      TEXT NOT NULL,
    connection INTEGER,
    site_id    INTEGER,
    outcome    INTEGER NOT NULL,         -- a text
    asked      INTEGER NOT NULL,         -- since monotonic_ns of meta
    granted    INTEGER,                  -- these three since asked
    gave_up    INTEGER,
    returned   INTEGER,
    connecting INTEGER,                  -- these three are durations
    pinging    INTEGER,
    busy       INTEGER,
    operations TEXT                      -- JSON: [[kind, since asked, duration, site, statement, error, cause], ...]
);

-- The earlier operations of a checkout that has many.
CREATE TABLE packed_operations (
    checkout_id INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    operations  TEXT NOT NULL,
    PRIMARY KEY (checkout_id, number)
) WITHOUT ROWID;

CREATE TABLE packed_samples (
    id          INTEGER PRIMARY KEY,
    checkout_id INTEGER NOT NULL,
    activity    INTEGER NOT NULL,        -- a text
    site_id     INTEGER,
    started     INTEGER NOT NULL,        -- since monotonic_ns of meta
    ended       INTEGER                  -- since started
);

CREATE INDEX samples_of_checkout ON packed_samples (checkout_id);

CREATE TABLE packed_lock_waits (
    id          INTEGER PRIMARY KEY,
    checkout_id INTEGER NOT NULL,
    blocker_id  INTEGER,                 -- NULL: a session that was not recorded
    session     INTEGER,                 -- a text that describes it
    started     INTEGER NOT NULL,        -- since monotonic_ns of meta
    ended       INTEGER                  -- since started
);

CREATE INDEX lock_waits_of_checkout ON packed_lock_waits (checkout_id);

CREATE VIEW requests AS
SELECT r.id, k.text AS kind,             -- http, websocket, task, test
       m.text AS method, t.text AS route, r.path, r.status, e.text AS error,
       z.value + 1000 * r.started AS started_ns,
       z.value + 1000 * (r.started + r.responding) AS responding_ns, -- the response started
       z.value + 1000 * (r.started + r.responded) AS responded_ns,   -- its last byte was handed to the server
       z.value + 1000 * (r.started + r.ended) AS ended_ns            -- the application returned
FROM packed_requests AS r
JOIN meta AS z ON z.key = 'monotonic_ns'
JOIN texts AS k ON k.id = r.kind
JOIN texts AS m ON m.id = r.method
LEFT JOIN texts AS t ON t.id = r.route
LEFT JOIN texts AS e ON e.id = r.error;

CREATE VIEW stages AS
SELECT r.id AS request_id, n.text AS name,
       json_extract(s.value, '$[3]') AS site_id, -- the dependency that is closed in it
       z.value + 1000 * (r.started + json_extract(s.value, '$[1]')) AS started_ns,
       z.value + 1000 * (r.started + json_extract(s.value, '$[1]') + json_extract(s.value, '$[2]')) AS ended_ns
FROM packed_requests AS r
JOIN meta AS z ON z.key = 'monotonic_ns'
JOIN json_each(r.stages) AS s
JOIN texts AS n ON n.id = json_extract(s.value, '$[0]');

CREATE VIEW checkouts AS
SELECT c.id, c.pool_id, c.request_id,    -- NULL: work that belongs to no request that was seen
       c.owner,                          -- the asyncio task or thread that asked
       c.connection,                     -- which of the pool's connections
       c.site_id,                        -- where in the application it was asked for
       o.text AS outcome,                -- waiting, open, returned, collected, detached, timeout, cancelled, error
       z.value + 1000 * c.asked AS asked_ns,
       z.value + 1000 * (c.asked + c.granted) AS granted_ns,   -- NULL: still waiting, or gave up
       z.value + 1000 * (c.asked + c.gave_up) AS gave_up_ns,   -- the wait ended without a connection
       z.value + 1000 * (c.asked + c.returned) AS returned_ns, -- NULL: still open
       1000 * coalesce(c.connecting, 0) AS connecting_ns,    -- the parts of the wait in which a connection
       1000 * coalesce(c.pinging, 0) AS pinging_ns,          -- was opened and pinged
       1000 * coalesce(c.busy, 0) AS busy_ns                 -- the part of the use in which an operation ran
FROM packed_checkouts AS c
JOIN meta AS z ON z.key = 'monotonic_ns'
JOIN texts AS o ON o.id = c.outcome;

CREATE VIEW operations AS
SELECT c.id AS checkout_id,
       k.text AS kind,                   -- connect, ping, begin, statement, fetch, commit, rollback, reset
       s.text AS statement,              -- NULL on begin and reset: nothing was sent
       json_extract(o.value, '$[3]') AS site_id,
       z.value + 1000 * (c.asked + json_extract(o.value, '$[1]')) AS started_ns,
       z.value + 1000 * (c.asked + json_extract(o.value, '$[1]') + json_extract(o.value, '$[2]')) AS ended_ns,
       e.text AS error,                  -- the name of the exception that ended it
       b.text AS cause                   -- of a rollback or reset: asked, exception; NULL: nobody asked
FROM (
    SELECT checkout_id, operations FROM packed_operations
    UNION ALL SELECT id, operations FROM packed_checkouts
) AS p
JOIN packed_checkouts AS c ON c.id = p.checkout_id
JOIN meta AS z ON z.key = 'monotonic_ns'
JOIN json_each(p.operations) AS o
JOIN texts AS k ON k.id = json_extract(o.value, '$[0]')
LEFT JOIN texts AS s ON s.id = json_extract(o.value, '$[4]')
LEFT JOIN texts AS e ON e.id = json_extract(o.value, '$[5]')
LEFT JOIN texts AS b ON b.id = json_extract(o.value, '$[6]');

CREATE VIEW samples AS
SELECT s.checkout_id, a.text AS activity, -- parked, running, ready, busy
       s.site_id,                        -- where the owner was; when it was ready: what ran instead
       z.value + 1000 * s.started AS started_ns,
       z.value + 1000 * (s.started + s.ended) AS ended_ns      -- NULL: still so
FROM packed_samples AS s
JOIN meta AS z ON z.key = 'monotonic_ns'
JOIN texts AS a ON a.id = s.activity;

CREATE VIEW lock_waits AS
SELECT w.checkout_id,
       w.blocker_id,                     -- the checkout that held the lock; NULL: not recorded
       t.text AS session,                -- of what was not recorded: what the server knows of it
       z.value + 1000 * w.started AS started_ns,
       z.value + 1000 * (w.started + w.ended) AS ended_ns      -- NULL: still so
FROM packed_lock_waits AS w
JOIN meta AS z ON z.key = 'monotonic_ns'
LEFT JOIN texts AS t ON t.id = w.session;

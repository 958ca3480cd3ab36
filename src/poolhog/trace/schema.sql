-- One recorded process. Every *_ns column is a reading of the monotonic clock in nanoseconds
-- (CLOCK_MONOTONIC: one clock for all processes of a machine since it booted); NULL means that it
-- had not happened when the file was last written.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE pools (
    id           INTEGER PRIMARY KEY,
    library      TEXT NOT NULL,          -- sqlalchemy, asyncpg
    kind         TEXT NOT NULL,          -- the pool's class
    name         TEXT NOT NULL,
    size         INTEGER,                -- connections it keeps; NULL: no such limit
    max_overflow INTEGER,                -- more that it may open; -1: no limit
    timeout_s    REAL                    -- how long it lets a request wait
);

CREATE TABLE requests (
    id            INTEGER PRIMARY KEY,
    kind          TEXT NOT NULL,         -- http, websocket
    method        TEXT NOT NULL,
    route         TEXT,                  -- the route's template
    path          TEXT NOT NULL,         -- without the query
    status        INTEGER,
    started_ns    INTEGER NOT NULL,
    responding_ns INTEGER,               -- the response started
    responded_ns  INTEGER,               -- its last byte was handed to the server
    ended_ns      INTEGER                -- the application returned; dependencies are unwound
);

CREATE TABLE stages (
    id         INTEGER PRIMARY KEY,
    request_id INTEGER NOT NULL,
    name       TEXT NOT NULL,            -- dependencies, endpoint, serialization, exit stack, session
    started_ns INTEGER NOT NULL,
    ended_ns   INTEGER
);

CREATE TABLE checkouts (
    id          INTEGER PRIMARY KEY,
    pool_id     INTEGER NOT NULL,
    request_id  INTEGER,                 -- NULL: work that belongs to no request that was seen
    owner       TEXT NOT NULL,           -- the asyncio task or thread that asked
    connection  INTEGER,                 -- which of the pool's connections
    asked_ns    INTEGER NOT NULL,
    granted_ns  INTEGER,                 -- NULL: still waiting, or gave up
    gave_up_ns  INTEGER,                 -- the wait ended without a connection
    returned_ns INTEGER,                 -- NULL: still open
    outcome     TEXT NOT NULL            -- waiting, open, returned, detached, timeout, cancelled, error
);

CREATE TABLE statements (
    id  INTEGER PRIMARY KEY,
    sql TEXT NOT NULL                    -- without parameters, literals and comments
);

CREATE TABLE operations (
    id           INTEGER PRIMARY KEY,
    checkout_id  INTEGER NOT NULL,
    kind         TEXT NOT NULL,          -- connect, ping, begin, statement, fetch, commit, rollback, reset
    statement_id INTEGER,                -- NULL on begin and reset: nothing was sent
    started_ns   INTEGER NOT NULL,
    ended_ns     INTEGER,
    error        TEXT                    -- the name of the exception that ended it
);

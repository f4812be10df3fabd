-- The tables of the bus, version 1. Every state of a message is a table of its own, and a message
-- moves between them: hot tables stay small and need no second index.

-- Counters that must never go back: `topology` changes with every declaration, so that each
-- process knows when what it remembers is old; `token` names claims; the others are the tally.
CREATE TABLE tramline_counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO tramline_counter (name, value) VALUES
    ('topology', 1), ('token', 1), ('redelivered', 0), ('duplicates', 0);

CREATE TABLE tramline_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL
);

-- Whose the temporary queues are: they are gone with their process.
CREATE TABLE tramline_temporary (
    queue INTEGER PRIMARY KEY,
    process INTEGER NOT NULL
);

-- How many messages are in a queue that may hold so many only, its dead letters not counted.
CREATE TABLE tramline_length (
    queue INTEGER PRIMARY KEY,
    count INTEGER NOT NULL
);

-- What was sent to queues that drop what is sent again within their window.
CREATE TABLE tramline_seen (
    queue INTEGER NOT NULL,
    key TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX tramline_seen_age ON tramline_seen (queue, at);

-- Which messages hold their keys, in queues that have one of each at a time.
CREATE TABLE tramline_unique (
    queue INTEGER NOT NULL,
    key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (queue, key, seq)
) WITHOUT ROWID;

-- Those that the last declaration of their queue did not ask for are orphaned: they still hold.
CREATE TABLE tramline_subscription (
    topic TEXT NOT NULL,
    queue INTEGER NOT NULL,
    rules TEXT NOT NULL,
    orphaned INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, queue)
) WITHOUT ROWID;

-- A message, once, however many queues have it. `refs` stands first so that counting does not
-- read the body. The id is the message's place in the order of its queues.
CREATE TABLE tramline_body (
    id INTEGER PRIMARY KEY,
    refs INTEGER NOT NULL,
    envelope TEXT NOT NULL,
    body BLOB NOT NULL
);

-- Can be taken now. `rank` is the priority, negated: smaller is sooner.
CREATE TABLE tramline_ready (
    queue INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    since INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    trials INTEGER NOT NULL,
    unhandled_since INTEGER,
    first_failed_at INTEGER,
    expires_at INTEGER,
    key TEXT,
    history TEXT,
    PRIMARY KEY (queue, rank, seq)
) WITHOUT ROWID;

-- Waits for its time.
CREATE TABLE tramline_delayed (
    queue INTEGER NOT NULL,
    due INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    since INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    trials INTEGER NOT NULL,
    unhandled_since INTEGER,
    first_failed_at INTEGER,
    expires_at INTEGER,
    key TEXT,
    history TEXT,
    PRIMARY KEY (queue, due, seq)
) WITHOUT ROWID;

-- Queues with an order: who is out of each lane, a lane being a key or, as '', the whole queue. The
-- head of a lane stands among the ready, the leased or (for its retry) the delayed.
CREATE TABLE tramline_lane (
    queue INTEGER NOT NULL,
    lane TEXT NOT NULL,
    head INTEGER NOT NULL,
    PRIMARY KEY (queue, lane)
) WITHOUT ROWID;

-- Waits behind the head of its lane, in the order of arrival. Claims never see these rows.
CREATE TABLE tramline_behind (
    queue INTEGER NOT NULL,
    lane TEXT NOT NULL,
    place INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    since INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    trials INTEGER NOT NULL,
    unhandled_since INTEGER,
    first_failed_at INTEGER,
    expires_at INTEGER,
    key TEXT,
    history TEXT,
    PRIMARY KEY (queue, lane, place)
) WITHOUT ROWID;

-- Taken and not settled. `token` is the claim: no row under it, no ack.
CREATE TABLE tramline_leased (
    token INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    process INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    since INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    trials INTEGER NOT NULL,
    unhandled_since INTEGER,
    first_failed_at INTEGER,
    expires_at INTEGER,
    key TEXT,
    history TEXT,
    name TEXT,
    reason TEXT,
    failed_at INTEGER,
    PRIMARY KEY (token, seq)
) WITHOUT ROWID;

-- Dead letters.
CREATE TABLE tramline_dead (
    queue INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    since INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    trials INTEGER NOT NULL,
    unhandled_since INTEGER,
    first_failed_at INTEGER,
    expires_at INTEGER,
    key TEXT,
    history TEXT,
    name TEXT NOT NULL,
    reason TEXT NOT NULL,
    failed_at INTEGER NOT NULL,
    PRIMARY KEY (queue, seq)
) WITHOUT ROWID;

-- Dead letters are forgotten by their age; messages that are handled never touch this index.
CREATE INDEX tramline_dead_age ON tramline_dead (queue, failed_at);

-- Was handled and is kept to be looked at. `place` is the moment, or just behind the one before.
CREATE TABLE tramline_completed (
    queue INTEGER NOT NULL,
    place INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (queue, place)
) WITHOUT ROWID;

-- Who has the file open. Ids are never used twice: a process that was given up learns it by
-- missing its row.
CREATE TABLE tramline_process (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    lock TEXT NOT NULL,
    pid INTEGER NOT NULL,
    port INTEGER,
    lease_until INTEGER NOT NULL
);

-- Which process reads which queue, so that only those are woken. Queue 0 is the outbox.
CREATE TABLE tramline_consumer (
    process INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    PRIMARY KEY (process, queue)
) WITHOUT ROWID;

-- What endpoints have handled.
CREATE TABLE tramline_inbox (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    message TEXT NOT NULL,
    key TEXT NOT NULL,
    message_id TEXT NOT NULL,
    body_hash INTEGER NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (endpoint, message, key)
);
-- Each endpoint forgets its own rows, the oldest first.
CREATE INDEX tramline_inbox_age ON tramline_inbox (endpoint, at);

-- Published inside a transaction, to be sent elsewhere by a relay.
CREATE TABLE tramline_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT,
    hold_until INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    process INTEGER NOT NULL,
    -- It was claimed before: what stands behind it of its key waits for it.
    tried INTEGER NOT NULL,
    error TEXT,
    destination TEXT NOT NULL,
    envelope TEXT NOT NULL,
    body BLOB NOT NULL
);

-- Rows of the outbox that wait for an operator: those that are parked, and those that a claim found
-- behind a parked one of their key. Here no further claim walks past them.
CREATE TABLE tramline_outbox_aside (
    id INTEGER PRIMARY KEY,
    key TEXT,
    hold_until INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    tried INTEGER NOT NULL,
    parked INTEGER NOT NULL,
    error TEXT,
    destination TEXT NOT NULL,
    envelope TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX tramline_outbox_aside_key ON tramline_outbox_aside (key, id);
CREATE INDEX tramline_outbox_parked ON tramline_outbox_aside (id) WHERE parked = 1;

-- Messages that leave at a moment. `state`: 0 waits, 1 has fired, 2 was cancelled, 3 was cancelled before
-- anybody knew it. `at`: when it is looked at, which is `due` unless it could not leave then; of those that do
-- not wait, until when the name is remembered.
CREATE TABLE tramline_schedule (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    token INTEGER NOT NULL,
    state INTEGER NOT NULL,
    due INTEGER NOT NULL,
    at INTEGER NOT NULL,
    destination TEXT,
    envelope TEXT,
    body BLOB
);
CREATE INDEX tramline_schedule_at ON tramline_schedule (state, at);

-- What recurs, and when next.
CREATE TABLE tramline_recurring (
    name TEXT PRIMARY KEY,
    token INTEGER NOT NULL,
    rhythm TEXT NOT NULL,
    due INTEGER NOT NULL,
    paused INTEGER NOT NULL
) WITHOUT ROWID;

-- The tables of the bus, version 1. Times are microseconds since 1970.
--
-- A message is inserted once and deleted once: taking it changes no row of it. Each state that lasts
-- is a table of its own, with the columns of `message` first.

CREATE SCHEMA tramline;

-- One row: what the tables are, and which database this is.
CREATE TABLE tramline.schema (
    version int NOT NULL,
    database uuid NOT NULL
);
INSERT INTO tramline.schema VALUES (0, gen_random_uuid());

-- One row: counted up with every declaration, so that whoever remembers routes knows when they are old.
CREATE TABLE tramline.topology (
    version bigint NOT NULL
);
INSERT INTO tramline.topology VALUES (1);

-- What functions have to know of a queue stands beside its whole specification.
CREATE TABLE tramline.queue (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL UNIQUE,
    spec text NOT NULL,
    -- 0: none, 1: of each key, 2: of the whole queue.
    ordering smallint NOT NULL,
    priority_max smallint NOT NULL,
    length_max bigint,
    dedup_window bigint,
    is_unique boolean NOT NULL,
    keep_completed bigint,
    keep_dead bigint,
    -- There is more to do when a message leaves than to delete its row.
    is_particular boolean NOT NULL
);

-- Those that the last declaration of their queue did not ask for are orphaned: they still hold.
CREATE TABLE tramline.subscription (
    topic text NOT NULL,
    queue int NOT NULL,
    rules text NOT NULL,
    orphaned boolean NOT NULL DEFAULT false,
    PRIMARY KEY (topic, queue)
);

-- Whose the temporary queues are: they are gone with their process.
CREATE TABLE tramline.temporary (
    queue int PRIMARY KEY,
    process bigint NOT NULL
);

-- Queues that were removed a moment ago, and into which somebody may still put something.
CREATE TABLE tramline.removed (
    queue int PRIMARY KEY,
    at bigint NOT NULL
);

-- The low bits of places, and the order in which things came.
CREATE SEQUENCE tramline.number;

-- Can be taken, or is taken: then a claim lists its place. A place has the rank above the number:
-- what is more important comes first, then what came first.
CREATE TABLE tramline.message (
    queue int NOT NULL,
    place bigint NOT NULL,
    -- Raised whenever somebody loses the message, so that his ack finds nothing.
    epoch int NOT NULL,
    -- 1: published inside a transaction of this database. 2: did not come straight through a topic.
    flags smallint NOT NULL,
    failures int NOT NULL,
    -- Those in a row of which nobody heard the end.
    deliveries int NOT NULL,
    trials int NOT NULL,
    since bigint NOT NULL,
    unhandled_since bigint,
    first_failed_at bigint,
    expires_at bigint,
    key text,
    history text,
    envelope text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (queue, place)
);

-- Waits for its time.
CREATE TABLE tramline.delayed (
    LIKE tramline.message,
    due bigint NOT NULL,
    PRIMARY KEY (queue, due, place)
);

-- Queues with an order: everything that has arrived and is not the head of its lane, a lane being a key
-- or, as '', the whole queue.
CREATE TABLE tramline.behind (
    LIKE tramline.message,
    lane text NOT NULL,
    arrival bigint NOT NULL,
    -- Of one arrival: what was scheduled and came due before it, in its order, has negative ones.
    nth bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (queue, lane, arrival, nth)
);

-- Whose head is out: among the messages or, for its retry, among the delayed ones.
CREATE TABLE tramline.lane (
    queue int NOT NULL,
    lane text NOT NULL,
    head bigint NOT NULL,
    PRIMARY KEY (queue, lane)
);

-- Lanes to be looked at: something has arrived, or the head has left. Only appended to, so that nobody
-- waits for anybody; the next one who takes decides.
CREATE TABLE tramline.turn (
    queue int NOT NULL,
    lane text NOT NULL
);
CREATE INDEX turn_queue ON tramline.turn (queue);

-- Dead letters.
CREATE TABLE tramline.dead (
    LIKE tramline.message,
    name text NOT NULL,
    reason text NOT NULL,
    failed_at bigint NOT NULL,
    PRIMARY KEY (queue, place)
);
CREATE INDEX dead_age ON tramline.dead (queue, failed_at);

-- Was handled and is kept to be looked at.
CREATE TABLE tramline.completed (
    LIKE tramline.message,
    at bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (queue, position)
);
CREATE INDEX completed_age ON tramline.completed (queue, at);

-- How much has come to and left queues that may hold so many messages only.
CREATE TABLE tramline.length (
    queue int NOT NULL,
    by bigint NOT NULL
);
CREATE INDEX length_queue ON tramline.length (queue);

-- What was sent to queues that drop what is sent again within their window.
CREATE TABLE tramline.seen (
    queue int NOT NULL,
    key text NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (queue, key)
);
CREATE INDEX seen_age ON tramline.seen (queue, at);

-- Which messages hold their keys, in queues that have one of each at a time.
CREATE TABLE tramline.unique_key (
    queue int NOT NULL,
    key text NOT NULL,
    place bigint NOT NULL,
    PRIMARY KEY (queue, key, place)
);

-- Who takes messages, or rows of the outbox. A row that is renewed no more is removed, and with it what the
-- process had taken.
CREATE TABLE tramline.process (
    id bigint PRIMARY KEY,
    label text NOT NULL,
    lease_until bigint NOT NULL,
    -- The session that holds a lock of this number for as long as the process lives: one that is free is
    -- noticed long before the lease is over. NULL: there is none, and only the lease counts.
    backend int,
    -- When its lock was first found free.
    missed_at bigint
);

-- What was taken together. Its messages stay where they are.
CREATE TABLE tramline.claim (
    token bigint PRIMARY KEY,
    process bigint NOT NULL,
    queue int NOT NULL,
    dead boolean NOT NULL,
    places bigint[] NOT NULL,
    -- Was let go of while other transactions were settling some of it: it ends with them.
    kept boolean NOT NULL DEFAULT false
);

-- Who waits to be woken for a queue; 0 is the outbox, and -1 the schedules. What a crash of the server forgets here is
-- written again by those whose connections it broke.
CREATE UNLOGGED TABLE tramline.asleep (
    queue int NOT NULL,
    process bigint NOT NULL,
    PRIMARY KEY (queue, process)
);

-- What endpoints have handled.
CREATE TABLE tramline.inbox (
    endpoint text NOT NULL,
    message text NOT NULL,
    key text NOT NULL,
    message_id text NOT NULL,
    body_hash bigint NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (endpoint, message, key)
);
CREATE INDEX inbox_age ON tramline.inbox (endpoint, at);

-- Published inside a transaction, to be sent elsewhere by a relay.
CREATE TABLE tramline.outbox (
    id bigint PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY,
    key text,
    hold_until bigint NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    -- It failed before: what stands behind it of its key waits for it.
    tried boolean NOT NULL DEFAULT false,
    error text,
    destination text NOT NULL,
    envelope text NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX outbox_tried ON tramline.outbox (hold_until) WHERE tried;

-- Published inside a transaction, for later.
CREATE TABLE tramline.outbox_delayed (
    LIKE tramline.outbox,
    PRIMARY KEY (hold_until, id)
);

-- Rows of the outbox that one relay has, and their keys: others leave those alone.
CREATE TABLE tramline.relay (
    lease bigint PRIMARY KEY,
    process bigint NOT NULL,
    -- A relay that lives has them no longer than this.
    until bigint NOT NULL,
    ids bigint[] NOT NULL,
    keys text[] NOT NULL
);

-- Rows of the outbox that wait for an operator: those that are parked, and those that stand behind a
-- parked one of their key.
CREATE TABLE tramline.outbox_aside (
    id bigint PRIMARY KEY,
    key text,
    hold_until bigint NOT NULL,
    attempts int NOT NULL,
    tried boolean NOT NULL,
    error text,
    destination text NOT NULL,
    envelope text NOT NULL,
    body bytea NOT NULL,
    parked boolean NOT NULL
);
CREATE INDEX outbox_aside_key ON tramline.outbox_aside (hashtextextended(key, 0), id);
CREATE INDEX outbox_parked ON tramline.outbox_aside (id) WHERE parked;

-- Messages that leave at a moment. `state`: 0 waits, 1 has fired, 2 was cancelled, 3 was cancelled before
-- anybody knew it. `at`: when it is looked at, which is `due` unless it could not leave then; of those that do
-- not wait, until when the name is remembered. Names are in the order of their bytes.
CREATE TABLE tramline.schedule (
    name text COLLATE "C" PRIMARY KEY,
    token bigint NOT NULL,
    state smallint NOT NULL,
    due bigint NOT NULL,
    at bigint NOT NULL,
    destination text,
    envelope text,
    body bytea
);
CREATE INDEX schedule_waiting ON tramline.schedule (at) WHERE state = 0;
CREATE INDEX schedule_remembered ON tramline.schedule (at) WHERE state > 0;

-- What recurs, and when next.
CREATE TABLE tramline.recurring (
    name text COLLATE "C" PRIMARY KEY,
    token bigint NOT NULL,
    rhythm text NOT NULL,
    due bigint NOT NULL,
    paused boolean NOT NULL
);

-- What has happened since the tables were made, counted.
CREATE TABLE tramline.tally (
    name text NOT NULL,
    by bigint NOT NULL
);

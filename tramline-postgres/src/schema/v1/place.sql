-- A message becomes rows.

-- The server's time.
CREATE FUNCTION tramline.clock() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- A text as an index can hold it.
-- Not called immutable, which `convert_to` is not: then each use would be a call of its own, and not a part of
-- the statement that it stands in.
CREATE FUNCTION tramline.short(p_text text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN octet_length(p_text) <= 500 THEN p_text
        ELSE 'sha256 ' || encode(sha256(convert_to(p_text, 'UTF8')), 'hex') END
$$;

-- Where a new message of this priority stands.
CREATE FUNCTION tramline.new_place(rank int) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (rank::bigint << 55) | nextval('tramline.number')
$$;

-- The epoch of a new message: hardly ever that of another one. A server that takes over, and has lost its last
-- moments, gives places anew, and somebody may still hold what stood there before.
CREATE FUNCTION tramline.first_epoch(p_now bigint) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT (p_now & 1073741823)::int
$$;

-- Queues or subscriptions have changed. The version jumps: a server that takes over, and has lost some
-- declarations, will not come to a version that others remember with other queues.
CREATE FUNCTION tramline.new_topology() RETURNS void LANGUAGE sql VOLATILE AS $$
    UPDATE tramline.topology SET version = version + 1 + (random() * 1000000)::bigint
$$;

-- Puts many messages into queues, a row each, where no queue refuses any: false, and nothing done, if
-- the caller's routes are old. A message with a lane lines up there.
CREATE FUNCTION tramline.put(
    p_topology bigint, p_now bigint, p_flags int,
    p_queues int[], p_ranks int[], p_lanes text[], p_dues bigint[], p_expires bigint[],
    p_keys text[], p_envelopes text[], p_bodies bytea[]
) RETURNS boolean LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM tramline.topology WHERE version = p_topology) THEN
        RETURN false;
    END IF;
    PERFORM tramline.put_rows(
        coalesce(p_now, tramline.clock()), p_flags, p_queues, p_ranks, p_lanes, p_dues, p_expires,
        p_keys, p_envelopes, p_bodies);
    RETURN true;
END
$$;

-- Writes the rows of `put`.
CREATE FUNCTION tramline.put_rows(
    p_now bigint, p_flags int,
    p_queues int[], p_ranks int[], p_lanes text[], p_dues bigint[], p_expires bigint[],
    p_keys text[], p_envelopes text[], p_bodies bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(array_remove(p_lanes, NULL)) > 0 OR p_now < ANY (p_dues) THEN
        PERFORM tramline.put_particular(
            p_now, p_flags, p_queues, p_ranks, p_lanes, p_dues, p_expires, p_keys, p_envelopes, p_bodies);
        RETURN;
    END IF;
    IF cardinality(p_queues) = 1 THEN
        INSERT INTO tramline.message VALUES (
            p_queues[1], (p_ranks[1]::bigint << 55) | nextval('tramline.number'), tramline.first_epoch(p_now), p_flags, 0, 0, 0,
            p_now, NULL, NULL, p_expires[1], p_keys[1], NULL, p_envelopes[1], p_bodies[1]);
        RETURN;
    END IF;
    INSERT INTO tramline.message
    SELECT n.queue, (n.rank::bigint << 55) | nextval('tramline.number'), tramline.first_epoch(p_now), p_flags, 0, 0, 0, p_now,
        NULL, NULL, n.expires_at, n.key, NULL, n.envelope, n.body
    FROM unnest(p_queues, p_ranks, p_expires, p_keys, p_envelopes, p_bodies)
        AS n(queue, rank, expires_at, key, envelope, body);
END
$$;

-- The same, one after the other: some wait for their time, or line up.
CREATE FUNCTION tramline.put_particular(
    p_now bigint, p_flags int,
    p_queues int[], p_ranks int[], p_lanes text[], p_dues bigint[], p_expires bigint[],
    p_keys text[], p_envelopes text[], p_bodies bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    n record;
    m tramline.message;
BEGIN
    FOR n IN
        SELECT * FROM unnest(
            p_queues, p_ranks, p_lanes, p_dues, p_expires, p_keys, p_envelopes, p_bodies
        ) AS n(queue, rank, lane, due, expires_at, key, envelope, body)
    LOOP
        m := ROW(n.queue, tramline.new_place(n.rank), tramline.first_epoch(p_now), p_flags, 0, 0, 0, p_now,
            NULL, NULL, n.expires_at, n.key, NULL, n.envelope, n.body);
        PERFORM tramline.write(m, tramline.short(n.lane), n.due, p_now);
    END LOOP;
END
$$;

-- Writes a message where it belongs now.
CREATE FUNCTION tramline.write(m tramline.message, p_lane text, p_due bigint, p_now bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_due > p_now THEN
        m.since := p_due;
        INSERT INTO tramline.delayed SELECT m.*, p_due;
    ELSIF p_lane IS NULL THEN
        INSERT INTO tramline.message SELECT m.*;
    ELSE
        INSERT INTO tramline.behind SELECT m.*, p_lane, nextval('tramline.number');
        INSERT INTO tramline.turn VALUES (m.queue, p_lane);
    END IF;
END
$$;

-- What a message of this key stands in line in.
CREATE FUNCTION tramline.lane_of(p_ordering smallint, p_key text)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE p_ordering WHEN 1 THEN tramline.short(p_key) WHEN 2 THEN '' END
$$;

-- Puts one message into its queues, of which some may drop or refuse it. Answers how many queues have
-- it or have had it; NULL if the caller's routes are old; the negated id of a queue that has no room,
-- and then no queue has it. Copies were let in before, and are not judged.
CREATE FUNCTION tramline.place(
    p_topology bigint, p_now bigint, p_flags int, p_judged boolean,
    p_queues int[], p_ranks int[], p_seen_as text, p_due bigint,
    p_failures int, p_trials int, p_unhandled_since bigint, p_first_failed_at bigint, p_history text,
    p_expires_at bigint, p_key text, p_envelope text, p_body bytea
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
    v_taking int[] := '{}';
    q record;
    m tramline.message;
BEGIN
    IF NOT EXISTS (SELECT FROM tramline.topology WHERE version = p_topology) THEN
        RETURN NULL;
    END IF;
    -- All are asked before anything is written, in the order of their ids: two callers wait for each
    -- other in one direction only.
    FOR q IN
        SELECT queue.*, leg.rank FROM unnest(p_queues, p_ranks) AS leg(id, rank)
        JOIN tramline.queue USING (id) ORDER BY queue.id
    LOOP
        IF p_judged AND q.dedup_window IS NOT NULL AND p_seen_as IS NOT NULL THEN
            PERFORM pg_advisory_xact_lock(-1953260908, hashtext(q.id || ' ' || p_seen_as));
            CONTINUE WHEN EXISTS (
                SELECT FROM tramline.seen s WHERE s.queue = q.id AND s.key = p_seen_as
                    AND s.at > v_now - q.dedup_window);
        END IF;
        IF p_judged AND q.is_unique AND p_key IS NOT NULL THEN
            CONTINUE WHEN tramline.is_held(q.id, p_key);
        END IF;
        IF p_judged AND q.length_max IS NOT NULL THEN
            IF tramline.length_of(q.id) >= q.length_max THEN
                RETURN -q.id;
            END IF;
        END IF;
        v_taking := v_taking || q.id;
    END LOOP;
    FOR q IN
        SELECT queue.*, leg.rank FROM unnest(p_queues, p_ranks) AS leg(id, rank)
        JOIN tramline.queue USING (id) WHERE queue.id = ANY (v_taking) ORDER BY queue.id
    LOOP
        IF p_judged AND q.dedup_window IS NOT NULL AND p_seen_as IS NOT NULL THEN
            INSERT INTO tramline.seen AS s VALUES (q.id, p_seen_as, v_now)
            ON CONFLICT (queue, key) DO UPDATE SET at = excluded.at;
        END IF;
        IF q.length_max IS NOT NULL THEN
            INSERT INTO tramline.length VALUES (q.id, 1);
        END IF;
        m := ROW(q.id, tramline.new_place(q.rank), tramline.first_epoch(v_now), p_flags, p_failures, 0, p_trials, v_now,
            p_unhandled_since, p_first_failed_at, p_expires_at, p_key, p_history, p_envelope, p_body);
        IF q.is_unique AND p_key IS NOT NULL THEN
            INSERT INTO tramline.unique_key VALUES (q.id, tramline.short(p_key), m.place);
        END IF;
        PERFORM tramline.write(m, tramline.lane_of(q.ordering, p_key), p_due, v_now);
    END LOOP;
    RETURN cardinality(p_queues);
END
$$;

-- Whether a message of this key is in a queue that has one of each at a time. Nobody else brings one in until this
-- transaction has ended.
CREATE FUNCTION tramline.is_held(p_queue int, p_key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(-1953260906, hashtext(p_queue || ' ' || p_key));
    RETURN EXISTS (
        SELECT FROM tramline.unique_key u WHERE u.queue = p_queue AND u.key = tramline.short(p_key));
END
$$;

-- How many messages a queue with a maximum length holds, once nobody else can make them more. Those
-- who leave only append, and here it is added up.
CREATE FUNCTION tramline.length_of(p_queue int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_sum bigint;
    v_rows bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(-1953260907, p_queue);
    SELECT coalesce(sum(by), 0), count(*) INTO v_sum, v_rows
    FROM tramline.length WHERE queue = p_queue;
    IF v_rows > 100 THEN
        WITH gone AS (DELETE FROM tramline.length WHERE queue = p_queue RETURNING by)
        INSERT INTO tramline.length SELECT p_queue, coalesce(sum(by), 0) FROM gone;
    END IF;
    RETURN v_sum;
END
$$;

-- Puts a message straight among the dead letters of a queue.
CREATE FUNCTION tramline.place_dead(
    p_topology bigint, p_now bigint, p_flags int, p_queue int, p_rank int,
    p_name text, p_reason text,
    p_failures int, p_trials int, p_unhandled_since bigint, p_first_failed_at bigint, p_history text,
    p_expires_at bigint, p_key text, p_envelope text, p_body bytea
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
BEGIN
    IF NOT EXISTS (SELECT FROM tramline.topology WHERE version = p_topology) THEN
        RETURN NULL;
    END IF;
    INSERT INTO tramline.dead VALUES (
        p_queue, tramline.new_place(p_rank), 0, p_flags, p_failures, 0, p_trials, v_now,
        p_unhandled_since, p_first_failed_at, p_expires_at, p_key, p_history, p_envelope, p_body,
        p_name, p_reason, v_now);
    RETURN 1;
END
$$;

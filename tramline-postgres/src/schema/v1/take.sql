-- Messages are taken from the head of a queue, many at once. Those who take from one queue do it one
-- after the other: the advisory lock of a queue is held for the length of one call.

-- Waits for its turn at a queue.
CREATE FUNCTION tramline.enter(p_queue int) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock(-1953260906, p_queue)
$$;

-- Takes up to `p_most` messages, and no more bodies than `p_bytes_max`, give or take the last. The
-- claim of what is taken is `p_token`. Fewer rows than asked for, in messages and in bytes: nothing more
-- was there. A caller who knows where the head was lately gives it as `p_from`: what is held or was deleted
-- before it is not passed over again, and what has come before it since is not found. A last row without a place
-- says that there may be more all the same: so much had expired, or was due, that the rest is left for the next
-- call.
CREATE FUNCTION tramline.take(
    p_queue int, p_most int, p_bytes_max bigint, p_token bigint, p_process bigint, p_label text,
    p_lease bigint, p_now bigint, p_from bigint DEFAULT NULL
) RETURNS SETOF tramline.message LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
    v_ordering smallint;
    v_has_ranks boolean;
    v_is_free boolean;
    v_held bigint[];
    v_from bigint;
    v_live bigint[];
    v_expired bigint[];
    v_gone int;
    v_gone_at_all int := 0;
    v_gone_max int;
    v_is_late boolean := false;
BEGIN
    PERFORM tramline.enter(p_queue);
    SELECT ordering, priority_max > 0 INTO STRICT v_ordering, v_has_ranks
    FROM tramline.queue WHERE id = p_queue;
    -- Where there is an order, or what is urgent, the next one may well stand before others.
    v_is_free := v_ordering = 0 AND NOT v_has_ranks;
    v_from := CASE WHEN v_is_free THEN coalesce(p_from, 0) ELSE 0 END;
    v_gone_max := CASE WHEN v_is_free THEN 2000 ELSE 200 END;
    -- If the server forgets in a crash who took what, others take it too, and the fence decides whom it
    -- hears. Two of one lane at once would be another matter.
    IF v_ordering = 0 THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    IF EXISTS (SELECT FROM tramline.delayed WHERE queue = p_queue AND due <= v_now) THEN
        PERFORM tramline.promote(p_queue, v_ordering, v_now);
        -- Among the rest may be what comes first of its lane.
        v_is_late := v_ordering > 0
            AND EXISTS (SELECT FROM tramline.delayed WHERE queue = p_queue AND due <= v_now);
    END IF;
    LOOP
        IF v_ordering > 0 AND NOT v_is_late THEN
            WHILE tramline.decide(p_queue) >= 2000 LOOP
            END LOOP;
        END IF;
        SELECT coalesce(array_agg(place), '{}') INTO v_held
        FROM tramline.claim c, unnest(c.places) AS held(place)
        WHERE c.queue = p_queue AND NOT c.dead AND held.place >= v_from;
        SELECT array_agg(place) FILTER (WHERE expires_at IS NULL OR expires_at > v_now),
            array_agg(place) FILTER (WHERE expires_at <= v_now)
        INTO v_live, v_expired
        FROM (
            SELECT free.place, free.expires_at,
                sum(free.size) OVER (ORDER BY free.place) - free.size AS before
            FROM (
                SELECT head.* FROM (
                    SELECT m.place, m.expires_at, octet_length(m.body)::bigint AS size
                    FROM tramline.message m WHERE m.queue = p_queue AND m.place >= v_from
                    ORDER BY m.place LIMIT p_most + cardinality(v_held)
                ) AS head
                WHERE NOT head.place IN (SELECT unnest(v_held))
                ORDER BY head.place LIMIT p_most
            ) AS free
        ) AS candidate
        WHERE before < p_bytes_max;
        v_gone := CASE WHEN v_expired IS NULL THEN 0 ELSE tramline.expire(p_queue, v_expired, v_now) END;
        v_gone_at_all := v_gone_at_all + v_gone;
        -- What stands behind the expired ones has not been looked at.
        IF v_gone > 0 AND v_gone_at_all < v_gone_max THEN
            IF v_is_free AND v_live IS NULL AND v_gone = cardinality(v_expired) THEN
                -- Their rows, deleted but not vacuumed, would be passed over again and again.
                v_from := (SELECT max(place) + 1 FROM unnest(v_expired) AS place);
            END IF;
            CONTINUE;
        END IF;
        EXIT WHEN v_live IS NULL;
        PERFORM tramline.register(p_process, p_label, v_now, p_lease);
        INSERT INTO tramline.claim VALUES (p_token, p_process, p_queue, false, v_live);
        RETURN QUERY SELECT * FROM tramline.message m
            WHERE m.queue = p_queue AND m.place = ANY (v_live) ORDER BY m.place;
        EXIT WHEN FOUND;
        -- All of it was settled meanwhile, by one who had lost it: nobody must hold its places.
        DELETE FROM tramline.claim WHERE token = p_token;
    END LOOP;
    IF v_gone_at_all >= v_gone_max OR v_is_late THEN
        RETURN NEXT NULL::tramline.message;
    END IF;
END
$$;

-- The same with dead letters.
CREATE FUNCTION tramline.take_dead(
    p_queue int, p_most int, p_bytes_max bigint, p_token bigint, p_process bigint, p_label text,
    p_lease bigint, p_now bigint
) RETURNS SETOF tramline.message LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
    v_held bigint[];
    v_live bigint[];
BEGIN
    PERFORM tramline.enter(p_queue);
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT coalesce(array_agg(place), '{}') INTO v_held
    FROM tramline.claim c, unnest(c.places) AS held(place) WHERE c.queue = p_queue AND c.dead;
    SELECT array_agg(place) INTO v_live
    FROM (
        SELECT free.place, sum(free.size) OVER (ORDER BY free.place) - free.size AS before
        FROM (
            SELECT head.* FROM (
                SELECT d.place, octet_length(d.body)::bigint AS size
                FROM tramline.dead d WHERE d.queue = p_queue
                ORDER BY d.place LIMIT p_most + cardinality(v_held)
            ) AS head
            WHERE NOT head.place IN (SELECT unnest(v_held))
            ORDER BY head.place LIMIT p_most
        ) AS free
    ) AS candidate
    WHERE before < p_bytes_max;
    IF v_live IS NULL THEN
        RETURN;
    END IF;
    PERFORM tramline.register(p_process, p_label, v_now, p_lease);
    INSERT INTO tramline.claim VALUES (p_token, p_process, p_queue, true, v_live);
    RETURN QUERY
        SELECT d.queue, d.place, d.epoch, d.flags, d.failures, d.deliveries, d.trials, d.since,
            d.unhandled_since, d.first_failed_at, d.expires_at, d.key, d.history, d.envelope, d.body
        FROM tramline.dead d
        WHERE d.queue = p_queue AND d.place = ANY (v_live) ORDER BY d.place;
END
$$;

-- In how many microseconds the next delayed message of a queue is due, if there is any.
CREATE FUNCTION tramline.next_due(p_queue int, p_now bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN (
        SELECT due - coalesce(p_now, tramline.clock())
        FROM tramline.delayed WHERE queue = p_queue ORDER BY due LIMIT 1);
END
$$;

-- Delayed messages whose time has come can be taken, or line up: a retry comes back as the head of its
-- lane, and a scheduled message stands before those that have arrived since its time.
CREATE FUNCTION tramline.promote(p_queue int, p_ordering smallint, p_now bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    d record;
    m tramline.message;
    v_lane text;
    v_arrival bigint;
BEGIN
    IF p_ordering = 0 THEN
        WITH due AS (
            DELETE FROM tramline.delayed WHERE (queue, due, place) IN (
                SELECT queue, due, place FROM tramline.delayed
                WHERE queue = p_queue AND due <= p_now ORDER BY due, place LIMIT 1000)
            RETURNING *
        )
        INSERT INTO tramline.message
        SELECT queue, place, epoch, flags, failures, deliveries, trials, since, unhandled_since,
            first_failed_at, expires_at, key, history, envelope, body
        FROM due;
        RETURN;
    END IF;
    FOR d IN
        WITH due AS (
            DELETE FROM tramline.delayed WHERE (queue, due, place) IN (
                SELECT queue, due, place FROM tramline.delayed
                WHERE queue = p_queue AND due <= p_now ORDER BY due, place LIMIT 1000)
            RETURNING *
        )
        SELECT * FROM due ORDER BY due, tramline.number_of(place)
    LOOP
        m := ROW(d.queue, d.place, d.epoch, d.flags, d.failures, d.deliveries, d.trials, d.since,
            d.unhandled_since, d.first_failed_at, d.expires_at, d.key, d.history, d.envelope, d.body);
        v_lane := tramline.lane_of(p_ordering, d.key);
        IF v_lane IS NULL OR EXISTS (
            SELECT FROM tramline.lane l WHERE l.queue = p_queue AND l.lane = v_lane AND l.head = d.place
        ) THEN
            INSERT INTO tramline.message SELECT m.*;
        ELSE
            v_arrival := tramline.first_since(
                p_queue, v_lane, d.due, tramline.number_of(d.place));
            INSERT INTO tramline.behind SELECT m.*, v_lane,
                coalesce(v_arrival, nextval('tramline.number')),
                CASE WHEN v_arrival IS NULL THEN 0 ELSE nextval('tramline.number') - (1::bigint << 60) END;
            INSERT INTO tramline.turn VALUES (p_queue, v_lane);
        END IF;
    END LOOP;
END
$$;

-- The arrival of the first in a lane that came later than a scheduled message became due, or at that moment and was
-- sent later; NULL if there is none. Arrivals and times grow together, give or take who commits late: so it is
-- found by halves, however long the lane is.
CREATE FUNCTION tramline.first_since(p_queue int, p_lane text, p_due bigint, p_number bigint)
RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    -- What came before `v_low` is earlier; what came at `v_later` is later, and nothing else from `v_high` on
    -- matters.
    v_low bigint;
    v_high bigint;
    v_later bigint;
    v_middle bigint;
    v_probe bigint;
BEGIN
    SELECT max(arrival) INTO v_probe FROM tramline.behind WHERE queue = p_queue AND lane = p_lane;
    IF v_probe IS NULL OR tramline.is_earlier(p_queue, p_lane, v_probe, p_due, p_number) THEN
        RETURN NULL;
    END IF;
    v_later := v_probe;
    v_high := v_probe;
    SELECT min(arrival) INTO v_low FROM tramline.behind WHERE queue = p_queue AND lane = p_lane;
    WHILE v_low < v_high LOOP
        v_middle := v_low + (v_high - v_low) / 2;
        SELECT min(arrival) INTO v_probe FROM tramline.behind
        WHERE queue = p_queue AND lane = p_lane AND arrival >= v_middle AND arrival < v_high;
        IF v_probe IS NULL THEN
            v_high := v_middle;
        ELSIF tramline.is_earlier(p_queue, p_lane, v_probe, p_due, p_number) THEN
            v_low := v_probe + 1;
        ELSE
            v_later := v_probe;
            v_high := v_middle;
        END IF;
    END LOOP;
    RETURN v_later;
END
$$;

-- Whether what came at this arrival was there when a scheduled message became due.
CREATE FUNCTION tramline.is_earlier(
    p_queue int, p_lane text, p_arrival bigint, p_due bigint, p_number bigint
) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT (since, tramline.number_of(place)) < (p_due, p_number) FROM tramline.behind
        WHERE queue = p_queue AND lane = p_lane AND arrival = p_arrival ORDER BY nth DESC LIMIT 1);
END
$$;

-- Of each lane whose head has left, or that was empty, the next one becomes the head. Only those who
-- have entered the queue decide, so there is one at a time. Answers how many events there were to look
-- at, 2000 at most.
CREATE FUNCTION tramline.decide(p_queue int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_lanes text[];
    v_looked bigint;
BEGIN
    WITH looked AS (
        DELETE FROM tramline.turn WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM tramline.turn WHERE queue = p_queue LIMIT 2000))
        RETURNING lane
    )
    SELECT array_agg(DISTINCT lane), count(*) INTO v_lanes, v_looked FROM looked;
    IF v_looked = 0 THEN
        RETURN 0;
    END IF;
    WITH head AS (
        SELECT b.* FROM unnest(v_lanes) AS free(lane)
        CROSS JOIN LATERAL (
            SELECT * FROM tramline.behind first
            WHERE first.queue = p_queue AND first.lane = free.lane
            ORDER BY first.arrival, first.nth LIMIT 1
        ) AS b
        WHERE NOT EXISTS (
            SELECT FROM tramline.lane l WHERE l.queue = p_queue AND l.lane = free.lane)
    ), gone AS (
        DELETE FROM tramline.behind b USING head
        WHERE b.queue = p_queue AND b.lane = head.lane AND b.arrival = head.arrival AND b.nth = head.nth
    ), out AS (
        INSERT INTO tramline.lane SELECT queue, lane, place FROM head
    )
    INSERT INTO tramline.message
    SELECT queue, place, epoch, flags, failures, deliveries, trials, since, unhandled_since,
        first_failed_at, expires_at, key, history, envelope, body
    FROM head;
    RETURN v_looked;
END
$$;

-- What has expired is not handed out: it goes to the dead letters of its queue, uncharged. What somebody
-- is at work on is passed over. Answers how many went.
CREATE FUNCTION tramline.expire(p_queue int, p_places bigint[], p_now bigint)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    v_expired int := 0;
    m tramline.message;
BEGIN
    FOR m IN
        DELETE FROM tramline.message WHERE queue = p_queue AND place IN (
            SELECT place FROM tramline.message WHERE queue = p_queue AND place = ANY (p_places)
            FOR UPDATE SKIP LOCKED)
        RETURNING *
    LOOP
        v_expired := v_expired + 1;
        m.epoch := m.epoch + 1;
        m.deliveries := 0;
        INSERT INTO tramline.dead
        SELECT m.*, coalesce(tramline.name_in(m.envelope), ''), 'expired', p_now;
        PERFORM tramline.left(m.queue, m.place, m.key);
    END LOOP;
    RETURN v_expired;
END
$$;

-- The name of a message; NULL for an envelope that cannot be read.
CREATE FUNCTION tramline.name_in(p_envelope text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN p_envelope::json ->> 'name';
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;

-- A message is no longer in its queue: there is room, its key is free, and its lane goes on. True.
CREATE FUNCTION tramline.left(p_queue int, p_place bigint, p_key text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    q tramline.queue;
    v_lane text;
BEGIN
    SELECT * INTO q FROM tramline.queue WHERE id = p_queue;
    IF q.length_max IS NOT NULL THEN
        INSERT INTO tramline.length VALUES (p_queue, -1);
    END IF;
    IF q.is_unique AND p_key IS NOT NULL THEN
        DELETE FROM tramline.unique_key
        WHERE queue = p_queue AND key = tramline.short(p_key) AND place = p_place;
    END IF;
    v_lane := tramline.lane_of(q.ordering, p_key);
    IF v_lane IS NOT NULL THEN
        DELETE FROM tramline.lane WHERE queue = p_queue AND lane = v_lane AND head = p_place;
        IF FOUND THEN
            INSERT INTO tramline.turn VALUES (p_queue, v_lane);
        END IF;
    END IF;
    RETURN true;
END
$$;

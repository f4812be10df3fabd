-- What operators do, and what goes by itself when its time is over. Whatever moves rows of a queue enters
-- it first, as those do who take; and what somebody is at work on is passed over, never waited for, because
-- those who take would wait as well.

-- The order in which a message came, whatever its rank.
CREATE FUNCTION tramline.number_of(p_place bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT p_place & 36028797018963967
$$;

-- An envelope to be looked into. PostgreSQL reads no JSON that has a NUL anywhere, so another text stands
-- for one meanwhile.
CREATE FUNCTION tramline.without_nul(p_envelope text) RETURNS json LANGUAGE sql IMMUTABLE AS $$
    SELECT replace(p_envelope, '\u0000', '\u001a\u001aNUL\u001a')::json
$$;

-- The id of a message; NULL for an envelope that cannot be read.
CREATE FUNCTION tramline.id_in(p_envelope text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN tramline.without_nul(p_envelope) ->> 'id';
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;

-- Whether a message has this id. Few envelopes have to be read for it.
CREATE FUNCTION tramline.has_id(p_envelope text, p_id text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN strpos(p_envelope, to_json(p_id)::text) > 0
        THEN coalesce(tramline.id_in(p_envelope) = p_id, false) ELSE false END
$$;

-- What claims list of a queue's messages, or of its dead letters.
CREATE FUNCTION tramline.held(p_queue int, p_dead boolean) RETURNS bigint[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(place), '{}')
    FROM tramline.claim c, unnest(c.places) AS listed(place) WHERE c.queue = p_queue AND c.dead = p_dead
$$;

-- Ends a subscription. Answers whether there was one.
CREATE FUNCTION tramline.unsubscribe(p_queue text, p_topic text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE tramline.topology IN EXCLUSIVE MODE;
    DELETE FROM tramline.subscription
    WHERE topic = p_topic AND queue = (SELECT id FROM tramline.queue WHERE name = p_queue);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM tramline.new_topology();
    RETURN true;
END
$$;

-- For how long the oldest message that can be taken has waited. Retries stand in their old place and are
-- younger than those behind them, so of each rank the first thousand are looked at.
CREATE FUNCTION tramline.age(p_queue int, p_now bigint) RETURNS bigint LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
    v_held bigint[] := tramline.held(p_queue, false);
BEGIN
    RETURN v_now - least(
        (SELECT min(due) FROM tramline.delayed WHERE queue = p_queue AND due <= v_now),
        (SELECT min(since) FROM tramline.behind WHERE queue = p_queue),
        (SELECT min(head.since)
            FROM tramline.queue q
            CROSS JOIN LATERAL generate_series(255 - q.priority_max, 255) AS rank
            CROSS JOIN LATERAL (
                SELECT m.since FROM tramline.message m
                WHERE m.queue = p_queue AND m.place >= rank::bigint << 55
                    AND m.place <= (rank::bigint << 55 | 36028797018963967)
                    AND NOT m.place IN (SELECT unnest(v_held))
                ORDER BY m.place LIMIT 1000
            ) AS head
            WHERE q.id = p_queue));
END
$$;

-- The envelope of a message that starts again: it has no expiry, and did not come through a topic. The
-- subject of a message without a name is what its handler is found by. What is no JSON stays as it is.
CREATE FUNCTION tramline.envelope_again(p_envelope text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_envelope json;
BEGIN
    v_envelope := tramline.without_nul(p_envelope);
    RETURN replace((
        SELECT coalesce(json_object_agg(key, value), '{}') FROM (
            SELECT key, value FROM json_each(v_envelope) WHERE NOT key IN ('via', 'expires_at')
            UNION ALL
            SELECT 'name', v_envelope #> '{via,subject}'
            WHERE v_envelope -> 'name' IS NULL AND v_envelope #> '{via,subject}' IS NOT NULL
        ) AS again)::text, '\u001a\u001aNUL\u001a', '\u0000');
EXCEPTION WHEN OTHERS THEN
    RETURN p_envelope;
END
$$;

-- Of these dead letters, those that are there and that nobody has taken go back to their queue, to its end,
-- as new messages under their old ids. Answers how many.
CREATE FUNCTION tramline.redrive(p_queue int, p_places bigint[], p_now bigint)
RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
    v_redriven bigint := 0;
    q tramline.queue;
    m tramline.message;
BEGIN
    PERFORM tramline.enter(p_queue);
    SELECT * INTO STRICT q FROM tramline.queue WHERE id = p_queue;
    FOR m IN
        WITH free AS (
            SELECT place FROM tramline.dead
            WHERE queue = p_queue AND place = ANY (p_places)
                AND NOT place IN (SELECT unnest(tramline.held(p_queue, true)))
            FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM tramline.dead d USING free WHERE d.queue = p_queue AND d.place = free.place
            RETURNING d.*
        )
        SELECT queue, place, epoch + 1, flags | 2, 0, 0, 0, v_now, NULL::bigint, NULL::bigint, NULL::bigint,
            key, NULL::text, tramline.envelope_again(envelope), body
        FROM gone ORDER BY place
    LOOP
        m.place := tramline.new_place((m.place >> 55)::int);
        IF q.length_max IS NOT NULL THEN
            INSERT INTO tramline.length VALUES (p_queue, 1);
        END IF;
        IF q.is_unique AND m.key IS NOT NULL THEN
            INSERT INTO tramline.unique_key VALUES (p_queue, tramline.short(m.key), m.place);
        END IF;
        PERFORM tramline.write(m, tramline.lane_of(q.ordering, m.key), NULL, v_now);
        v_redriven := v_redriven + 1;
    END LOOP;
    RETURN v_redriven;
END
$$;

-- Removes up to `p_most` messages that can be taken, or stand behind one, and came no later than the number
-- `p_last`. Answers how many.
CREATE FUNCTION tramline.purge(p_queue int, p_last bigint, p_most int, p_now bigint)
RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_ordering smallint;
    v_gone bigint := 0;
BEGIN
    PERFORM tramline.enter(p_queue);
    SELECT ordering INTO STRICT v_ordering FROM tramline.queue WHERE id = p_queue;
    PERFORM tramline.promote(p_queue, v_ordering, coalesce(p_now, tramline.clock()));
    -- What stands behind others goes first: it must not become ready by their going.
    IF v_ordering > 0 THEN
        WITH chosen AS (
            SELECT queue, lane, arrival, nth FROM tramline.behind
            WHERE queue = p_queue AND tramline.number_of(place) <= p_last LIMIT p_most
            FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM tramline.behind b USING chosen
            WHERE b.queue = chosen.queue AND b.lane = chosen.lane AND b.arrival = chosen.arrival
                AND b.nth = chosen.nth
            RETURNING b.queue, b.place, b.key
        )
        SELECT count(*) FILTER (WHERE tramline.left(queue, place, key)) INTO v_gone FROM gone;
    END IF;
    IF v_gone > 0 THEN
        RETURN v_gone;
    END IF;
    WITH chosen AS (
        SELECT place FROM tramline.message
        WHERE queue = p_queue AND tramline.number_of(place) <= p_last
            AND NOT place IN (SELECT unnest(tramline.held(p_queue, false)))
        ORDER BY place LIMIT p_most FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM tramline.message m USING chosen WHERE m.queue = p_queue AND m.place = chosen.place
        RETURNING m.queue, m.place, m.key
    )
    SELECT count(*) FILTER (WHERE tramline.left(queue, place, key)) INTO v_gone FROM gone;
    RETURN v_gone;
END
$$;

-- The same with dead letters that nobody has taken.
CREATE FUNCTION tramline.purge_dead(p_queue int, p_last bigint, p_most int) RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_gone bigint;
BEGIN
    PERFORM tramline.enter(p_queue);
    WITH chosen AS (
        SELECT place FROM tramline.dead
        WHERE queue = p_queue AND tramline.number_of(place) <= p_last
            AND NOT place IN (SELECT unnest(tramline.held(p_queue, true)))
        ORDER BY place LIMIT p_most FOR UPDATE SKIP LOCKED
    )
    DELETE FROM tramline.dead d USING chosen WHERE d.queue = p_queue AND d.place = chosen.place;
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    RETURN v_gone;
END
$$;

-- Removes up to `p_most` rows that queues have kept for long enough: handled messages, dead letters, what
-- they have seen. Answers how many; fewer than asked for: nothing more is due.
CREATE FUNCTION tramline.forget(p_now bigint, p_most bigint) RETURNS bigint LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
    v_left bigint := p_most;
    v_gone bigint;
    q tramline.queue;
BEGIN
    -- What a crash of the server brings back is forgotten again.
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR q IN
        SELECT * FROM tramline.queue
        WHERE keep_completed IS NOT NULL OR keep_dead IS NOT NULL OR dedup_window IS NOT NULL ORDER BY id
    LOOP
        WITH old AS (
            SELECT position FROM tramline.completed
            WHERE queue = q.id AND at < v_now - q.keep_completed
            ORDER BY at LIMIT v_left FOR UPDATE SKIP LOCKED
        )
        DELETE FROM tramline.completed c USING old WHERE c.queue = q.id AND c.position = old.position;
        GET DIAGNOSTICS v_gone = ROW_COUNT;
        v_left := v_left - v_gone;
        IF EXISTS (SELECT FROM tramline.dead WHERE queue = q.id AND failed_at < v_now - q.keep_dead) THEN
            PERFORM tramline.enter(q.id);
            WITH old AS (
                SELECT place FROM tramline.dead
                WHERE queue = q.id AND failed_at < v_now - q.keep_dead
                    AND NOT place IN (SELECT unnest(tramline.held(q.id, true)))
                ORDER BY failed_at LIMIT v_left FOR UPDATE SKIP LOCKED
            )
            DELETE FROM tramline.dead d USING old WHERE d.queue = q.id AND d.place = old.place;
            GET DIAGNOSTICS v_gone = ROW_COUNT;
            v_left := v_left - v_gone;
        END IF;
        WITH old AS (
            SELECT key FROM tramline.seen WHERE queue = q.id AND at < v_now - q.dedup_window
            ORDER BY at LIMIT v_left FOR UPDATE SKIP LOCKED
        )
        DELETE FROM tramline.seen s USING old WHERE s.queue = q.id AND s.key = old.key;
        GET DIAGNOSTICS v_gone = ROW_COUNT;
        v_left := v_left - v_gone;
    END LOOP;
    PERFORM tramline.sweep_behind();
    PERFORM tramline.sum_up();
    RETURN p_most - v_left;
END
$$;

-- Many counts of one thing become one.
CREATE FUNCTION tramline.sum_up() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM (SELECT FROM tramline.tally LIMIT 101) AS first) <= 100 THEN
        RETURN;
    END IF;
    WITH chosen AS (
        SELECT ctid FROM tramline.tally LIMIT 10000 FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM tramline.tally WHERE ctid = ANY (ARRAY(SELECT ctid FROM chosen)) RETURNING name, by
    )
    INSERT INTO tramline.tally SELECT name, sum(by) FROM gone GROUP BY name;
END
$$;

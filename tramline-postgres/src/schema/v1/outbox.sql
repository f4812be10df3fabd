-- Published inside a transaction, sent by a relay after it.

-- Appends messages to the outbox. What has a due time stands aside until then, and holds up nothing.
CREATE FUNCTION tramline.append(
    p_keys text[], p_dues bigint[], p_destinations text[], p_envelopes text[], p_bodies bytea[]
) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    PERFORM tramline.append_rows(p_keys, p_dues, p_destinations, p_envelopes, p_bodies);
END
$$;

-- Writes the rows of `append`.
CREATE FUNCTION tramline.append_rows(
    p_keys text[], p_dues bigint[], p_destinations text[], p_envelopes text[], p_bodies bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(p_dues) = 1 AND p_dues[1] IS NULL THEN
        INSERT INTO tramline.outbox (key, hold_until, destination, envelope, body)
        VALUES (p_keys[1], 0, p_destinations[1], p_envelopes[1], p_bodies[1]);
        RETURN;
    END IF;
    INSERT INTO tramline.outbox (key, hold_until, destination, envelope, body)
    SELECT n.key, 0, n.destination, n.envelope, n.body
    FROM unnest(p_keys, p_dues, p_destinations, p_envelopes, p_bodies)
        AS n(key, due, destination, envelope, body)
    WHERE n.due IS NULL;
    IF cardinality(array_remove(p_dues, NULL)) > 0 THEN
        INSERT INTO tramline.outbox_delayed
            (id, key, hold_until, attempts, tried, destination, envelope, body)
        SELECT nextval(pg_get_serial_sequence('tramline.outbox', 'id')), n.key, n.due, 0, false,
            n.destination, n.envelope, n.body
        FROM unnest(p_keys, p_dues, p_destinations, p_envelopes, p_bodies)
            AS n(key, due, destination, envelope, body)
        WHERE n.due IS NOT NULL;
    END IF;
END
$$;

-- Takes rows that are due, in their order, for one relay. A row that is at work or that failed holds
-- back the others of its key; one that only waits for its due time does not. What stands behind a
-- parked row is set aside. Relays take turns. What was claimed as one of `p_unknown` nobody has: the answer
-- was lost.
CREATE FUNCTION tramline.claim_outbox(
    p_lease bigint, p_limit int, p_bytes_max bigint, p_for bigint, p_now bigint,
    p_process bigint, p_label text, p_process_lease bigint, p_wound bigint, p_unknown bigint[]
) RETURNS SETOF tramline.outbox LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
    v_ids bigint[];
    v_busy_ids bigint[];
    v_busy_keys text[];
    v_waiting_keys text[];
    v_has_aside boolean;
    v_bytes bigint := 0;
    v_free bigint[] := '{}';
    v_free_keys text[] := '{}';
    v_stuck bigint[] := '{}';
    r record;
BEGIN
    PERFORM pg_advisory_xact_lock(-1953260904, 0);
    PERFORM set_config('synchronous_commit', 'off', true);
    DELETE FROM tramline.relay WHERE until <= v_now OR lease = ANY (p_unknown);
    WITH due AS (
        DELETE FROM tramline.outbox_delayed WHERE (hold_until, id) IN (
            SELECT hold_until, id FROM tramline.outbox_delayed
            WHERE hold_until <= v_now ORDER BY hold_until, id LIMIT 1000)
        RETURNING *
    )
    INSERT INTO tramline.outbox SELECT * FROM due;
    -- At one moment: what is given back in between is in both, or in neither.
    SELECT ARRAY(SELECT unnest(ids) FROM tramline.relay),
        ARRAY(SELECT DISTINCT unnest(keys) FROM tramline.relay)
    INTO v_busy_ids, v_busy_keys;
    -- After that: what was given back meanwhile is busy, or waits, or both.
    v_waiting_keys := tramline.waiting_keys(v_now);
    v_has_aside := EXISTS (SELECT FROM tramline.outbox_aside WHERE key IS NOT NULL);
    FOR r IN
        SELECT o.id, o.key, octet_length(o.body) AS size
        FROM tramline.outbox o
        WHERE o.hold_until <= v_now AND NOT o.id IN (SELECT unnest(v_busy_ids))
            AND (o.key IS NULL OR NOT o.key IN (SELECT unnest(v_busy_keys || v_waiting_keys)))
        ORDER BY o.id
    LOOP
        IF v_has_aside AND r.key IS NOT NULL AND EXISTS (
            SELECT FROM tramline.outbox_aside a
            WHERE hashtextextended(a.key, 0) = hashtextextended(r.key, 0) AND a.key = r.key
                AND a.id < r.id)
        THEN
            v_stuck := v_stuck || r.id;
            EXIT WHEN cardinality(v_stuck) >= 1000;
        ELSE
            v_free := v_free || r.id;
            IF r.key IS NOT NULL THEN
                v_free_keys := v_free_keys || r.key;
            END IF;
            v_bytes := v_bytes + r.size;
            EXIT WHEN cardinality(v_free) >= p_limit OR v_bytes >= p_bytes_max;
        END IF;
    END LOOP;
    IF cardinality(v_stuck) > 0 THEN
        PERFORM tramline.set_aside(v_stuck);
    END IF;
    IF cardinality(v_free) = 0 THEN
        RETURN;
    END IF;
    -- By the server's clock, whatever the relay's own shows.
    PERFORM tramline.register(
        p_process, p_label, coalesce(p_wound, tramline.clock()), p_process_lease);
    INSERT INTO tramline.relay VALUES (
        p_lease, p_process, v_now + p_for, v_free, ARRAY(SELECT DISTINCT unnest(v_free_keys)));
    RETURN QUERY SELECT * FROM tramline.outbox o WHERE o.id = ANY (v_free) ORDER BY o.id;
END
$$;

-- The keys of rows that failed and are not to be tried yet.
CREATE FUNCTION tramline.waiting_keys(p_now bigint) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT key FROM tramline.outbox
        WHERE tried AND hold_until > p_now AND key IS NOT NULL);
END
$$;

-- Rows leave the sight of claims.
CREATE FUNCTION tramline.set_aside(p_ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (DELETE FROM tramline.outbox WHERE id = ANY (p_ids) RETURNING *)
    INSERT INTO tramline.outbox_aside
    SELECT id, key, hold_until, attempts, tried, error, destination, envelope, body, false FROM gone;
END
$$;

-- Of these rows, those that a relay still has; it has them no more. Its keys are free with the last
-- one, and so no row overtakes another one of its key that is still at work.
CREATE FUNCTION tramline.leave_relay(p_lease bigint, p_ids bigint[]) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    v_ids bigint[];
BEGIN
    SELECT ids INTO v_ids FROM tramline.relay WHERE lease = p_lease FOR UPDATE;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;
    IF v_ids <@ p_ids THEN
        DELETE FROM tramline.relay WHERE lease = p_lease;
        RETURN v_ids;
    END IF;
    UPDATE tramline.relay SET ids = ARRAY(
        SELECT id FROM unnest(v_ids) AS id WHERE NOT id = ANY (p_ids) ORDER BY id)
    WHERE lease = p_lease;
    RETURN ARRAY(SELECT id FROM unnest(p_ids) AS id WHERE id = ANY (v_ids));
END
$$;

-- These were sent.
CREATE FUNCTION tramline.sent(p_lease bigint, p_ids bigint[]) RETURNS void LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    v_ids bigint[] := tramline.leave_relay(p_lease, p_ids);
BEGIN
    DELETE FROM tramline.outbox WHERE id = ANY (v_ids);
END
$$;

-- This one failed: not before `p_until` again.
CREATE FUNCTION tramline.postpone(p_lease bigint, p_id bigint, p_until bigint, p_error text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_ids bigint[] := tramline.leave_relay(p_lease, ARRAY[p_id]);
BEGIN
    UPDATE tramline.outbox SET hold_until = p_until, attempts = attempts + 1, tried = true,
        error = p_error
    WHERE id = ANY (v_ids);
END
$$;

-- These were not tried. Not before `p_until` again.
CREATE FUNCTION tramline.return_to_outbox(p_lease bigint, p_ids bigint[], p_until bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_ids bigint[] := tramline.leave_relay(p_lease, p_ids);
BEGIN
    UPDATE tramline.outbox SET hold_until = p_until, tried = true WHERE id = ANY (v_ids);
END
$$;

-- This one waits for an operator.
CREATE FUNCTION tramline.park(p_lease bigint, p_id bigint, p_error text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(tramline.leave_relay(p_lease, ARRAY[p_id])) = 0 THEN
        RETURN;
    END IF;
    PERFORM tramline.set_aside(ARRAY[p_id]);
    UPDATE tramline.outbox_aside SET parked = true, attempts = attempts + 1, error = p_error
    WHERE id = p_id;
END
$$;

-- Everything that is aside can be claimed again, the parked rows as if they had never failed. Answers
-- how many were parked.
CREATE FUNCTION tramline.release() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_released bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(-1953260904, 0);
    UPDATE tramline.outbox_aside SET parked = false, attempts = 0, hold_until = 0 WHERE parked;
    GET DIAGNOSTICS v_released = ROW_COUNT;
    WITH back AS (DELETE FROM tramline.outbox_aside RETURNING *)
    INSERT INTO tramline.outbox
    SELECT id, key, hold_until, attempts, tried, error, destination, envelope, body FROM back;
    RETURN v_released;
END
$$;

-- Removes parked rows. What stood behind one of them, and behind no other, can be claimed again. Answers
-- how many there were.
CREATE FUNCTION tramline.discard(p_ids bigint[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_keys text[];
    v_discarded bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(-1953260904, 0);
    WITH gone AS (
        DELETE FROM tramline.outbox_aside WHERE id = ANY (p_ids) AND parked RETURNING key
    )
    SELECT count(*), array_agg(DISTINCT key) FILTER (WHERE key IS NOT NULL)
    INTO v_discarded, v_keys FROM gone;
    WITH back AS (
        DELETE FROM tramline.outbox_aside a
        WHERE hashtextextended(a.key, 0) IN (SELECT hashtextextended(key, 0) FROM unnest(v_keys) AS key)
            AND a.key = ANY (v_keys) AND NOT a.parked AND NOT EXISTS (
            SELECT FROM tramline.outbox_aside p WHERE p.key = a.key AND p.parked AND p.id < a.id)
        RETURNING *
    )
    INSERT INTO tramline.outbox
    SELECT id, key, hold_until, attempts, tried, error, destination, envelope, body FROM back;
    RETURN v_discarded;
END
$$;

-- When, at the earliest, a row can be claimed that waits for nothing but its time or for a relay's lease, if there
-- is any.
CREATE FUNCTION tramline.outbox_next_due(p_now bigint) RETURNS bigint LANGUAGE plpgsql STABLE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_busy_ids bigint[];
    v_busy_keys text[];
    v_waiting_keys text[] := tramline.waiting_keys(p_now);
    v_is_now boolean;
BEGIN
    SELECT ARRAY(SELECT unnest(ids) FROM tramline.relay),
        ARRAY(SELECT DISTINCT unnest(keys) FROM tramline.relay)
    INTO v_busy_ids, v_busy_keys;
    v_is_now := EXISTS (
        SELECT FROM tramline.outbox o
        WHERE o.hold_until <= p_now AND NOT o.id IN (SELECT unnest(v_busy_ids))
            AND (o.key IS NULL OR NOT o.key IN (SELECT unnest(v_busy_keys || v_waiting_keys))));
    RETURN least(
        CASE WHEN v_is_now THEN p_now END,
        (SELECT min(hold_until) FROM tramline.outbox WHERE tried AND hold_until > p_now),
        (SELECT min(hold_until) FROM tramline.outbox_delayed),
        (SELECT min(until) FROM tramline.relay));
END
$$;

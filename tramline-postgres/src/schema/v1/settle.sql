-- What becomes of messages that were taken. Every change names the epoch that its taker saw: a message
-- that is no longer his is not touched.

-- These were handled, and of these claims nothing is held any more. Answers as `remove`.
CREATE FUNCTION tramline.ack(
    p_now bigint, p_queues int[], p_places bigint[], p_epochs int[], p_over bigint[]
) RETURNS int[] LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
BEGIN
    IF cardinality(p_over) > 0 THEN
        DELETE FROM tramline.claim WHERE token = ANY (p_over) AND NOT kept;
    END IF;
    RETURN tramline.remove(coalesce(p_now, tramline.clock()), p_queues, p_places, p_epochs);
END
$$;

-- These were handled. Answers which messages, counted from 1, were no longer their taker's.
CREATE FUNCTION tramline.remove(p_now bigint, p_queues int[], p_places bigint[], p_epochs int[])
RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
    v_done int[];
BEGIN
    IF NOT EXISTS (SELECT FROM tramline.queue WHERE id = ANY (p_queues) AND is_particular) THEN
        IF cardinality(p_places) = 1 THEN
            DELETE FROM tramline.message
            WHERE queue = p_queues[1] AND place = p_places[1] AND epoch = p_epochs[1];
            RETURN CASE WHEN FOUND THEN '{}' ELSE '{1}' END;
        END IF;
        WITH gone AS (
            DELETE FROM tramline.message m
            USING unnest(p_queues, p_places, p_epochs) WITH ORDINALITY AS a(queue, place, epoch, nth)
            WHERE m.queue = a.queue AND m.place = a.place AND m.epoch = a.epoch
            RETURNING a.nth
        )
        SELECT array_agg(nth) INTO v_done FROM gone;
    ELSE
        WITH gone AS (
            DELETE FROM tramline.message m
            USING unnest(p_queues, p_places, p_epochs) WITH ORDINALITY AS a(queue, place, epoch, nth)
            WHERE m.queue = a.queue AND m.place = a.place AND m.epoch = a.epoch
            RETURNING m.*, a.nth
        ), kept AS (
            INSERT INTO tramline.completed
            SELECT g.queue, g.place, g.epoch, g.flags, g.failures, g.deliveries, g.trials, g.since,
                g.unhandled_since, g.first_failed_at, g.expires_at, g.key, g.history, g.envelope, g.body,
                p_now, nextval('tramline.number')
            FROM gone g JOIN tramline.queue q ON q.id = g.queue
            WHERE q.keep_completed IS NOT NULL ORDER BY g.nth
        )
        SELECT array_agg(nth) FILTER (WHERE tramline.left(queue, place, key))
        INTO v_done FROM gone;
    END IF;
    IF cardinality(v_done) = cardinality(p_places) THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT nth FROM generate_series(1, cardinality(p_places)) AS nth
        WHERE NOT nth = ANY (coalesce(v_done, '{}')));
END
$$;

-- These dead letters are done with. Answers as `ack`.
CREATE FUNCTION tramline.ack_dead(p_queues int[], p_places bigint[], p_epochs int[])
RETURNS int[] LANGUAGE sql VOLATILE AS $$
    WITH gone AS (
        DELETE FROM tramline.dead d
        USING unnest(p_queues, p_places, p_epochs) WITH ORDINALITY AS a(queue, place, epoch, nth)
        WHERE d.queue = a.queue AND d.place = a.place AND d.epoch = a.epoch
        RETURNING a.nth
    )
    SELECT ARRAY(
        SELECT nth::int FROM generate_series(1, cardinality(p_places)) AS nth
        WHERE NOT nth IN (SELECT gone.nth FROM gone))
$$;

-- A claim lets go of these messages, or of all that it has: they can be taken again where they still are,
-- and whoever had them is heard no more. What is just being settled in another transaction is left to
-- that: it will be gone, or else it is still as it was.
CREATE FUNCTION tramline.let_go(p_token bigint, p_places bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    c tramline.claim;
    v_freed bigint[];
BEGIN
    SELECT * INTO c FROM tramline.claim WHERE token = p_token FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF c.dead THEN
        WITH free AS (
            SELECT place FROM tramline.dead
            WHERE queue = c.queue AND place = ANY (c.places)
                AND place = ANY (coalesce(p_places, c.places)) FOR UPDATE SKIP LOCKED
        ), freed AS (
            UPDATE tramline.dead d SET epoch = epoch + 1
            FROM free WHERE d.queue = c.queue AND d.place = free.place RETURNING d.place
        )
        SELECT array_agg(place) INTO v_freed FROM freed;
    ELSE
        WITH free AS (
            SELECT place FROM tramline.message
            WHERE queue = c.queue AND place = ANY (c.places)
                AND place = ANY (coalesce(p_places, c.places)) FOR UPDATE SKIP LOCKED
        ), freed AS (
            UPDATE tramline.message m SET epoch = epoch + 1
            FROM free WHERE m.queue = c.queue AND m.place = free.place RETURNING m.place
        )
        SELECT array_agg(place) INTO v_freed FROM freed;
    END IF;
    PERFORM tramline.shrink(c, v_freed, p_places);
END
$$;

-- A claim without the places that were freed, and without those of `p_of`, or of all, where nothing stands
-- any more. Rows that are locked are there, and not free: their places stay.
CREATE FUNCTION tramline.shrink(c tramline.claim, p_freed bigint[], p_of bigint[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    c.places := ARRAY(
        SELECT place FROM unnest(c.places) AS place
        WHERE NOT place = ANY (coalesce(p_freed, '{}'))
            AND (NOT place = ANY (coalesce(p_of, c.places))
                OR NOT c.dead AND EXISTS (
                    SELECT FROM tramline.message m WHERE m.queue = c.queue AND m.place = place.place)
                OR c.dead AND EXISTS (
                    SELECT FROM tramline.dead d WHERE d.queue = c.queue AND d.place = place.place))
        ORDER BY place);
    IF c.places = '{}' THEN
        DELETE FROM tramline.claim WHERE token = c.token;
    ELSE
        UPDATE tramline.claim
        SET places = c.places, kept = kept OR p_of IS NULL OR c.places && p_of WHERE token = c.token;
    END IF;
END
$$;

-- Whether a message is its taker's, and not just being settled in another transaction, such as one that was
-- given up and goes on in the server: who waited for that would hold up all others who settle. It is left to
-- that transaction then, and stays in its claim.
CREATE FUNCTION tramline.is_at_hand(p_queue int, p_place bigint, p_epoch int) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM tramline.message WHERE queue = p_queue AND place = p_place AND epoch = p_epoch
    FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
END
$$;

-- Back to its queue, charged, to be taken after a pause. Answers whether it was still its taker's.
CREATE FUNCTION tramline.retry(
    p_now bigint, p_queue int, p_place bigint, p_epoch int, p_after bigint,
    p_failures int, p_trials int, p_unhandled_since bigint, p_first_failed_at bigint, p_history text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
    m tramline.message;
BEGIN
    IF NOT tramline.is_at_hand(p_queue, p_place, p_epoch) THEN
        RETURN false;
    END IF;
    DELETE FROM tramline.message WHERE queue = p_queue AND place = p_place RETURNING * INTO m;
    m.epoch := m.epoch + 1;
    m.flags := m.flags | 2;
    m.deliveries := 0;
    m.failures := p_failures;
    m.trials := p_trials;
    m.unhandled_since := p_unhandled_since;
    m.first_failed_at := coalesce(m.first_failed_at, p_first_failed_at);
    m.history := p_history;
    m.since := v_now + p_after;
    IF p_after > 0 THEN
        INSERT INTO tramline.delayed SELECT m.*, v_now + p_after;
    ELSE
        INSERT INTO tramline.message SELECT m.*;
    END IF;
    RETURN true;
END
$$;

-- To the dead letters of its queue. Answers whether it was still its taker's.
CREATE FUNCTION tramline.bury(
    p_now bigint, p_queue int, p_place bigint, p_epoch int, p_name text, p_reason text,
    p_failures int, p_trials int, p_unhandled_since bigint, p_first_failed_at bigint, p_history text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
    m tramline.message;
BEGIN
    IF NOT tramline.is_at_hand(p_queue, p_place, p_epoch) THEN
        RETURN false;
    END IF;
    DELETE FROM tramline.message WHERE queue = p_queue AND place = p_place RETURNING * INTO m;
    m.epoch := m.epoch + 1;
    m.flags := m.flags | 2;
    m.deliveries := 0;
    m.failures := p_failures;
    m.trials := p_trials;
    m.unhandled_since := p_unhandled_since;
    m.first_failed_at := coalesce(m.first_failed_at, p_first_failed_at);
    m.history := p_history;
    m.since := v_now;
    INSERT INTO tramline.dead SELECT m.*, p_name, p_reason, v_now;
    PERFORM tramline.left(p_queue, p_place, m.key);
    RETURN true;
END
$$;

-- A dead letter that was taken stays one, with what is known of it by now. A name and a reason are
-- given when it has died again. Answers whether it was still its taker's.
CREATE FUNCTION tramline.charge_dead(
    p_now bigint, p_queue int, p_place bigint, p_epoch int, p_name text, p_reason text,
    p_failures int, p_trials int, p_unhandled_since bigint, p_first_failed_at bigint, p_history text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
BEGIN
    UPDATE tramline.dead SET epoch = epoch + 1, deliveries = 0, failures = p_failures,
        trials = p_trials, unhandled_since = p_unhandled_since,
        first_failed_at = coalesce(first_failed_at, p_first_failed_at), history = p_history,
        since = v_now, name = coalesce(p_name, name), reason = coalesce(p_reason, reason),
        failed_at = CASE WHEN p_reason IS NULL THEN failed_at ELSE v_now END
    WHERE queue = p_queue AND place = p_place AND epoch = p_epoch;
    RETURN FOUND;
END
$$;

-- One trial more. Answers whether the message is still its taker's.
CREATE FUNCTION tramline.mark_trial(p_dead boolean, p_queue int, p_place bigint, p_epoch int)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF p_dead THEN
        UPDATE tramline.dead SET trials = trials + 1
        WHERE queue = p_queue AND place = p_place AND epoch = p_epoch;
    ELSE
        UPDATE tramline.message SET trials = trials + 1
        WHERE queue = p_queue AND place = p_place AND epoch = p_epoch;
    END IF;
    RETURN FOUND;
END
$$;

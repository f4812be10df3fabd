-- Who takes messages, and what becomes of what the dead had taken.

-- A process says that it lives. It is written down only when a sixth of its lease is over, so that
-- taking messages writes nothing here.
CREATE FUNCTION tramline.register(p_process bigint, p_label text, p_now bigint, p_lease bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM tramline.process WHERE id = p_process AND lease_until > p_now + p_lease / 6 * 5;
    IF NOT FOUND THEN
        INSERT INTO tramline.process AS p (id, label, lease_until)
        VALUES (p_process, p_label, p_now + p_lease)
        ON CONFLICT (id) DO UPDATE SET lease_until = greatest(p.lease_until, excluded.lease_until);
    END IF;
END
$$;

-- A process says that it lives, what it holds and which session shows that it lives, and takes back what
-- the dead held, of whom it judges if it may. Answers which of its claims are no more, the queues that have
-- more now, those of `p_resting` in which there may be something to take although nobody has said so,
-- whether others hold something and can be seen to die, the claims of its own that it has not named, the
-- server's time, and whether the session that it names is no more: then nothing shows that it lives.
CREATE FUNCTION tramline.tend(
    p_process bigint, p_label text, p_lease bigint, p_now bigint, p_tokens bigint[], p_resting int[],
    p_backend int, p_judges boolean,
    OUT lost bigint[], OUT freed int[], OUT stirring int[], OUT watched boolean, OUT strange bigint[],
    OUT clock bigint, OUT cut boolean
) LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- With its session from the beginning: it may die a moment after it has taken something.
    IF p_backend IS NOT NULL OR cardinality(p_tokens) > 0 OR cardinality(p_resting) > 0
        OR EXISTS (SELECT FROM tramline.relay WHERE process = p_process)
        OR EXISTS (SELECT FROM tramline.temporary WHERE process = p_process)
    THEN
        PERFORM tramline.register(p_process, p_label, v_now, p_lease);
    END IF;
    -- A server that crashed has forgotten them.
    INSERT INTO tramline.asleep SELECT queue, p_process FROM unnest(p_resting) AS queue
    ON CONFLICT DO NOTHING;
    cut := p_backend IS NOT NULL AND pg_try_advisory_xact_lock_shared(-1953260910, p_backend);
    p_backend := CASE WHEN NOT cut THEN p_backend END;
    UPDATE tramline.process SET backend = p_backend, missed_at = NULL
    WHERE id = p_process AND (backend IS DISTINCT FROM p_backend OR missed_at IS NOT NULL);
    IF p_judges THEN
        PERFORM tramline.miss(p_process);
    END IF;
    freed := tramline.take_back(v_now);
    lost := ARRAY(
        SELECT token FROM unnest(p_tokens) AS held(token)
        WHERE NOT EXISTS (SELECT FROM tramline.claim c WHERE c.token = held.token));
    clock := tramline.clock();
    strange := ARRAY(
        SELECT token FROM tramline.claim WHERE process = p_process AND NOT token = ANY (p_tokens));
    stirring := ARRAY(
        SELECT queue FROM unnest(p_resting) AS resting(queue)
        WHERE EXISTS (SELECT FROM tramline.message m WHERE m.queue = resting.queue)
            OR EXISTS (SELECT FROM tramline.turn t WHERE t.queue = resting.queue)
            OR EXISTS (SELECT FROM tramline.delayed d WHERE d.queue = resting.queue AND d.due <= v_now)
            OR EXISTS (SELECT FROM tramline.dead d WHERE d.queue = resting.queue)
            OR resting.queue = 0 AND (EXISTS (SELECT FROM tramline.outbox)
                OR EXISTS (SELECT FROM tramline.outbox_delayed WHERE hold_until <= v_now)));
    watched := EXISTS (
        SELECT FROM tramline.process
        WHERE id <> p_process AND backend IS NOT NULL AND id IN (SELECT process FROM tramline.holder));
END
$$;

-- The processes that have taken something, or have queues of their own, some more than once.
CREATE VIEW tramline.holder AS
    SELECT process FROM tramline.claim UNION ALL SELECT process FROM tramline.relay
    UNION ALL SELECT process FROM tramline.temporary;

-- Whose lock is free has lost the session that held it. One who lives makes another within a moment, or
-- says that he has none; one whose lock is free for a second is dead, and his lease is over.
CREATE FUNCTION tramline.miss(p_process bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := tramline.clock();
    p record;
BEGIN
    -- A server that has just started has cut everybody off.
    IF pg_postmaster_start_time() > clock_timestamp() - interval '15 s' THEN
        RETURN;
    END IF;
    FOR p IN
        SELECT id, backend FROM tramline.process
        WHERE id <> p_process AND backend IS NOT NULL
            AND id IN (SELECT process FROM tramline.holder)
    LOOP
        IF pg_try_advisory_xact_lock_shared(-1953260910, p.backend) THEN
            UPDATE tramline.process AS missed SET missed_at = coalesce(missed.missed_at, v_now),
                lease_until = CASE WHEN missed.missed_at IS NULL THEN missed.lease_until ELSE 0 END
            FROM (
                SELECT id FROM tramline.process
                WHERE id = p.id AND backend = p.backend
                    AND (missed_at IS NULL OR missed_at <= v_now - 1000000)
                FOR UPDATE SKIP LOCKED
            ) AS free
            WHERE missed.id = free.id;
        ELSE
            UPDATE tramline.process AS there SET missed_at = NULL
            FROM (
                SELECT id FROM tramline.process
                WHERE id = p.id AND backend = p.backend AND missed_at IS NOT NULL
                FOR UPDATE SKIP LOCKED
            ) AS locked
            WHERE there.id = locked.id;
        END IF;
    END LOOP;
END
$$;

-- What processes held whose lease is over goes back, messages charged with a delivery of which nobody heard
-- the end. What is just being settled is left for the next time. Answers the queues that have more now.
CREATE FUNCTION tramline.take_back(p_now bigint) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
    v_process bigint;
    v_queues int[] := '{}';
BEGIN
    FOR v_process IN
        SELECT id FROM tramline.process WHERE lease_until <= p_now FOR UPDATE SKIP LOCKED
    LOOP
        v_queues := v_queues || tramline.take_from(v_process);
        DELETE FROM tramline.process
        WHERE id = v_process AND NOT EXISTS (SELECT FROM tramline.holder WHERE process = v_process);
        DELETE FROM tramline.asleep WHERE process = v_process;
    END LOOP;
    DELETE FROM tramline.asleep a WHERE NOT EXISTS (SELECT FROM tramline.process WHERE id = a.process);
    -- Was taken while its process was found dead.
    FOR v_process IN
        SELECT DISTINCT process FROM tramline.holder h
        WHERE NOT EXISTS (SELECT FROM tramline.process WHERE id = h.process)
    LOOP
        v_queues := v_queues || tramline.take_from(v_process);
    END LOOP;
    RETURN v_queues;
END
$$;

-- Takes back what one process holds.
CREATE FUNCTION tramline.take_from(p_process bigint) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
    c tramline.claim;
    v_freed bigint[];
    v_queues int[] := '{}';
BEGIN
    FOR c IN SELECT * FROM tramline.claim WHERE process = p_process FOR UPDATE SKIP LOCKED LOOP
        IF c.dead THEN
            WITH free AS (
                SELECT place FROM tramline.dead WHERE queue = c.queue AND place = ANY (c.places)
                FOR UPDATE SKIP LOCKED
            ), freed AS (
                UPDATE tramline.dead d SET epoch = epoch + 1, deliveries = deliveries + 1
                FROM free WHERE d.queue = c.queue AND d.place = free.place RETURNING d.place
            )
            SELECT array_agg(place) INTO v_freed FROM freed;
        ELSE
            WITH free AS (
                SELECT place FROM tramline.message WHERE queue = c.queue AND place = ANY (c.places)
                FOR UPDATE SKIP LOCKED
            ), freed AS (
                UPDATE tramline.message m SET epoch = epoch + 1, deliveries = deliveries + 1
                FROM free WHERE m.queue = c.queue AND m.place = free.place RETURNING m.place
            )
            SELECT array_agg(place) INTO v_freed FROM freed;
        END IF;
        IF v_freed IS NOT NULL THEN
            v_queues := v_queues || c.queue;
            INSERT INTO tramline.tally VALUES ('redelivered', cardinality(v_freed));
        END IF;
        PERFORM tramline.shrink(c, v_freed, NULL);
    END LOOP;
    PERFORM tramline.remove_queue(queue) FROM (
        SELECT queue FROM tramline.temporary WHERE process = p_process FOR UPDATE SKIP LOCKED) AS theirs;
    -- A relay that lives after all sends what it had once more: what came first of a key stays first.
    DELETE FROM tramline.relay WHERE lease IN (
        SELECT lease FROM tramline.relay WHERE process = p_process FOR UPDATE SKIP LOCKED);
    IF FOUND THEN
        v_queues := v_queues || 0;
    END IF;
    RETURN v_queues;
END
$$;

-- A process waits to be woken for a queue.
CREATE FUNCTION tramline.rest(
    p_queue int, p_process bigint, p_label text, p_lease bigint, p_now bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM tramline.register(p_process, p_label, coalesce(p_now, tramline.clock()), p_lease);
    INSERT INTO tramline.asleep VALUES (p_queue, p_process) ON CONFLICT DO NOTHING;
END
$$;

-- Wakes those who are asleep at one of these queues. The driver calls it in a transaction of its own, after
-- what it is about was committed: a transaction that notifies holds up the commits of all others.
CREATE FUNCTION tramline.wake(p_queues int[]) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM tramline.asleep WHERE queue = ANY (p_queues)) THEN
        RETURN false;
    END IF;
    PERFORM pg_notify('tramline', array_to_string(p_queues, ','));
    RETURN true;
END
$$;

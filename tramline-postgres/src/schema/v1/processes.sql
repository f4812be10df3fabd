-- Who takes messages, and what becomes of what the dead had taken.

-- A process says that it lives, until then at least.
CREATE FUNCTION tramline.register(p_process bigint, p_label text, p_until bigint)
RETURNS void LANGUAGE sql VOLATILE AS $$
    INSERT INTO tramline.process AS p VALUES (p_process, p_label, p_until)
    ON CONFLICT (id) DO UPDATE SET lease_until = greatest(p.lease_until, excluded.lease_until)
$$;

-- A process says that it lives and what it holds, and takes back what the dead held. Answers which of
-- its claims are no more, the queues that have more now, and those of `p_resting` in which there may be
-- something to take although nobody has said so.
CREATE FUNCTION tramline.tend(
    p_process bigint, p_label text, p_lease bigint, p_now bigint, p_tokens bigint[], p_resting int[],
    OUT lost bigint[], OUT freed int[], OUT stirring int[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    IF cardinality(p_tokens) > 0 THEN
        PERFORM tramline.register(p_process, p_label, v_now + p_lease);
    END IF;
    freed := tramline.take_back(v_now);
    lost := ARRAY(
        SELECT token FROM unnest(p_tokens) AS held(token)
        WHERE NOT EXISTS (SELECT FROM tramline.claim c WHERE c.token = held.token));
    stirring := ARRAY(
        SELECT queue FROM unnest(p_resting) AS resting(queue)
        WHERE EXISTS (SELECT FROM tramline.message m WHERE m.queue = resting.queue)
            OR EXISTS (SELECT FROM tramline.turn t WHERE t.queue = resting.queue)
            OR EXISTS (SELECT FROM tramline.delayed d WHERE d.queue = resting.queue AND d.due <= v_now)
            OR EXISTS (SELECT FROM tramline.dead d WHERE d.queue = resting.queue)
            OR resting.queue = 0 AND EXISTS (SELECT FROM tramline.outbox));
END
$$;

-- What processes held whose lease is over goes back, charged with a delivery of which nobody heard the
-- end. What is just being settled is left for the next time. Answers the queues that have more now.
CREATE FUNCTION tramline.take_back(p_now bigint) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
    p record;
    c record;
    v_freed bigint[];
    v_queues int[] := '{}';
BEGIN
    FOR p IN
        SELECT id FROM tramline.process WHERE lease_until <= p_now FOR UPDATE SKIP LOCKED
    LOOP
        FOR c IN SELECT * FROM tramline.claim WHERE process = p.id FOR UPDATE SKIP LOCKED LOOP
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
            -- Rows that are locked are there, and not free: the claim keeps those only.
            UPDATE tramline.claim SET places = ARRAY(
                SELECT place FROM unnest(c.places) AS place
                WHERE NOT place = ANY (coalesce(v_freed, '{}'))
                    AND (EXISTS (SELECT FROM tramline.message m
                            WHERE NOT c.dead AND m.queue = c.queue AND m.place = place.place)
                        OR EXISTS (SELECT FROM tramline.dead d
                            WHERE c.dead AND d.queue = c.queue AND d.place = place.place)))
            WHERE token = c.token;
            DELETE FROM tramline.claim WHERE token = c.token AND places = '{}';
        END LOOP;
        DELETE FROM tramline.process
        WHERE id = p.id AND NOT EXISTS (SELECT FROM tramline.claim WHERE process = p.id);
        DELETE FROM tramline.asleep WHERE process = p.id;
    END LOOP;
    RETURN v_queues;
END
$$;

-- Wakes those who are asleep at one of these queues. Called in a transaction of its own, after what it
-- is about was committed: a transaction that notifies holds up the commits of all others.
CREATE FUNCTION tramline.wake(p_queues int[]) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM tramline.asleep WHERE queue = ANY (p_queues)) THEN
        RETURN false;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_notify('tramline', array_to_string(p_queues, ','));
    RETURN true;
END
$$;

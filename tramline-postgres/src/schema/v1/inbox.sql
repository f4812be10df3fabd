-- Which messages endpoints have handled.

-- Remembers messages, each for the first time. Answers, for each: 0: so it is; 1: it was handled before;
-- 2: its key came before with another body; 3: somebody else is at work on it. Nobody is waited for.
CREATE FUNCTION tramline.admit(
    p_now bigint, p_endpoints text[], p_messages text[], p_keys text[], p_ids text[], p_hashes bigint[],
    p_keyed boolean[]
) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
    v_answers int[] := '{}';
    v_known int;
    s record;
BEGIN
    FOR s IN
        SELECT * FROM unnest(p_endpoints, p_messages, p_keys, p_ids, p_hashes, p_keyed)
            AS s(endpoint, message, key, id, body_hash, keyed)
    LOOP
        -- Whoever has this lock has not committed yet. The row below would have to wait for him.
        IF NOT pg_try_advisory_xact_lock(hashtextextended(
            s.endpoint || E'\x01' || s.message || E'\x01' || s.key, 1953260905))
        THEN
            v_answers := v_answers || 3;
            CONTINUE;
        END IF;
        v_known := tramline.known(s.endpoint, s.message, s.key, s.id, s.body_hash, s.keyed);
        IF v_known = 0 THEN
            INSERT INTO tramline.inbox VALUES (
                s.endpoint, tramline.short(s.message), tramline.short(s.key), s.id, s.body_hash, v_now)
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                v_known := 3;
            END IF;
        END IF;
        v_answers := v_answers || v_known;
    END LOOP;
    RETURN v_answers;
END
$$;

-- What the inbox knows of a message, in the words of `admit`.
CREATE FUNCTION tramline.known(
    p_endpoint text, p_message text, p_key text, p_id text, p_hash bigint, p_keyed boolean
) RETURNS int LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((
        SELECT CASE WHEN NOT p_keyed OR message_id = p_id OR body_hash = p_hash THEN 1 ELSE 2 END
        FROM tramline.inbox WHERE endpoint = p_endpoint AND message = tramline.short(p_message)
            AND key = tramline.short(p_key)), 0);
END
$$;

-- The same of many.
CREATE FUNCTION tramline.known_all(
    p_endpoints text[], p_messages text[], p_keys text[], p_ids text[], p_hashes bigint[],
    p_keyed boolean[]
) RETURNS int[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT tramline.known(endpoint, message, key, id, body_hash, keyed)
        FROM unnest(p_endpoints, p_messages, p_keys, p_ids, p_hashes, p_keyed) WITH ORDINALITY
            AS s(endpoint, message, key, id, body_hash, keyed, nth)
        ORDER BY nth);
END
$$;

-- Forgets the oldest rows of an endpoint, as far as they are older than `p_before`. What others are
-- just forgetting is left to them. Answers how many.
CREATE FUNCTION tramline.prune_inbox(p_endpoint text, p_before bigint, p_limit bigint)
RETURNS bigint LANGUAGE sql VOLATILE AS $$
    WITH old AS (
        SELECT endpoint, message, key FROM tramline.inbox
        WHERE endpoint = p_endpoint AND at < p_before ORDER BY at LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM tramline.inbox i USING old
        WHERE i.endpoint = old.endpoint AND i.message = old.message AND i.key = old.key
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

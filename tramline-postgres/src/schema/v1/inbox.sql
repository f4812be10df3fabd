-- Which messages endpoints have handled.

-- Remembers messages, each for the first time. Answers, for each: 0: so it is; 1: it was handled before;
-- 2: its key came before with another body; 3: somebody else is at work on it. Nobody is waited for.
CREATE FUNCTION tramline.admit(
    p_now bigint, p_endpoints text[], p_messages text[], p_keys text[], p_ids text[], p_hashes bigint[],
    p_keyed boolean[]
) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
    v_free boolean[];
    v_new text[];
BEGIN
    -- Whoever has one of these locks has not committed yet. The rows below would have to wait for him.
    IF cardinality(p_keys) = 1 THEN
        v_free := ARRAY[pg_try_advisory_xact_lock(hashtextextended(
            p_endpoints[1] || E'\x01' || p_messages[1] || E'\x01' || p_keys[1], 1953260905))];
    ELSE
        SELECT array_agg(pg_try_advisory_xact_lock(hashtextextended(
            m.endpoint || E'\x01' || m.message || E'\x01' || m.key, 1953260905)) ORDER BY m.nth)
        INTO v_free
        FROM unnest(p_endpoints, p_messages, p_keys) WITH ORDINALITY AS m(endpoint, message, key, nth);
    END IF;
    IF true = ALL (v_free) AND cardinality(p_keys) = 1 THEN
        INSERT INTO tramline.inbox VALUES (
            p_endpoints[1], tramline.short(p_messages[1]), tramline.short(p_keys[1]), p_ids[1],
            p_hashes[1], p_now)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN '{0}';
        END IF;
    ELSIF true = ALL (v_free) THEN
        -- That none of many was here before is tried first: it nearly always is so, and costs half.
        BEGIN
            INSERT INTO tramline.inbox
            SELECT m.endpoint, tramline.short(m.message), tramline.short(m.key), m.id, m.body_hash, p_now
            FROM unnest(p_endpoints, p_messages, p_keys, p_ids, p_hashes)
                AS m(endpoint, message, key, id, body_hash);
            RETURN array_fill(0, ARRAY[cardinality(p_keys)]);
        EXCEPTION WHEN unique_violation THEN
            -- Some were here before.
        END;
    END IF;
    -- Of one that is there twice, the first is written.
    WITH written AS (
        INSERT INTO tramline.inbox
        SELECT m.endpoint, tramline.short(m.message), tramline.short(m.key), m.id, m.body_hash, p_now
        FROM unnest(p_endpoints, p_messages, p_keys, p_ids, p_hashes, v_free) WITH ORDINALITY
            AS m(endpoint, message, key, id, body_hash, free, nth)
        WHERE m.free ORDER BY m.nth
        ON CONFLICT DO NOTHING
        RETURNING endpoint || E'\x01' || message || E'\x01' || key AS name
    )
    SELECT coalesce(array_agg(name), '{}') INTO v_new FROM written;
    IF cardinality(v_new) = cardinality(p_keys) THEN
        RETURN array_fill(0, ARRAY[cardinality(p_keys)]);
    END IF;
    RETURN ARRAY(
        SELECT CASE
            WHEN NOT m.free THEN 3
            WHEN m.name = ANY (v_new) AND row_number() OVER (PARTITION BY m.name ORDER BY m.nth) = 1 THEN 0
            -- What is there, and not to be seen, has come a moment ago.
            ELSE coalesce(nullif(
                tramline.known(m.endpoint, m.message, m.key, m.id, m.body_hash, m.keyed), 0), 3)
            END
        FROM (
            SELECT *, n.endpoint || E'\x01' || tramline.short(n.message) || E'\x01'
                || tramline.short(n.key) AS name
            FROM unnest(p_endpoints, p_messages, p_keys, p_ids, p_hashes, p_keyed, v_free)
                WITH ORDINALITY AS n(endpoint, message, key, id, body_hash, keyed, free, nth)
        ) AS m
        ORDER BY m.nth);
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
) RETURNS int[] LANGUAGE plpgsql STABLE
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
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

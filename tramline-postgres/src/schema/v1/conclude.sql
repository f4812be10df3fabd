-- A handler's transaction comes to its end.

-- Acks, inbox rows and messages of one unit of work or of many, in this order, inside a transaction that the
-- caller ends; it must be the one that was opened for the handler. Answers which acks, counted from 1,
-- were no longer their taker's, what the inbox says in the words of `admit`, and whether the caller's
-- routes are old: unless all of it is good, what was done so far has to be rolled back. Routes that
-- turn out to be old are seen before anything is done. Who sends the COMMIT without waiting for this answer
-- lets what is not good be raised, so that the COMMIT commits nothing.
--
-- Plans are kept: made anew for the few rows of each call, they would cost more than what they do.
CREATE FUNCTION tramline.conclude(
    p_raises boolean, p_now bigint,
    p_ack_queues int[], p_ack_places bigint[], p_ack_epochs int[],
    p_endpoints text[], p_messages text[], p_seen_as text[], p_ids text[], p_hashes bigint[],
    p_keyed boolean[],
    p_topology bigint, p_queues int[], p_ranks int[], p_lanes text[], p_dues bigint[],
    p_expires bigint[], p_keys text[], p_envelopes text[], p_bodies bytea[],
    p_out_keys text[], p_out_dues bigint[], p_destinations text[], p_out_envelopes text[],
    p_out_bodies bytea[],
    OUT lost int[], OUT known int[], OUT is_stale boolean
) LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_now bigint := coalesce(p_now, tramline.clock());
BEGIN
    IF current_setting('tramline.handler', true) IS DISTINCT FROM 'open' THEN
        RAISE EXCEPTION 'the transaction of a handler was ended inside of it'
            USING ERRCODE = 'TM001', HINT = 'leave COMMIT and ROLLBACK to the bus; use savepoints';
    END IF;
    lost := '{}';
    known := '{}';
    is_stale := p_topology IS NOT NULL
        AND NOT EXISTS (SELECT FROM tramline.topology WHERE version = p_topology);
    IF is_stale THEN
        IF p_raises THEN
            RAISE EXCEPTION 'queues were declared since these routes were read' USING ERRCODE = 'TM003';
        END IF;
        RETURN;
    END IF;
    IF cardinality(p_ack_queues) > 0 THEN
        lost := tramline.remove(v_now, p_ack_queues, p_ack_places, p_ack_epochs);
    END IF;
    IF cardinality(p_endpoints) > 0 THEN
        known := tramline.admit(
            v_now, p_endpoints, p_messages, p_seen_as, p_ids, p_hashes, p_keyed);
    END IF;
    IF cardinality(lost) > 0 OR 0 <> ANY (known) THEN
        IF p_raises THEN
            RAISE EXCEPTION 'conditions of a unit of work did not hold' USING ERRCODE = 'TM002',
                DETAIL = json_build_object('lost', lost, 'known', known);
        END IF;
        RETURN;
    END IF;
    IF cardinality(p_queues) > 0 THEN
        PERFORM tramline.put_rows(
            v_now, 1, p_queues, p_ranks, p_lanes, p_dues, p_expires, p_keys, p_envelopes, p_bodies);
    END IF;
    IF cardinality(p_destinations) > 0 THEN
        PERFORM tramline.append_rows(
            p_out_keys, p_out_dues, p_destinations, p_out_envelopes, p_out_bodies);
    END IF;
END
$$;

-- Whether this is the database with this identity.
CREATE FUNCTION tramline.is_here(p_database text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN p_database = (SELECT oid FROM pg_database WHERE datname = current_database())::text
        || '/' || (SELECT database FROM tramline.schema)::text;
END
$$;

-- For whoever writes in a transaction that the bus does not end: its id, to ask later what became of it;
-- NULL if it is in another database. Without a database to compare with, nobody will ask.
CREATE FUNCTION tramline.enlist(p_database text) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN p_database IS NULL THEN ''
        WHEN tramline.is_here(p_database) THEN pg_current_xact_id()::text END
$$;

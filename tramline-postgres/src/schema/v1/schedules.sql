-- Messages that leave at a moment unless they are cancelled, and moments that come again.

-- Changes schedules. Each change has a kind, which says what the columns are:
-- 0: put `p_names` in the place of what there was, to be `p_dues`, although it was cancelled if `p_flags`; the
--    time is `p_moments`.
-- 1: cancel it at the time `p_moments`; its name is remembered until `p_dues`.
-- 2: it fires, and its name is remembered until `p_dues`.
-- 3: it recurs in the rhythm `p_texts`, with `p_dues` as its first moment.
-- 4: what recurs is silent, or is not, as `p_flags` says.
-- 5: what recurs, as it was read, has `p_moments` as its next moment.
-- Answers, for each: of 1, the state of the name from now on; of the others, 0: done, or 1: not so, because it was
-- cancelled before (0), is not as it was (2, 5) or does not recur (4). And whether something is due before all that
-- was known. Changes of one name are made in their order, of several in that of the names: so nobody waits for one
-- who waits for him.
CREATE FUNCTION tramline.change_schedules(
    p_kinds int[], p_names text[], p_tokens bigint[], p_moments bigint[], p_dues bigint[], p_texts text[],
    p_envelopes text[], p_bodies bytea[], p_flags boolean[],
    OUT answers int[], OUT wakes boolean
) LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    c record;
    -- Whoever fires sleeps until the first one is due: only an earlier one is news to him.
    v_first bigint := (SELECT at FROM tramline.schedule WHERE state = 0 ORDER BY at LIMIT 1);
    v_answer int;
BEGIN
    answers := array_fill(0, ARRAY[cardinality(p_kinds)]);
    wakes := EXISTS (SELECT FROM unnest(p_kinds) AS kind WHERE kind IN (3, 4));
    FOR c IN
        SELECT * FROM unnest(
            p_kinds, p_names, p_tokens, p_moments, p_dues, p_texts, p_envelopes, p_bodies, p_flags)
            WITH ORDINALITY AS n(kind, name, token, moment, due, text, envelope, body, flag, nth)
        ORDER BY n.kind > 2, n.name COLLATE "C", n.nth
    LOOP
        IF c.kind = 0 THEN
            v_answer := tramline.put_schedule(
                c.name, c.token, c.moment, c.due, c.text, c.envelope, c.body, c.flag);
            wakes := wakes OR v_answer = 0 AND (v_first IS NULL OR c.due < v_first);
        ELSIF c.kind = 1 THEN
            v_answer := tramline.cancel_schedule(c.name, c.moment, c.due);
        ELSIF c.kind = 2 THEN
            UPDATE tramline.schedule
            SET state = 1, at = c.due, destination = NULL, envelope = NULL, body = NULL
            WHERE name = c.name AND token = c.token AND state = 0;
            v_answer := CASE WHEN FOUND THEN 0 ELSE 1 END;
        ELSIF c.kind = 3 THEN
            INSERT INTO tramline.recurring AS r VALUES (c.name, c.token, c.text, c.due, false)
            ON CONFLICT (name) DO UPDATE SET rhythm = c.text, due = c.due WHERE r.rhythm <> c.text;
            v_answer := 0;
        ELSIF c.kind = 4 THEN
            UPDATE tramline.recurring SET paused = c.flag WHERE name = c.name;
            v_answer := CASE WHEN FOUND THEN 0 ELSE 1 END;
        ELSE
            UPDATE tramline.recurring SET due = c.moment
            WHERE name = c.name AND token = c.token AND rhythm = c.text AND due = c.due
                AND paused = c.flag;
            v_answer := CASE WHEN FOUND THEN 0 ELSE 1 END;
        END IF;
        answers[c.nth] := v_answer;
    END LOOP;
END
$$;

-- A name that is still remembered as cancelled stays so. Answers 1 then, and else 0.
CREATE FUNCTION tramline.put_schedule(
    p_name text, p_token bigint, p_now bigint, p_due bigint, p_destination text, p_envelope text,
    p_body bytea, p_anew boolean
) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tramline.schedule AS s
    VALUES (p_name, p_token, 0, p_due, p_due, p_destination, p_envelope, p_body)
    ON CONFLICT (name) DO UPDATE SET token = p_token, state = 0, due = p_due, at = p_due,
        destination = p_destination, envelope = p_envelope, body = p_body
    WHERE p_anew OR s.state < 2 OR s.at <= p_now;
    RETURN CASE WHEN FOUND THEN 0 ELSE 1 END;
END
$$;

-- It will not fire, unless it has; nor will another of its name. Answers its state.
CREATE FUNCTION tramline.cancel_schedule(p_name text, p_now bigint, p_until bigint)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    v_state int;
BEGIN
    INSERT INTO tramline.schedule AS s (name, token, state, due, at)
    VALUES (p_name, 0, 3, p_now, p_until)
    ON CONFLICT (name) DO UPDATE SET at = p_until, destination = NULL, envelope = NULL, body = NULL,
        state = CASE
            WHEN s.state = 0 THEN 2
            WHEN s.at <= p_now THEN 3
            WHEN s.state = 1 THEN 4
            ELSE s.state
        END
    RETURNING s.state INTO v_state;
    RETURN v_state;
END
$$;

-- The same as `change_schedules` at the end of a handler's transaction, as `conclude` has it. Answers which of the
-- changes, counted from 1, are refused because something is not as it was, or lets that be raised.
CREATE FUNCTION tramline.conclude_schedules(
    p_raises boolean, p_kinds int[], p_names text[], p_tokens bigint[], p_moments bigint[],
    p_dues bigint[], p_texts text[], p_envelopes text[], p_bodies bytea[], p_flags boolean[],
    OUT changed int[], OUT wakes boolean
) LANGUAGE plpgsql AS $$
DECLARE
    v_answers int[];
BEGIN
    IF current_setting('tramline.handler', true) IS DISTINCT FROM 'open' THEN
        RAISE EXCEPTION 'the transaction of a handler was ended inside of it'
            USING ERRCODE = 'TM001', HINT = 'leave COMMIT and ROLLBACK to the bus; use savepoints';
    END IF;
    SELECT c.answers, c.wakes INTO v_answers, wakes FROM tramline.change_schedules(
        p_kinds, p_names, p_tokens, p_moments, p_dues, p_texts, p_envelopes, p_bodies, p_flags) AS c;
    changed := ARRAY(
        SELECT nth FROM unnest(p_kinds, v_answers) WITH ORDINALITY AS c(kind, answer, nth)
        WHERE kind IN (2, 5) AND answer <> 0 ORDER BY nth);
    IF p_raises AND cardinality(changed) > 0 THEN
        RAISE EXCEPTION 'conditions of a unit of work did not hold' USING ERRCODE = 'TM002',
            DETAIL = json_build_object('changed', changed);
    END IF;
END
$$;

-- Schedules that are due, the earliest first, up to so many bytes of bodies, give or take the last one.
CREATE FUNCTION tramline.due_schedules(p_now bigint, p_limit bigint, p_bytes_max bigint)
RETURNS SETOF tramline.schedule LANGUAGE plpgsql STABLE
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    s tramline.schedule;
    v_bytes bigint := 0;
BEGIN
    FOR s IN
        SELECT * FROM tramline.schedule WHERE state = 0 AND at <= p_now ORDER BY at LIMIT p_limit
    LOOP
        RETURN NEXT s;
        v_bytes := v_bytes + coalesce(octet_length(s.body), 0);
        EXIT WHEN v_bytes >= p_bytes_max;
    END LOOP;
END
$$;

-- When the next one is to be looked at that is not due yet.
CREATE FUNCTION tramline.next_schedule(p_now bigint) RETURNS bigint LANGUAGE plpgsql STABLE
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
AS $$
BEGIN
    RETURN (SELECT at FROM tramline.schedule WHERE state = 0 AND at > p_now ORDER BY at LIMIT 1);
END
$$;

-- This one is not looked at before `p_until`, if it still waits.
CREATE FUNCTION tramline.postpone_schedule(p_name text, p_token bigint, p_until bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tramline.schedule SET at = p_until WHERE name = p_name AND token = p_token AND state = 0;
END
$$;

-- Forgets names that were to be remembered until `p_now` at most. What others are just changing is left for the
-- next time. Answers how many.
CREATE FUNCTION tramline.prune_schedules(p_now bigint, p_limit bigint) RETURNS bigint LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    v_pruned bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    WITH old AS (
        SELECT name FROM tramline.schedule WHERE state > 0 AND at <= p_now ORDER BY at LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    )
    DELETE FROM tramline.schedule s USING old WHERE s.name = old.name;
    GET DIAGNOSTICS v_pruned = ROW_COUNT;
    RETURN v_pruned;
END
$$;

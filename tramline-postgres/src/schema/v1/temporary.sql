-- Temporary queues: gone with the process that has declared them.

-- A queue that was just declared is a process's own. The process is in the table from now on, so that it is
-- missed when it dies.
CREATE FUNCTION tramline.own(
    p_queue text, p_process bigint, p_label text, p_lease bigint, p_now bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tramline.register(p_process, p_label, coalesce(p_now, tramline.clock()), p_lease);
    INSERT INTO tramline.temporary SELECT id, p_process FROM tramline.queue WHERE name = p_queue;
END
$$;

-- Removes a temporary queue with all that is in it. Who has looked up the way to it before may still put
-- something there: `forget` sweeps behind it.
CREATE FUNCTION tramline.remove_queue(p_queue int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tramline.enter(p_queue);
    DELETE FROM tramline.claim WHERE queue = p_queue;
    DELETE FROM tramline.completed WHERE queue = p_queue;
    DELETE FROM tramline.dead WHERE queue = p_queue;
    DELETE FROM tramline.length WHERE queue = p_queue;
    DELETE FROM tramline.seen WHERE queue = p_queue;
    DELETE FROM tramline.asleep WHERE queue = p_queue;
    DELETE FROM tramline.subscription WHERE queue = p_queue;
    DELETE FROM tramline.temporary WHERE queue = p_queue;
    DELETE FROM tramline.queue WHERE id = p_queue;
    PERFORM tramline.sweep(p_queue);
    INSERT INTO tramline.removed VALUES (p_queue, tramline.clock()) ON CONFLICT DO NOTHING;
    PERFORM tramline.new_topology();
END
$$;

-- Removes what waits in a queue that is no more.
CREATE FUNCTION tramline.sweep(p_queue int) RETURNS void LANGUAGE sql AS $$
    DELETE FROM tramline.message WHERE queue = p_queue;
    DELETE FROM tramline.delayed WHERE queue = p_queue;
    DELETE FROM tramline.behind WHERE queue = p_queue;
    DELETE FROM tramline.lane WHERE queue = p_queue;
    DELETE FROM tramline.turn WHERE queue = p_queue;
    DELETE FROM tramline.unique_key WHERE queue = p_queue;
$$;

-- Sweeps behind queues that were removed a minute ago: nobody goes by ways that old any more.
CREATE FUNCTION tramline.sweep_behind() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_queue int;
BEGIN
    FOR v_queue IN
        SELECT queue FROM tramline.removed WHERE at < tramline.clock() - 60000000 FOR UPDATE SKIP LOCKED
    LOOP
        PERFORM tramline.sweep(v_queue) WHERE NOT EXISTS (SELECT FROM tramline.queue WHERE id = v_queue);
        DELETE FROM tramline.removed WHERE queue = v_queue;
    END LOOP;
END
$$;

-- Removes the temporary queues of these names that a process has.
CREATE FUNCTION tramline.remove_temporary(p_process bigint, p_names text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tramline.remove_queue(t.queue)
    FROM tramline.temporary t JOIN tramline.queue q ON q.id = t.queue
    WHERE t.process = p_process AND q.name = ANY (p_names);
END
$$;

-- Makes a queue again, empty, for a process that was given up while it lived: under the same id, by which its
-- receivers know it. Answers whether it was gone.
CREATE FUNCTION tramline.restore_queue(
    p_process bigint, p_label text, p_lease bigint, p_now bigint, p_queue int, p_name text, p_spec text,
    p_ordering smallint, p_priority_max smallint, p_length_max bigint, p_dedup_window bigint,
    p_is_unique boolean, p_keep_completed bigint, p_keep_dead bigint, p_is_particular boolean, p_topics text[], p_rules text[]
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tramline.temporary WHERE queue = p_queue) THEN
        RETURN false;
    END IF;
    LOCK TABLE tramline.topology IN EXCLUSIVE MODE;
    INSERT INTO tramline.queue (id, name, spec, ordering, priority_max, length_max, dedup_window,
        is_unique, keep_completed, keep_dead, is_particular)
    OVERRIDING SYSTEM VALUE
    VALUES (p_queue, p_name, p_spec, p_ordering, p_priority_max, p_length_max, p_dedup_window,
        p_is_unique, p_keep_completed, p_keep_dead, p_is_particular)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM tramline.removed WHERE queue = p_queue;
    PERFORM tramline.own(p_name, p_process, p_label, p_lease, p_now);
    INSERT INTO tramline.subscription (topic, queue, rules)
    SELECT topic, p_queue, rules FROM unnest(p_topics, p_rules) AS asked(topic, rules);
    PERFORM tramline.new_topology();
    RETURN true;
END
$$;

-- For triggers and for programs in any language.

-- Headers as they are kept: each says what it is. A number that is not whole travels as text, exactly.
CREATE FUNCTION tramline.headers(p_headers jsonb) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_object_agg(name, CASE
        WHEN jsonb_typeof(value) = 'boolean' THEN json_build_object('bool', value)
        WHEN jsonb_typeof(value) = 'number' AND value::text ~ '^-?[0-9]{1,18}$'
            THEN json_build_object('int', value)
        ELSE json_build_object('text', value #>> '{}') END)
    FROM jsonb_each(p_headers) AS header(name, value)
    WHERE jsonb_typeof(value) <> 'null'
$$;

-- What travels beside a body.
CREATE FUNCTION tramline.envelope(
    p_id text, p_name text, p_now bigint, p_key text, p_expires_at bigint, p_priority int,
    p_headers jsonb, p_topic text, p_subject text, p_idempotency_key text
) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', p_id, 'name', p_name, 'content_type', 'application/json', 'sent_at', p_now,
        'key', p_key, 'idempotency_key', p_idempotency_key, 'expires_at', p_expires_at, 'priority', p_priority, 'headers',
        CASE WHEN p_headers IS NOT NULL THEN tramline.headers(p_headers) END,
        'via', CASE WHEN p_topic IS NOT NULL THEN
            json_build_object('topic', p_topic, 'subject', p_subject) END))::text
$$;

-- Refuses what no program could read.
CREATE FUNCTION tramline.check_message(p_to text, p_id text, p_priority int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(p_to, '') = '' THEN
        RAISE EXCEPTION 'failed to send a message: it names neither a queue nor an event'
            USING ERRCODE = '22023';
    ELSIF octet_length(p_id) NOT BETWEEN 1 AND 128 THEN
        RAISE EXCEPTION 'failed to send to %: the id must have 1 to 128 bytes', p_to
            USING ERRCODE = '22023';
    ELSIF p_priority NOT BETWEEN 0 AND 255 THEN
        RAISE EXCEPTION 'failed to send to %: priorities go from 0 to 255', p_to
            USING ERRCODE = '22023';
    END IF;
END
$$;

-- Sends a command to a queue, inside the caller's transaction. If the queue is not one of this database,
-- the relay sends it to the broker. Answers the message's id. Whoever waits for it is woken by this very
-- transaction unless `wake` is false, which keeps commits of many at once from waiting for each other. Of
-- messages with the same id, or the same idempotency key, an endpoint with a store handles one.
CREATE FUNCTION tramline.send(
    queue text, body jsonb, name text DEFAULT NULL, key text DEFAULT NULL, delay interval DEFAULT NULL,
    ttl interval DEFAULT NULL, priority int DEFAULT NULL, headers jsonb DEFAULT NULL,
    id text DEFAULT NULL, idempotency_key text DEFAULT NULL, wake boolean DEFAULT true
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := tramline.clock();
    v_due bigint := v_now + (extract(epoch FROM delay) * 1000000)::bigint;
    v_id text := coalesce(id, gen_random_uuid()::text);
    v_envelope text;
    v_expires_at bigint := coalesce(v_due, v_now) + (extract(epoch FROM ttl) * 1000000)::bigint;
    v_placed int;
    q tramline.queue;
BEGIN
    PERFORM tramline.check_message(queue, v_id, priority);
    v_envelope := tramline.envelope(
        v_id, name, v_now, key, v_expires_at, priority, headers, NULL, NULL, idempotency_key);
    SELECT * INTO q FROM tramline.queue WHERE tramline.queue.name = send.queue;
    IF NOT FOUND THEN
        PERFORM tramline.append(ARRAY[key], ARRAY[v_due],
            ARRAY[json_build_object('queue', json_build_object('Main', queue))::text],
            ARRAY[v_envelope], ARRAY[convert_to(body::text, 'UTF8')]);
        PERFORM tramline.wake(ARRAY[0]) WHERE wake;
        RETURN v_id;
    END IF;
    -- Not placed at all, if queues were declared at this very moment. An id that the caller has given may come
    -- again, in a transaction that is run again: it is looked for in the inbox.
    WHILE v_placed IS NULL LOOP
        v_placed := tramline.place(
            (SELECT version FROM tramline.topology), v_now, CASE WHEN id IS NULL THEN 1 ELSE 0 END, true,
            ARRAY[q.id], ARRAY[255 - least(coalesce(priority, 0), q.priority_max)],
            coalesce('key ' || idempotency_key, 'id ' || v_id), v_due,
            0, 0, NULL, NULL, NULL, v_expires_at, key, v_envelope, convert_to(body::text, 'UTF8'));
    END LOOP;
    IF v_placed < 0 THEN
        RAISE EXCEPTION 'failed to send to queue %: it is at its maximum length', queue
            USING HINT = 'there is room once some of its messages are handled';
    END IF;
    PERFORM tramline.wake(ARRAY[q.id]) WHERE wake;
    RETURN v_id;
END
$$;

-- Publishes an event to its subscribers, inside the caller's transaction: a relay hands it to the broker
-- of the bus, which knows who subscribed to what. Answers the message's id. As `send` otherwise.
CREATE FUNCTION tramline.publish(
    name text, body jsonb, key text DEFAULT NULL, delay interval DEFAULT NULL,
    ttl interval DEFAULT NULL, priority int DEFAULT NULL, headers jsonb DEFAULT NULL,
    topic text DEFAULT NULL, subject text DEFAULT NULL, id text DEFAULT NULL,
    idempotency_key text DEFAULT NULL, wake boolean DEFAULT true
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := tramline.clock();
    v_due bigint := v_now + (extract(epoch FROM delay) * 1000000)::bigint;
    v_id text := coalesce(id, gen_random_uuid()::text);
    v_topic text := coalesce(topic, split_part(name, '.', 1));
    v_subject text := coalesce(subject, name);
    v_expires_at bigint := coalesce(v_due, v_now) + (extract(epoch FROM ttl) * 1000000)::bigint;
BEGIN
    PERFORM tramline.check_message(v_subject, v_id, priority);
    PERFORM tramline.append(ARRAY[key], ARRAY[v_due],
        ARRAY[json_build_object('topic',
            json_build_object('name', v_topic, 'subject', v_subject))::text],
        ARRAY[tramline.envelope(
            v_id, name, v_now, key, v_expires_at, priority, headers, v_topic, v_subject,
            idempotency_key)],
        ARRAY[convert_to(body::text, 'UTF8')]);
    PERFORM tramline.wake(ARRAY[0]) WHERE wake;
    RETURN v_id;
END
$$;

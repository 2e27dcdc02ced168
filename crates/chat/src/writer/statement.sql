-- Writes a batch of new turns and of outcomes, as far as their partitions are held. Parameters: the ownerships (1, 2), the
-- turns (3 to 15), the default model (16), the outcomes (17 to 32); their epochs (33, 34); the kinds of the turns (35); what
-- the outcomes were cancelled at (36), or given up for (37); the call that gave the answer (38) and its cost (39), and how many
-- calls there may have been of which nobody has told (40), and whether the answer was altered (41); the images of the turns (42).
with held as (
    select o.partition, o.epoch from partition_owner o
    where (o.partition, o.epoch) in (select * from unnest($1::smallint[], $2::bigint[]))
    for share
),
offered as materialized (
    select n.*, (select c from conversations c where c.id = n.conversation_id) as c
    from unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::smallint[], $7::bigint[], $8::text[], $9::bytea[], $10::uuid[],
                $11::uuid[], $12::text[], $13::text[], $14::jsonb[], $15::timestamptz[], $33::bigint[], $35::text[],
                $42::jsonb[])
        as n (id, conversation_id, user_id, partition, seq, idempotency_key, body_hash, user_message_id,
              parent_id, content, model, settings, created_at, epoch, kind, images)
    where (select true from held h where h.partition = n.partition and h.epoch = n.epoch)
),
accepted as (
    insert into turns (id, conversation_id, user_id, partition, seq, idempotency_key, body_hash, kind, user_message_id,
                       prompt_id, prompt_version, model, settings, created_at)
    select id, conversation_id, user_id, partition, seq, idempotency_key, body_hash, kind, user_message_id,
           (c).prompt_id,
           case when (c).prompt_id is null then null
                when (c).prompt_label is not null then
                    (select l.version from prompt_labels l where l.prompt_id = (c).prompt_id and l.label = (c).prompt_label)
                when (c).prompt_version is not null then
                    (select v.version from prompt_versions v
                     where v.prompt_id = (c).prompt_id and v.version = (c).prompt_version)
                else (select p.current_version from prompts p where p.id = (c).prompt_id) end,
           coalesce(model, (c).model, $16), (c).settings || settings, created_at
    from offered where (c).user_id = user_id and (c).deleted_at is null
    on conflict do nothing
    returning id, conversation_id, model, settings, prompt_id, prompt_version
),
questions as (
    insert into messages (id, conversation_id, parent_id, turn_id, seq, role, content, created_at, images)
    select user_message_id, conversation_id, parent_id, id, 2 * seq, 'user', content, created_at, images
    from offered where kind <> 'regenerate' and id = any (array(select id from accepted))
),
endings as materialized (
    select * from unnest($17::uuid[], $18::uuid[], $19::smallint[], $20::bigint[], $21::uuid[], $22::text[], $23::text[],
                         $24::text[], $25::text[], $26::integer[], $27::integer[], $28::text[], $29::text[], $30::jsonb[],
                         $31::timestamptz[], $32::text[], $34::bigint[], $36::text[], $37::text[], $38::smallint[], $39::bigint[],
                         $40::smallint[], $41::boolean[])
        as e (turn_id, conversation_id, partition, seq, parent_id, status, finish_reason, provider, model, prompt_tokens,
              completion_tokens, fault_code, fault_message, timings, finished_at, content, epoch, partial, given_up, attempt,
              cost_micros, untold, altered)
    where (select true from held h where h.partition = e.partition and h.epoch = e.epoch)
),
finished as (
    insert into outcomes (turn_id, status, assistant_message_id, finish_reason, provider, model, prompt_tokens,
                          completion_tokens, fault_code, fault_message, timings, finished_at, attempt, cost_micros,
                          altered)
    select turn_id, status, case when content is not null then turn_id end, finish_reason, provider, model, prompt_tokens,
           completion_tokens, fault_code, fault_message, timings, finished_at, attempt, cost_micros, altered
    from endings
    on conflict do nothing
    returning turn_id
),
answers as (
    insert into messages (id, conversation_id, parent_id, turn_id, seq, role, content, created_at)
    select turn_id, conversation_id, parent_id, turn_id, seq, 'assistant', content, finished_at
    from endings where content is not null and turn_id = any (array(select turn_id from finished))
),
-- The cancellation itself may have been stored by whoever was asked for it, in the owner's stead.
partials as (
    insert into partial_answers (turn_id, content, created_at)
    select turn_id, partial, finished_at
    from endings
    where partial is not null
      and (turn_id = any (array(select turn_id from finished))
           or (select o.status from outcomes o where o.turn_id = endings.turn_id) = 'cancelled')
    on conflict do nothing
),
-- Whoever made these calls has told of them before, unless it died.
untold as (
    insert into calls (turn_id, number, told_by, status, estimated, created_at)
    select turn_id, place, 'successor', 'unknown', true, finished_at
    from endings cross join lateral generate_series(1, untold) as places (place)
    where turn_id = any (array(select turn_id from finished))
      and (select c.turn_id from calls c
           where c.turn_id = endings.turn_id and c.number = place and c.told_by = 'caller') is null
    on conflict do nothing
),
letters as (
    insert into dead_letters (turn_id, conversation_id, user_id, reason, created_at)
    select turn_id, conversation_id, (select t.user_id from turns t where t.id = turn_id), given_up, finished_at
    from endings where given_up is not null and turn_id = any (array(select turn_id from finished))
)
select null::uuid as turn, null::text as model, null::jsonb as settings, partition::integer as number,
       epoch, null::uuid as prompt_id, null::jsonb as variables from held
union all select id, model, settings, prompt_version, null, prompt_id,
                 case when prompt_id is not null then
                     (select c.variables from conversations c where c.id = conversation_id) end
          from accepted
union all select turn_id, null, null, null, null, null, null from finished

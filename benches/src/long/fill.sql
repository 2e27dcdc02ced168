-- Gives each of these conversations (1) so many completed turns (2), as the product writes them, in the order in which they
-- would have come: one turn of each, then the next of each. The question (3) and the answer (4) are always the same.
with past as materialized (
    select n, c.id as conversation_id, c.user_id,
           lpad(to_hex(2 * (n * 1000 + place)), 32, '0')::uuid as turn_id,
           lpad(to_hex(2 * (n * 1000 + place) + 1), 32, '0')::uuid as question_id,
           case when n > 0 then lpad(to_hex(2 * ((n - 1) * 1000 + place)), 32, '0')::uuid end as parent_id,
           now() - interval '30 days' + n * interval '1 minute' as created_at
    from generate_series(0, $2::bigint - 1) n
    cross join unnest($1::uuid[]) with ordinality as chosen (id, place)
    join conversations c on c.id = chosen.id
    order by n, place
),
accepted as (
    insert into turns (id, conversation_id, user_id, partition, seq, idempotency_key, body_hash, kind, user_message_id, model,
                       settings, created_at)
    select turn_id, conversation_id, user_id, 0, n, turn_id::text, sha256($3::text::bytea), 'send', question_id, 'simulator',
           '{}', created_at
    from past
),
finished as (
    insert into outcomes (turn_id, status, assistant_message_id, finish_reason, provider, model, prompt_tokens,
                          completion_tokens, timings, finished_at)
    select turn_id, 'completed', turn_id, 'stop', 'sim', 'simulator', 400, 50, '{"first_token_ms": 0, "total_ms": 1}',
           created_at
    from past
)
insert into messages (id, conversation_id, parent_id, turn_id, seq, role, content, created_at)
select said.id, conversation_id, said.parent_id, turn_id, said.seq, said.role, said.content, created_at
from past,
     lateral (values (question_id, past.parent_id, 2 * n, 'user', $3::text),
                     (turn_id, question_id, 2 * n + 1, 'assistant', $4::text)) as said (id, parent_id, seq, role, content)

-- The same rows as in transactions.sql, each transaction as one statement: the fewest round trips there can be.
\set seq :seq + 1
\set turn :seq * 1000 + :client_id
\set conversation :client_id * 1000 + random(1, 32)
with turn as (
insert into turns (id, conversation_id, user_id, partition, seq, idempotency_key, body_hash, kind, user_message_id, model,
                   settings, created_at)
values (lpad(:turn::text, 32, '0')::uuid, lpad(:conversation::text, 32, '0')::uuid, '01a00000-0000-7000-8000-000000000000',
        :conversation % 16, :seq, lpad(:turn::text, 36, '0'), sha256(:question::bytea), 'send',
        ('1' || lpad(:turn::text, 31, '0'))::uuid, 'simulator', '{}', now())
)
insert into messages (id, conversation_id, parent_id, turn_id, seq, role, content, created_at)
values (('1' || lpad(:turn::text, 31, '0'))::uuid, lpad(:conversation::text, 32, '0')::uuid,
        lpad((:turn::bigint - 1000)::text, 32, '0')::uuid, lpad(:turn::text, 32, '0')::uuid, 2 * :seq, 'user', :question, now());
with outcome as (
insert into outcomes (turn_id, status, assistant_message_id, finish_reason, provider, model, prompt_tokens,
                      completion_tokens, timings, finished_at)
values (lpad(:turn::text, 32, '0')::uuid, 'completed', lpad(:turn::text, 32, '0')::uuid, 'stop', 'sim', 'simulator', 400, 50,
        '{"first_token_ms": 0, "total_ms": 1}', now())
)
insert into messages (id, conversation_id, parent_id, turn_id, seq, role, content, created_at)
values (lpad(:turn::text, 32, '0')::uuid, lpad(:conversation::text, 32, '0')::uuid, ('1' || lpad(:turn::text, 31, '0'))::uuid,
        lpad(:turn::text, 32, '0')::uuid, 2 * :seq + 1, 'assistant', :answer, now());

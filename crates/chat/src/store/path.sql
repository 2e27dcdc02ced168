-- The turn $2 of the conversation $1 and those before it, back to where $3 messages or $4 bytes lie between. The turn itself
-- does not count, as another one may take its place; nor do the messages of open turns, which are told their own past.
with recursive path as (
    (select t.*, q.parent_id as parent, q.content as question, q.images, a.content as answer, 0::bigint as messages,
            0::bigint as bytes, 1 as depth
     from turns t
     cross join lateral (select parent_id, content, images from messages where id = t.user_message_id limit 1) q
     left join lateral (select content from messages where id = t.id limit 1) a on true
     where t.id = $2 and t.conversation_id = $1)
    union all
    select t.*, q.parent_id, q.content, q.images, a.content,
           p.messages + case when a.content is not null then 2
                             when (select o.turn_id from outcomes o where o.turn_id = t.id) is not null then 1
                             else 0 end,
           p.bytes + octet_length(q.content) + q.images_bytes + coalesce(octet_length(a.content), 0), p.depth + 1
    from path p
    cross join lateral (select * from turns where id = p.parent limit 1) t
    cross join lateral (select parent_id, content, images,
                               case when images is null then 0
                                    else (select sum(octet_length(i.image ->> 'url'))
                                          from jsonb_array_elements(images) as i (image)) end as images_bytes
                        from messages where id = t.user_message_id limit 1) q
    left join lateral (select content from messages where id = t.id limit 1) a on true
    where p.messages < $3 and p.bytes < $4
)
select p.id as "id!", p.seq as "seq!", p.kind as "kind!", p.user_message_id as "user_message_id!", p.idempotency_key,
       p.body_hash as "body_hash!", p.model as "model!", p.settings, p.prompt_id, p.prompt_version,
       case when p.prompt_id is not null then
           (select c.variables from conversations c where c.id = p.conversation_id) end as variables,
       p.parent, p.question as "question!", p.images, p.answer,
       (p.answer is not null or (select o.turn_id from outcomes o where o.turn_id = p.id) is not null) as "closed!",
       (p.answer is null and (select c.turn_id from cancels c where c.turn_id = p.id) is not null) as "cancelled!",
       case when p.answer is null then
           coalesce((select max(a.number) from attempts a where a.turn_id = p.id), 1::smallint)
       else 1::smallint end as "attempts!"
from path p
order by p.depth desc

//! Messages, as their owner reads them: newest pages first, as that is what a reader wants to see.

use identity::Principal;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;
use wire::{ConversationId, Image, Message, Role};

use super::{FRAME_BYTES, Found, PAGE_BYTES_MAX, Store};

impl Store {
    /// The messages of the path from the newest turn to the first, newest first, behind the message `before`: at most
    /// `limit`, and no more than fit into a reply.
    pub async fn active_path(
        &self,
        caller: Principal,
        id: ConversationId,
        before: Option<Uuid>,
        limit: i64,
    ) -> sqlx::Result<Found<Message>> {
        let rows = sqlx::query_as!(
            Row,
            r#"with recursive path (turn_id, user_message_id, depth) as (
                   (select t.id, t.user_message_id, 0::bigint
                    from conversations c join turns t on t.conversation_id = c.id
                    where c.id = $1 and c.user_id = $2 and c.deleted_at is null
                        -- An answer has the id of its turn; a question leads to the turn before it.
                        and ($3::uuid is null or t.id = coalesce(
                            (select a.id from turns a where a.id = $3 and a.conversation_id = $1),
                            (select m.parent_id from messages m where m.id = $3 and m.conversation_id = $1)))
                        -- Another answer that did not come leaves the one before it in its place.
                        and ($3::uuid is not null or t.kind <> 'regenerate'
                             or coalesce((select o.status from outcomes o where o.turn_id = t.id), 'completed') = 'completed')
                    order by t.seq desc limit 1)
                   union all
                   select t.id, t.user_message_id, p.depth + 1
                   from path p
                   join messages m on m.id = p.user_message_id
                   join turns t on t.id = m.parent_id
                   where p.depth < $4
               ), found as (
                   select m.*, p.depth, sum(octet_length(m.content) + coalesce(octet_length(m.images::text), 0)) over (order by p.depth, m.role) as content_bytes
                   from path p
                   cross join lateral (select * from messages where id = p.user_message_id
                                       union all select * from messages where id = p.turn_id) m
                   where m.id is distinct from $3
                   order by p.depth, m.role limit $4
               ), measured as (
                   select *, sum(octet_length(to_json(content)::text) + coalesce(octet_length(images::text), 0) + $6) over (order by depth, role) as bytes,
                       row_number() over (order by depth, role) as place
                   from found where content_bytes <= $5
               )
               select id as "id!", conversation_id as "conversation_id!", parent_id, turn_id as "turn_id!", seq as "seq!",
                      role as "role!", content as "content!", images as "images: Json<Vec<Image>>", created_at as "created_at!",
                      (select count(*) from found) as "found!"
               from measured where bytes <= $5 or place = 1 order by depth, role"#,
            id.uuid(),
            caller.user().uuid(),
            before,
            limit + 1,
            PAGE_BYTES_MAX,
            FRAME_BYTES,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(page(rows, limit))
    }

    /// The messages of all branches, those written last first, behind the message `before`; as many as of a path.
    pub async fn all_branches(
        &self,
        caller: Principal,
        id: ConversationId,
        before: Option<Uuid>,
        limit: i64,
    ) -> sqlx::Result<Found<Message>> {
        let rows = sqlx::query_as!(
            Row,
            r#"with edge as (
                   select seq from messages where id = $3 and conversation_id = $1
               ), found as (
                   select m.*, sum(octet_length(m.content) + coalesce(octet_length(m.images::text), 0)) over (order by m.seq desc) as content_bytes
                   from conversations c
                   join turns t on t.conversation_id = c.id
                   cross join lateral (select * from messages where id = t.user_message_id and turn_id = t.id
                                       union all select * from messages where id = t.id) m
                   where c.id = $1 and c.user_id = $2 and c.deleted_at is null
                       and ($3::uuid is null or (t.seq <= (select seq / 2 from edge) and m.seq < (select seq from edge)))
                   order by m.seq desc limit $4
               ), measured as (
                   select *, sum(octet_length(to_json(content)::text) + coalesce(octet_length(images::text), 0) + $6) over (order by seq desc) as bytes,
                       row_number() over (order by seq desc) as place
                   from found where content_bytes <= $5
               )
               select id as "id!", conversation_id as "conversation_id!", parent_id, turn_id as "turn_id!", seq as "seq!",
                      role as "role!", content as "content!", images as "images: Json<Vec<Image>>", created_at as "created_at!",
                      (select count(*) from found) as "found!"
               from measured where bytes <= $5 or place = 1 order by seq desc"#,
            id.uuid(),
            caller.user().uuid(),
            before,
            limit + 1,
            PAGE_BYTES_MAX,
            FRAME_BYTES,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(page(rows, limit))
    }
}

fn page(rows: Vec<Row>, limit: i64) -> Found<Message> {
    let found = rows.first().map_or(0, |row| row.found);
    Found::new(rows.into_iter().map(Into::into), found, limit)
}

struct Row {
    id: Uuid,
    conversation_id: Uuid,
    parent_id: Option<Uuid>,
    turn_id: Uuid,
    seq: i64,
    role: String,
    content: String,
    images: Option<Json<Vec<Image>>>,
    created_at: OffsetDateTime,
    found: i64,
}

impl From<Row> for Message {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            conversation_id: row.conversation_id.into(),
            parent_id: row.parent_id.map(Into::into),
            turn_id: row.turn_id.into(),
            seq: row.seq,
            role: if row.role == "user" { Role::User } else { Role::Assistant },
            content: row.content,
            images: row.images.map(|images| images.0).unwrap_or_default(),
            created_at: row.created_at,
        }
    }
}

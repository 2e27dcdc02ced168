//! Where a branch of a conversation begins.

use identity::Principal;
use wire::{ConversationId, MessageId, TurnId};

use super::Store;

impl Store {
    /// The turn that a message belongs to, in a conversation of the caller: an answer's, also one that is still to come, or
    /// a question's first.
    pub async fn turn_of_message(
        &self,
        caller: Principal,
        conversation: ConversationId,
        message: MessageId,
    ) -> sqlx::Result<Option<TurnId>> {
        let turn = sqlx::query_scalar!(
            "select coalesce((select t.id from turns t where t.id = $3 and t.conversation_id = c.id),
                             (select m.turn_id from messages m where m.id = $3 and m.conversation_id = c.id))
             from conversations c
             where c.id = $2 and c.user_id = $1 and c.deleted_at is null",
            caller.user().uuid(),
            conversation.uuid(),
            message.uuid(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(turn.flatten().map(Into::into))
    }

    /// The conversation of a turn of the caller, unless it is deleted.
    pub async fn conversation_of(
        &self,
        caller: Principal,
        turn: TurnId,
    ) -> sqlx::Result<Option<ConversationId>> {
        let id = sqlx::query_scalar!(
            "select c.id
             from turns t join conversations c on c.id = t.conversation_id and c.deleted_at is null
             where t.id = $2 and t.user_id = $1",
            caller.user().uuid(),
            turn.uuid(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(id.map(Into::into))
    }
}

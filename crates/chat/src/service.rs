//! The rules of conversations, one method per request. Sends are not here: see [`crate::front`].

use std::sync::Arc;

use identity::Principal;
use wire::{
    Branch, Conversation, ConversationId, Done, FaultCode, FindTurn, ListConversations, ListMessages,
    Message, NewConversation, Page, Turn, TurnId, UpdateConversation,
};

use crate::{error::Error, front::check_model, resources::Resources};

/// Answers requests about conversations and turns.
pub struct Service {
    resources: Arc<Resources>,
}

type Result<T> = std::result::Result<T, Error>;

/// The text in one list of messages, in bytes: with all that surrounds it, it must fit into one reply.
const LIST_BYTES_MAX: usize = wire::limits::PAYLOAD_BYTES_MAX / 4 * 3;

/// The last messages whose text fits.
fn newest_within(mut messages: Vec<Message>, bytes_max: usize) -> Vec<Message> {
    let mut bytes = 0;
    let fitting = messages.iter().rev().take_while(|message| {
        bytes += message.content.len();
        bytes <= bytes_max
    });
    let too_many = messages.len() - fitting.count();
    messages.drain(..too_many);
    messages
}

impl Service {
    /// Over the resources of this process.
    pub const fn new(resources: Arc<Resources>) -> Self {
        Self { resources }
    }

    /// Starts a conversation in a project of the caller.
    pub async fn create(&self, caller: Principal, new: NewConversation) -> Result<Conversation> {
        check_model(&self.resources, new.model.as_deref())?;
        let store = &self.resources.store;
        if new.prompt_id.is_some() {
            let surroundings = store.surroundings(caller, &new).await?;
            if surroundings.project && !(surroundings.prompt && surroundings.version) {
                return Err(FaultCode::PromptNotFound.into());
            }
        }
        store.create_conversation(caller, new).await?.ok_or(FaultCode::ProjectNotFound.into())
    }

    /// Shows a conversation.
    pub async fn get(&self, caller: Principal, id: ConversationId) -> Result<Conversation> {
        self.resources
            .store
            .find_conversation(caller, id)
            .await?
            .ok_or(FaultCode::ConversationNotFound.into())
    }

    /// Lists the conversations of a project, oldest first.
    pub async fn list(&self, caller: Principal, of: ListConversations) -> Result<Page<Conversation>> {
        self.resources
            .store
            .list_conversations(caller, of.project_id)
            .await?
            .map(Page::whole)
            .ok_or(FaultCode::ProjectNotFound.into())
    }

    /// Changes what is given. Turns that are accepted from now on see it.
    pub async fn update(
        &self,
        caller: Principal,
        id: ConversationId,
        change: UpdateConversation,
    ) -> Result<Conversation> {
        check_model(&self.resources, change.model.as_ref().and_then(|model| model.as_deref()))?;
        if !self.resources.store.update_conversation(caller, id, change).await? {
            return Err(FaultCode::ConversationNotFound.into());
        }
        self.get(caller, id).await
    }

    /// Deletes a conversation; a turn that runs ends unread.
    pub async fn delete(&self, caller: Principal, id: ConversationId) -> Result<Done> {
        if !self.resources.store.delete_conversation(caller, id).await? {
            return Err(FaultCode::ConversationNotFound.into());
        }
        Ok(Done { message: "Conversation deleted successfully".into() })
    }

    /// Lists the messages of a conversation, oldest first.
    pub async fn messages(
        &self,
        caller: Principal,
        id: ConversationId,
        which: ListMessages,
    ) -> Result<Page<Message>> {
        let store = &self.resources.store;
        let messages = match which.branch.unwrap_or(Branch::Active) {
            Branch::Active => store.active_path(caller, id).await?,
            Branch::All => store.all_branches(caller, id).await?,
        };
        if messages.is_empty() {
            self.get(caller, id).await?;
        }
        Ok(Page::whole(newest_within(messages, LIST_BYTES_MAX)))
    }

    /// Shows a turn.
    pub async fn turn(&self, caller: Principal, id: TurnId) -> Result<Turn> {
        let found = self.resources.store.find_turn(caller, id).await?;
        found.map(|turn| turn.view).ok_or(FaultCode::TurnNotFound.into())
    }

    /// Finds a turn by the key it was sent with.
    pub async fn turn_by_key(&self, caller: Principal, by: FindTurn) -> Result<Turn> {
        let found = self.resources.store.find_turn_by_key(caller.user(), &by.idempotency_key).await?;
        found.map(|turn| turn.view).ok_or(FaultCode::TurnNotFound.into())
    }
}

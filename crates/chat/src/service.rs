//! The rules of conversations, one method per request. Sends are not here: see [`crate::front`].

use std::{sync::Arc, time::Duration};

use identity::Principal;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use wire::{
    Branch, Conversation, ConversationEvent, ConversationId, Done, FaultCode, FindTurn, List,
    ListConversations, ListMessages, Message, Model, NewConversation, Page, ProjectId, PromptChoice, Turn,
    TurnId, UpdateConversation,
    operations::{LIST_CONVERSATIONS, LIST_MESSAGES},
    subject, template,
};

use crate::{error::Error, front::check_model, resources::Resources};

/// Answers requests about conversations and turns.
pub struct Service {
    resources: Arc<Resources>,
    looks: Semaphore,
}

/// Looks for turns by their key at a time. Whoever looks looks again in a moment, so when Postgres is slow there would be ever
/// more of them, most of which nobody waits for any more.
const LOOKS_MAX: usize = 4;

/// How long the owner of a turn may take to end it, in milliseconds: between two looks, and 630 in all. Then it is ended in
/// the owner's stead.
const CANCEL_LOOKS_MS: [u64; 6] = [10, 20, 50, 100, 200, 250];

type Result<T> = std::result::Result<T, Error>;

impl Service {
    /// Over the resources of this process.
    pub fn new(resources: Arc<Resources>) -> Self {
        Self { resources, looks: Semaphore::new(LOOKS_MAX) }
    }

    /// Starts a conversation in a project of the caller.
    pub async fn create(&self, caller: Principal, new: NewConversation) -> Result<Conversation> {
        check_model(&self.resources, new.model.as_deref())?;
        let variables = new.variables.clone().unwrap_or_default();
        self.try_opening(caller, new.project_id, &new.prompt(), &variables).await?;
        let made = self.resources.requests.create_conversation(caller, new).await?;
        made.ok_or(FaultCode::ProjectNotFound.into())
    }

    /// Opens a conversation as its next turn would: a prompt that is not there, or a variable without a value, would fail
    /// every turn, so it is refused at once.
    async fn try_opening(
        &self,
        caller: Principal,
        project: ProjectId,
        choice: &PromptChoice,
        variables: &Map<String, Value>,
    ) -> Result<()> {
        if choice.prompt_id.is_none() {
            return Ok(());
        }
        let store = &self.resources.requests;
        match store.chosen_prompt(caller, project, choice).await? {
            Some(content) => {
                template::render(&content, variables)?;
                Ok(())
            }
            None if store.owns_project(caller, project).await? => Err(FaultCode::PromptNotFound.into()),
            None => Err(FaultCode::ProjectNotFound.into()),
        }
    }

    /// Lists the models. Every process has the same ones.
    pub fn models(&self) -> Result<Page<Model>> {
        let gateway = &self.resources.gateway;
        let model = |name: &str| {
            let (context_tokens, prices) = gateway.terms(name);
            Model {
                name: name.to_owned(),
                default: name == gateway.default_model(),
                context_tokens,
                prompt_price: prices.map(|prices| prices.prompt),
                completion_price: prices.map(|prices| prices.completion),
            }
        };
        Ok(Page::whole(gateway.models().map(model).collect()))
    }

    /// Shows a conversation.
    pub async fn get(&self, caller: Principal, id: ConversationId) -> Result<Conversation> {
        self.resources
            .requests
            .find_conversation(caller, id)
            .await?
            .ok_or(FaultCode::ConversationNotFound.into())
    }

    /// Lists the conversations of a project, oldest first.
    pub async fn list(&self, caller: Principal, of: ListConversations) -> Result<Page<Conversation>> {
        let (store, page) = (&self.resources.requests, of.page());
        let list = List::new(caller.user(), &LIST_CONVERSATIONS.info, &[&of.project_id]);
        let after = list.position(&page)?;
        let found = store.list_conversations(caller, of.project_id, after, page.limit().into()).await?;
        if found.entries.is_empty() && !store.owns_project(caller, of.project_id).await? {
            return Err(FaultCode::ProjectNotFound.into());
        }
        Ok(found.page(&list, |conversation| conversation.id.uuid()))
    }

    /// Changes what is given. Turns that are accepted from now on see it.
    pub async fn update(
        &self,
        caller: Principal,
        id: ConversationId,
        change: UpdateConversation,
    ) -> Result<Conversation> {
        check_model(&self.resources, change.model.as_ref().and_then(|model| model.as_deref()))?;
        let mut prompt = None;
        if change.changes_opening() {
            let now = self.get(caller, id).await?;
            prompt = change.prompt(&now)?;
            let choice = prompt.clone().unwrap_or_else(|| now.prompt());
            let variables = change.variables.as_ref().unwrap_or(&now.variables);
            self.try_opening(caller, now.project_id, &choice, variables).await?;
        }
        if !self.resources.requests.update_conversation(caller, id, change, prompt).await? {
            return Err(FaultCode::ConversationNotFound.into());
        }
        self.resources.bus.tell_conversation(caller.user(), id, &ConversationEvent::Updated).await;
        self.get(caller, id).await
    }

    /// Deletes a conversation; a turn that runs is stopped, and ends unread.
    pub async fn delete(&self, caller: Principal, id: ConversationId) -> Result<Done> {
        if !self.resources.requests.delete_conversation(caller, id).await? {
            return Err(FaultCode::ConversationNotFound.into());
        }
        self.resources.bus.signal(subject::stop(id, None)).await;
        self.resources.bus.tell_conversation(caller.user(), id, &ConversationEvent::Deleted).await;
        Ok(Done { message: "Conversation deleted successfully".into() })
    }

    /// Lists the messages of a conversation: the newest page first, each page oldest first.
    pub async fn messages(
        &self,
        caller: Principal,
        id: ConversationId,
        which: ListMessages,
    ) -> Result<Page<Message>> {
        let (store, page) = (&self.resources.requests, which.page());
        let branch = which.branch.unwrap_or(Branch::Active);
        let list = List::new(caller.user(), &LIST_MESSAGES.info, &[&id, &(branch == Branch::All)]);
        let (before, limit) = (list.position(&page)?, page.limit().into());
        let found = match branch {
            Branch::Active => store.active_path(caller, id, before, limit).await?,
            Branch::All => store.all_branches(caller, id, before, limit).await?,
        };
        if found.entries.is_empty() {
            self.get(caller, id).await?;
        }
        let mut page = found.page(&list, |message| message.id.uuid());
        page.entries.reverse();
        Ok(page)
    }

    /// Shows a turn.
    pub async fn turn(&self, caller: Principal, id: TurnId) -> Result<Turn> {
        let found = self.resources.requests.find_turn(caller, id).await?;
        let mut turn = found.map(|turn| turn.view).ok_or(FaultCode::TurnNotFound)?;
        if let Some(before) = turn.queue_position {
            let pace = self.resources.requests.pace(caller, &turn).await?;
            let wait = pace.map(|pace| pace.wait(before, wire::now()).as_millis());
            turn.wait_ms = wait.and_then(|wait| u64::try_from(wait).ok());
        }
        Ok(turn)
    }

    /// Cancels a turn. What is answered is final: a turn with an outcome, which is that it was cancelled, or what it came to
    /// just before. The wish is stored first, so that no later owner calls a model for it; then the owner, whoever it is, is
    /// told to stop and to store what was said so far.
    pub async fn cancel(&self, caller: Principal, id: TurnId) -> Result<Turn> {
        let turn = self.turn(caller, id).await?;
        if !turn.status.is_open() {
            return Ok(turn);
        }
        self.resources.requests.ask_to_cancel(caller, id).await?;
        self.resources.bus.signal(subject::stop(turn.conversation_id, Some(id))).await;
        for pause in CANCEL_LOOKS_MS {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let turn = self.turn(caller, id).await?;
            if !turn.status.is_open() {
                return Ok(turn);
            }
        }
        self.resources.requests.end_cancelled(caller, id).await?;
        self.turn(caller, id).await
    }

    /// Finds a turn by the key it was sent with.
    pub async fn turn_by_key(&self, caller: Principal, by: FindTurn) -> Result<Turn> {
        let Ok(_permit) = self.looks.try_acquire() else { return Err(FaultCode::Overloaded.into()) };
        let found = self.resources.requests.find_turn_by_key(caller.user(), &by.idempotency_key).await?;
        found.map(|turn| turn.view).ok_or(FaultCode::TurnNotFound.into())
    }
}

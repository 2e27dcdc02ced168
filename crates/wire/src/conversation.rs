//! Conversations: what they are about, and with which model and prompt they are held.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::{
    ConversationId, Fault, ListPage, ProjectId, PromptId, Settings,
    check::{Checks, Request},
    limits,
    page::check_page,
    project::present,
    prompt::{check_label, check_variables},
    schema::{LABEL, NAME, Time},
};

/// Starts a conversation in a project.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConversation {
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// At most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = limits::NAME_CHARS_MAX),
        regex(pattern = NAME),
        example = &"The letter of May",
    )]
    pub title: Option<String>,
    /// The model of its turns, unless a message names another; absent: the default model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::MODEL_BYTES_MAX), regex(pattern = NAME))]
    pub model: Option<String>,
    /// The prompt that opens every call to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<PromptId>,
    /// A version to stay with; absent: the version that is current when a turn starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<i32>,
    /// A label to follow, instead of a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::LABEL_CHARS_MAX), regex(pattern = LABEL))]
    pub prompt_label: Option<String>,
    /// Values for the prompt's variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// How the model is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// Changes what is given of a conversation, and leaves the rest.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateConversation {
    /// The new title; null takes it away.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = limits::NAME_CHARS_MAX),
        regex(pattern = NAME),
        example = &"The letter of May",
    )]
    pub title: Option<Option<String>>,
    /// The model of the turns to come; null for the default model.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::MODEL_BYTES_MAX), regex(pattern = NAME))]
    pub model: Option<Option<String>>,
    /// The prompt of the turns to come, at the version or label given beside it; null for none.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<Option<PromptId>>,
    /// The version to stay with, instead of a label.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<Option<i32>>,
    /// The label to follow, instead of a version.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::LABEL_CHARS_MAX), regex(pattern = LABEL))]
    pub prompt_label: Option<Option<String>>,
    /// All values for the prompt's variables from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// How the model is called from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// Which prompt opens the calls to the model: at a version, at a label, or (neither) at the current version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptChoice {
    /// The prompt; absent: there is none.
    pub prompt_id: Option<PromptId>,
    /// The version it stays with.
    pub version: Option<i32>,
    /// The label it follows.
    pub label: Option<String>,
}

impl NewConversation {
    /// The prompt it is to open with.
    pub fn prompt(&self) -> PromptChoice {
        PromptChoice {
            prompt_id: self.prompt_id,
            version: self.prompt_version,
            label: self.prompt_label.clone(),
        }
    }
}

impl Conversation {
    /// The prompt it opens with.
    pub fn prompt(&self) -> PromptChoice {
        PromptChoice {
            prompt_id: self.prompt_id,
            version: self.prompt_version,
            label: self.prompt_label.clone(),
        }
    }
}

impl UpdateConversation {
    /// Whether anything is given that the first words to the model depend on.
    pub const fn changes_opening(&self) -> bool {
        self.prompt_id.is_some()
            || self.prompt_version.is_some()
            || self.prompt_label.is_some()
            || self.variables.is_some()
    }

    /// The prompt it is to open with from now on, if that is to change. Another prompt begins without the version or label
    /// of the one before, a version takes the place of a label, and a label that of a version.
    ///
    /// # Errors
    /// A version or label of no prompt.
    pub fn prompt(&self, now: &Conversation) -> Result<Option<PromptChoice>, Fault> {
        let (version, label) = (self.prompt_version, self.prompt_label.clone());
        if self.prompt_id.is_none() && version.is_none() && label.is_none() {
            return Ok(None);
        }
        // A version or label is kept with its prompt, unless the other takes its place.
        let kept = self.prompt_id.is_none().then_some(now);
        let choice = PromptChoice {
            prompt_id: self.prompt_id.unwrap_or(now.prompt_id),
            version: version.unwrap_or_else(|| kept.filter(|_| label.is_none())?.prompt_version),
            label: label
                .unwrap_or_else(|| kept.filter(|_| version.flatten().is_none())?.prompt_label.clone()),
        };
        let mut checks = Checks::default();
        choice.check(&mut checks);
        checks.result().map(|()| Some(choice))
    }
}

/// Which conversations to list.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListConversations {
    /// The project whose conversations are wanted.
    pub project_id: ProjectId,
    /// The most entries wanted, 1 to 1,000; absent: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ENTRIES_MAX))]
    pub limit: Option<u32>,
    /// Where the page before ended; absent: the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ListConversations {
    /// The part of the list.
    pub fn page(&self) -> ListPage {
        ListPage { limit: self.limit, cursor: self.cursor.clone() }
    }
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// What it is called.
    #[schemars(example = &"The letter of May")]
    pub title: Option<String>,
    /// The model of its turns; null: the default model.
    pub model: Option<String>,
    /// Its prompt.
    pub prompt_id: Option<PromptId>,
    /// The prompt's version it stays with.
    pub prompt_version: Option<i32>,
    /// The prompt's label it follows.
    pub prompt_label: Option<String>,
    /// Values for the prompt's variables.
    pub variables: Map<String, Value>,
    /// How the model is called.
    pub settings: Settings,
    /// When it was started.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub created_at: OffsetDateTime,
    /// When it last changed, a new turn included.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub updated_at: OffsetDateTime,
}

impl Request for NewConversation {
    fn check(&self, checks: &mut Checks) {
        if let Some(title) = &self.title {
            checks.name("title", title, limits::NAME_CHARS_MAX);
        }
        check_model(checks, self.model.as_deref());
        self.prompt().check(checks);
        check_variables(checks, self.variables.as_ref());
        if let Some(settings) = &self.settings {
            settings.check(checks);
        }
    }
}

impl Request for UpdateConversation {
    fn check(&self, checks: &mut Checks) {
        if let Some(Some(title)) = &self.title {
            checks.name("title", title, limits::NAME_CHARS_MAX);
        }
        check_model(checks, self.model.as_ref().and_then(Option::as_deref));
        check_pin(checks, self.prompt_version.flatten(), self.prompt_label.as_ref().and_then(Option::as_ref));
        check_variables(checks, self.variables.as_ref());
        if let Some(settings) = &self.settings {
            settings.check(checks);
        }
    }
}

impl PromptChoice {
    fn check(&self, checks: &mut Checks) {
        check_pin(checks, self.version, self.label.as_ref());
        if self.prompt_id.is_none() && (self.version.is_some() || self.label.is_some()) {
            checks.error(
                "prompt_id",
                "missing_field",
                "a version or label is one of a prompt: name the prompt",
            );
        }
    }
}

impl Request for ListConversations {
    fn check(&self, checks: &mut Checks) {
        check_page(checks, self.limit);
    }
}

fn check_pin(checks: &mut Checks, version: Option<i32>, label: Option<&String>) {
    if let Some(label) = label {
        check_label(checks, "prompt_label", label);
    }
    if version.is_some() && label.is_some() {
        checks.error("prompt_label", "invalid_value", "give a version or a label, not both");
    }
}

pub(crate) fn check_model(checks: &mut Checks, model: Option<&str>) {
    if let Some(model) = model {
        checks.name("model", model, limits::MODEL_BYTES_MAX);
    }
}

//! Conversations: what they are about, and with which model and prompt they are held.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::{
    ConversationId, ListPage, ProjectId, PromptId,
    check::{Checks, Request},
    limits,
    page::check_page,
    project::present,
    prompt::check_variables,
};

/// Starts a conversation in a project.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewConversation {
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// At most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The model of its turns, unless a message names another; absent: the default model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The prompt that opens every call to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<PromptId>,
    /// A version to stay with; absent: the version that is current when a turn starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<i32>,
    /// A label to follow, instead of a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_label: Option<String>,
    /// Values for the prompt's variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// How the model is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// Changes what is given of a conversation, and leaves the rest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateConversation {
    /// The new title; null takes it away.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub title: Option<Option<String>>,
    /// The model of the turns to come; null for the default model.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub model: Option<Option<String>>,
    /// How the model is called from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// Which conversations to list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListConversations {
    /// The project whose conversations are wanted.
    pub project_id: ProjectId,
    /// The most entries wanted, 1 to 1,000; absent: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// What it is called.
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
    pub created_at: OffsetDateTime,
    /// When it last changed, a new turn included.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// How the model is called. What is absent is left to the provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The longest answer, in the model's tokens: 1 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Up to four texts that end the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// For answers that repeat, where the provider can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
}

impl Settings {
    pub(crate) fn check(&self, checks: &mut Checks) {
        if let Some(temperature) = self.temperature {
            checks.within("settings.temperature", temperature, 0.0, 2.0);
        }
        if let Some(top_p) = self.top_p {
            checks.within("settings.top_p", top_p, 0.0, 1.0);
        }
        if let Some(max_tokens) = self.max_tokens {
            checks.within("settings.max_tokens", max_tokens, 1, 1_000_000);
        }
        if let Some(stop) = &self.stop {
            if stop.len() > 4 || stop.iter().any(String::is_empty) {
                checks.error("settings.stop", "out_of_range", "must be at most 4 texts, none of them empty");
            }
            for text in stop {
                checks.bytes_at_most("settings.stop", text, 256);
            }
        }
    }

    /// These settings, with those of `base` where these say nothing.
    pub fn over(self, base: &Self) -> Self {
        Self {
            temperature: self.temperature.or(base.temperature),
            top_p: self.top_p.or(base.top_p),
            max_tokens: self.max_tokens.or(base.max_tokens),
            stop: self.stop.or_else(|| base.stop.clone()),
            seed: self.seed.or(base.seed),
        }
    }
}

impl Request for NewConversation {
    fn check(&self, checks: &mut Checks) {
        if let Some(title) = &self.title {
            checks.name("title", title, limits::NAME_CHARS_MAX);
        }
        check_model(checks, self.model.as_deref());
        let pinned = self.prompt_version.is_some() || self.prompt_label.is_some();
        if self.prompt_version.is_some() && self.prompt_label.is_some() {
            checks.error("prompt_label", "invalid_value", "give a version or a label, not both");
        }
        if pinned && self.prompt_id.is_none() {
            checks.error(
                "prompt_id",
                "missing_field",
                "a version or label is one of a prompt: name the prompt",
            );
        }
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
        if let Some(settings) = &self.settings {
            settings.check(checks);
        }
    }
}

impl Request for ListConversations {
    fn check(&self, checks: &mut Checks) {
        check_page(checks, self.limit);
    }
}

pub(crate) fn check_model(checks: &mut Checks, model: Option<&str>) {
    if let Some(model) = model {
        checks.name("model", model, limits::MODEL_BYTES_MAX);
    }
}

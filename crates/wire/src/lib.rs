//! The contract: what travels between clients, ingress and services. Data only: no I/O, no runtime.
//!
//! - [`ids`]: one type per kind of id
//! - [`account`], [`credential`], [`project`], [`prompt`], [`conversation`], [`turn`], [`model`]: requests and replies, the same over HTTP and NATS
//! - [`settings`], [`tool`]: how a model is called, and the functions that it may ask for
//! - [`image`]: what may stand beside the text of a message
//! - [`event`]: the steps of a turn, and what happens in a conversation, told while they happen
//! - [`fault`]: the one error that crosses the bus, and its table of codes
//! - [`operations`]: every request there is, with its subject; [`operation`]: what an operation is
//! - [`subject`]: the subjects that are no requests
//! - [`encoding`], [`check`]: strict reading of bodies; [`page`]: lists, a page at a time
//! - [`schema`]: what bodies look like, as JSON Schema
//! - [`scope`]: what an API key is good for
//! - [`template`]: how the variables of a prompt are filled in
//! - [`limits`], [`header`]: bounds and names; [`limit`]: the table of what clients may meet

pub mod account;
pub mod call;
pub mod check;
pub mod conversation;
pub mod credential;
pub mod encoding;
pub mod event;
pub mod fault;
pub mod header;
pub mod ids;
pub mod image;
pub mod limit;
pub mod limits;
pub mod model;
pub mod operation;
pub mod operations;
pub mod owned;
pub mod page;
pub mod project;
pub mod prompt;
pub mod schema;
pub mod scope;
pub mod settings;
pub mod subject;
pub mod template;
pub mod tool;
pub mod turn;

pub use account::{LogIn, Register, Session, User, Validity};
pub use call::{Call, CallStatus};
pub use check::{Nothing, Request};
pub use conversation::{Conversation, ListConversations, NewConversation, PromptChoice, UpdateConversation};
pub use credential::{
    ApiKey, ApiKeyProof, ChangePassword, Identity, LogOut, NewApiKey, Refresh, SessionProof, ShownApiKey,
};
pub use encoding::Encoding;
pub use event::{ConversationEvent, TurnEvent};
pub use fault::{Fault, FaultCode, FieldError, Problem};
pub use ids::{ApiKeyId, ConversationId, Id, MessageId, NotAnId, ProjectId, PromptId, TurnId, UserId};
pub use image::{Image, ImageDetail};
pub use model::Model;
pub use operation::{Operation, OperationInfo, Path, Service};
pub use page::{List, ListPage, Page, Reply};
pub use project::{Done, NewProject, Project, UpdateProject};
pub use prompt::{
    ChooseVersion, LabelPrompt, NewPrompt, Prompt, PromptLabel, PromptVersion, RenderPrompt, RenderedPrompt,
    UnlabelPrompt, UpdatePrompt,
};
pub use scope::Scope;
pub use settings::{JsonFormat, ReasoningEffort, ResponseFormat, Settings};
pub use tool::{Function, FunctionName, Tool, ToolChoice, ToolMode, ToolType};
pub use turn::{
    Answer, Branch, FindTurn, ListMessages, Message, RegenerateTurn, Role, SendMessage, Turn, TurnKind,
    TurnStatus, Usage,
};

/// The present moment, to the microsecond: what Postgres keeps, so that a stored time reads back as it was written.
pub fn now() -> time::OffsetDateTime {
    let now = time::OffsetDateTime::now_utc();
    now.replace_nanosecond(now.nanosecond() / 1_000 * 1_000).unwrap_or(now)
}

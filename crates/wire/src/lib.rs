//! The contract: what travels between clients, ingress and services. Data only: no I/O, no runtime.
//!
//! - [`ids`]: one type per kind of id
//! - [`account`], [`project`], [`conversation`], [`turn`]: requests and replies, the same over HTTP and NATS
//! - [`event`]: the steps of a turn, told while they happen
//! - [`fault`]: the one error that crosses the bus, and its table of codes
//! - [`operations`]: every request there is, with its subject; [`operation`]: what an operation is
//! - [`subject`]: the subjects that are no requests
//! - [`encoding`], [`check`]: strict reading of bodies
//! - [`limits`], [`header`]: bounds and names

pub mod account;
pub mod check;
pub mod conversation;
pub mod encoding;
pub mod event;
pub mod fault;
pub mod header;
pub mod ids;
pub mod limits;
pub mod operation;
pub mod operations;
pub mod project;
pub mod subject;
pub mod turn;

pub use account::{LogIn, Register, Session, User, Validity};
pub use check::{Nothing, Request};
pub use conversation::{Conversation, ListConversations, NewConversation, Settings, UpdateConversation};
pub use encoding::Encoding;
pub use event::TurnEvent;
pub use fault::{Fault, FaultCode, FieldError, Problem};
pub use ids::{ConversationId, Id, MessageId, NotAnId, ProjectId, PromptId, TurnId, UserId};
pub use operation::{Operation, OperationInfo, Path, Service};
pub use project::{Done, NewProject, NewPrompt, Project, Prompt, UpdateProject, UpdatePrompt};
pub use turn::{Answer, Branch, FindTurn, ListMessages, Message, Role, SendMessage, Turn, TurnStatus, Usage};

/// The present moment, to the microsecond: what Postgres keeps, so that a stored time reads back as it was written.
pub fn now() -> time::OffsetDateTime {
    let now = time::OffsetDateTime::now_utc();
    now.replace_nanosecond(now.nanosecond() / 1_000 * 1_000).unwrap_or(now)
}

//! An operation: a subject pattern with the types that travel on it.

use std::{fmt, marker::PhantomData};

use crate::{Fault, Id, Scope, UserId, schema::Description};

/// The services that answer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Accounts.
    Auth,
    /// Projects and prompts.
    Projects,
    /// Conversations and turns.
    Chat,
}

impl Service {
    /// The name it introduces itself with.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "omnichat-auth",
            Self::Projects => "omnichat-projects",
            Self::Chat => "omnichat-chat",
        }
    }

    /// What it is for, in a sentence.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Auth => "Accounts, sessions and API keys.",
            Self::Projects => "Projects, and prompts with their versions.",
            Self::Chat => "Conversations, and turns that are answered exactly once.",
        }
    }
}

/// An operation without its types, for catalogues.
#[derive(Debug, Clone, Copy)]
pub struct OperationInfo {
    /// Its name, unique among all.
    pub name: &'static str,
    /// Who answers.
    pub service: Service,
    /// The subject, with `{name}` where a token varies.
    pub pattern: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What an API key must be good for; absent where no user asks.
    pub scope: Option<Scope>,
    /// The type of its request.
    pub request: &'static str,
    /// The type of its reply.
    pub reply: &'static str,
    /// What a request looks like.
    pub request_schema: Description,
    /// What a reply looks like.
    pub reply_schema: Description,
}

/// A request `Q` that is answered by a reply `R`.
pub struct Operation<Q, R> {
    /// The untyped part.
    pub info: OperationInfo,
    types: PhantomData<fn(Q) -> R>,
}

impl<Q, R> Operation<Q, R> {
    pub(crate) const fn new(info: OperationInfo) -> Self {
        Self { info, types: PhantomData }
    }
}

impl<Q, R> Clone for Operation<Q, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, R> Copy for Operation<Q, R> {}

impl<Q, R> fmt::Debug for Operation<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}

impl OperationInfo {
    /// The subject that services subscribe: `*` where a token varies.
    pub fn wildcard(&self) -> String {
        self.tokens().map(|token| if is_parameter(token) { "*" } else { token }).collect::<Vec<_>>().join(".")
    }

    /// The subject of one request: `ids` fill the pattern's parameters in order. Each must be a single token.
    pub fn subject(&self, ids: &[&dyn fmt::Display]) -> String {
        let mut ids = ids.iter();
        let mut subject = String::with_capacity(128);
        for token in self.tokens() {
            if !subject.is_empty() {
                subject.push('.');
            }
            match ids.next_if(is_parameter(token)) {
                Some(id) => subject.push_str(&id.to_string()),
                None => subject.push_str(token),
            }
        }
        subject
    }

    /// True when the operation is done by a user, who is then the fourth token of its subject.
    pub fn is_guarded(&self) -> bool {
        self.pattern.contains(".{user}.")
    }

    /// True when it is for the services among themselves.
    pub fn is_internal(&self) -> bool {
        self.pattern.starts_with("omnichat.i.")
    }

    fn tokens(&self) -> impl Iterator<Item = &'static str> {
        self.pattern.split('.')
    }
}

fn is_parameter(token: &str) -> bool {
    token.starts_with('{')
}

trait NextIf: Iterator {
    fn next_if(&mut self, wanted: bool) -> Option<Self::Item> {
        if wanted { self.next() } else { None }
    }
}

impl<I: Iterator> NextIf for I {}

/// The ids in a request's subject.
#[derive(Debug, Clone)]
pub struct Path {
    pattern: &'static str,
    subject: String,
}

impl Path {
    /// The path of a request that came on `subject`.
    pub fn new(info: &OperationInfo, subject: impl Into<String>) -> Self {
        Self { pattern: info.pattern, subject: subject.into() }
    }

    /// The id of this kind. What is not an id names nothing, so the answer is the same as for an unknown one.
    pub fn id<I: Id>(&self) -> Result<I, Fault> {
        let parameter = self
            .pattern
            .split('.')
            .position(|token| token.trim_matches(['{', '}']) == I::TOKEN && is_parameter(token));
        parameter
            .and_then(|position| self.subject.split('.').nth(position))
            .and_then(|token| token.parse().ok())
            .ok_or(Fault::new(I::MISSING))
    }

    /// The user whom the broker let publish on this subject.
    pub fn user(&self) -> Result<UserId, Fault> {
        self.id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FaultCode, ProjectId, PromptId, operations};

    #[test]
    fn a_subject_is_filled_and_read_back() {
        let (user, project, prompt) = (UserId::new(), ProjectId::new(), PromptId::new());
        let info = operations::GET_PROMPT.info;
        let subject = info.subject(&[&user, &project, &prompt]);
        assert_eq!(subject, format!("omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.get"));
        let path = Path::new(&info, subject);
        assert_eq!(path.user().unwrap(), user);
        assert_eq!(path.id::<ProjectId>().unwrap(), project);
        assert_eq!(path.id::<PromptId>().unwrap(), prompt);
        assert_eq!(info.wildcard(), "omnichat.v1.u.*.projects.*.prompts.*.get");
    }

    #[test]
    fn what_is_not_an_id_is_not_found() {
        let info = operations::GET_PROJECT.info;
        for token in ["*", ">", "x", "\u{202e}", "00000000-0000-0000-0000-00000000000"] {
            let path = Path::new(&info, format!("omnichat.v1.u.{}.projects.{token}.get", UserId::new()));
            assert_eq!(path.id::<ProjectId>().unwrap_err().code, FaultCode::ProjectNotFound);
        }
    }
}

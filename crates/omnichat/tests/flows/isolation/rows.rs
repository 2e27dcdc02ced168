//! A request for every operation and every route. `{names}` are filled with ids.

use std::fmt;

use super::things::{Ids, NAMES};

/// A request with places for ids.
pub struct Row {
    /// The operation's name, or the method.
    pub name: &'static str,
    /// The subject or the address.
    pub target: &'static str,
    /// A body that is accepted where all ids are one's own; empty: none.
    pub body: &'static str,
    /// What is answered where one of the ids is not.
    pub status: u16,
    /// Changes nothing.
    pub reads: bool,
}

/// A row with ids in its places.
pub struct Request {
    pub verb: &'static str,
    pub target: String,
    pub body: String,
}

impl Row {
    /// Every choice of places for ids that are not one's own.
    pub fn choices(&self) -> Vec<Vec<&'static str>> {
        let named =
            |name: &&str| [self.target, self.body].iter().any(|text| text.contains(&format!("{{{name}}}")));
        let names: Vec<_> = NAMES.into_iter().filter(named).collect();
        (1..1_u32 << names.len())
            .map(|choice| {
                names
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| choice >> n & 1 == 1)
                    .map(|(_, name)| *name)
                    .collect()
            })
            .collect()
    }

    pub fn filled(&self, ids: &Ids) -> Request {
        Request { verb: self.name, target: ids.fill(self.target), body: ids.fill(self.body) }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.target, self.body)
    }
}

const fn row(name: &'static str, target: &'static str, body: &'static str) -> Row {
    Row { name, target, body, status: 404, reads: false }
}

/// Changes nothing.
const fn read(name: &'static str, target: &'static str, body: &'static str) -> Row {
    Row { reads: true, ..row(name, target, body) }
}

/// Ends what is there of it: none of somebody else's.
const fn ends(name: &'static str, target: &'static str, body: &'static str) -> Row {
    Row { status: 200, ..row(name, target, body) }
}

const NAMED: &str = r#"{"name":"mine now"}"#;
const CONTENT: &str = r#"{"content":"mine now"}"#;

pub const OPERATIONS: &[Row] = &[
    read("GET_ACCOUNT", "omnichat.v1.u.{user}.account.get", ""),
    read("VALIDATE_ACCOUNT", "omnichat.v1.u.{user}.account.validate", ""),
    ends("LOG_OUT", "omnichat.v1.u.{user}.account.logout", r#"{"session_id":"{session}"}"#),
    row("CHANGE_PASSWORD", "omnichat.v1.u.{user}.account.password", r#"{"current":"a","new":"long enough"}"#),
    row("CREATE_API_KEY", "omnichat.v1.u.{user}.api_keys.create", NAMED),
    read("LIST_API_KEYS", "omnichat.v1.u.{user}.api_keys.list", ""),
    row("DELETE_API_KEY", "omnichat.v1.u.{user}.api_keys.{api_key}.delete", ""),
    row("CREATE_PROJECT", "omnichat.v1.u.{user}.projects.create", NAMED),
    read("LIST_PROJECTS", "omnichat.v1.u.{user}.projects.list", ""),
    read("GET_PROJECT", "omnichat.v1.u.{user}.projects.{project}.get", ""),
    row("REPLACE_PROJECT", "omnichat.v1.u.{user}.projects.{project}.replace", NAMED),
    row("UPDATE_PROJECT", "omnichat.v1.u.{user}.projects.{project}.update", NAMED),
    row("DELETE_PROJECT", "omnichat.v1.u.{user}.projects.{project}.delete", ""),
    row(
        "CREATE_PROMPT",
        "omnichat.v1.u.{user}.projects.{project}.prompts.create",
        r#"{"name":"p","content":"c"}"#,
    ),
    read("LIST_PROMPTS", "omnichat.v1.u.{user}.projects.{project}.prompts.list", ""),
    read("GET_PROMPT", "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.get", ""),
    row("UPDATE_PROMPT", "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.update", CONTENT),
    row("DELETE_PROMPT", "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.delete", ""),
    read("LIST_PROMPT_VERSIONS", "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.versions", ""),
    read(
        "GET_PROMPT_VERSION",
        "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.version",
        r#"{"version":1}"#,
    ),
    row(
        "ROLL_BACK_PROMPT",
        "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.rollback",
        r#"{"version":1}"#,
    ),
    read("LIST_PROMPT_LABELS", "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.labels", ""),
    row(
        "LABEL_PROMPT",
        "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.label",
        r#"{"label":"l","version":1}"#,
    ),
    row(
        "UNLABEL_PROMPT",
        "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.unlabel",
        r#"{"label":"production"}"#,
    ),
    read("RENDER_PROMPT", "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.render", "{}"),
    row(
        "CREATE_CONVERSATION",
        "omnichat.v1.u.{user}.conversations.create",
        r#"{"project_id":"{project}","prompt_id":"{prompt}"}"#,
    ),
    row("CREATE_CONVERSATION", "omnichat.v1.u.{user}.conversations.create", r#"{"project_id":"{project}"}"#),
    read("LIST_CONVERSATIONS", "omnichat.v1.u.{user}.conversations.list", r#"{"project_id":"{project}"}"#),
    read("GET_CONVERSATION", "omnichat.v1.u.{user}.conversations.{conversation}.get", ""),
    row(
        "UPDATE_CONVERSATION",
        "omnichat.v1.u.{user}.conversations.{conversation}.update",
        r#"{"title":"mine now"}"#,
    ),
    row("DELETE_CONVERSATION", "omnichat.v1.u.{user}.conversations.{conversation}.delete", ""),
    read("LIST_MESSAGES", "omnichat.v1.u.{user}.conversations.{conversation}.messages", ""),
    read(
        "LIST_MESSAGES",
        "omnichat.v1.u.{user}.conversations.{conversation}.messages",
        r#"{"branch":"all"}"#,
    ),
    row("SEND_MESSAGE", "omnichat.v1.u.{user}.conversations.{conversation}.send", CONTENT),
    row(
        "SEND_MESSAGE",
        "omnichat.v1.u.{user}.conversations.{conversation}.send",
        r#"{"content":"c","parent_id":"{turn}"}"#,
    ),
    read("GET_TURN", "omnichat.v1.u.{user}.turns.{turn}.get", ""),
    row("CANCEL_TURN", "omnichat.v1.u.{user}.turns.{turn}.cancel", ""),
    row("REGENERATE_TURN", "omnichat.v1.u.{user}.turns.{turn}.regenerate", ""),
    read("FIND_TURN", "omnichat.v1.u.{user}.turns.find", r#"{"idempotency_key":"{key}"}"#),
    read("LIST_MODELS", "omnichat.v1.u.{user}.models.list", ""),
];

pub const ROUTES: &[Row] = &[
    read("GET", "/auth/me", ""),
    read("GET", "/auth/validate", ""),
    read("GET", "/auth/api-keys", ""),
    row("DELETE", "/auth/api-keys/{api_key}", ""),
    read("GET", "/projects", ""),
    read("GET", "/projects/{project}", ""),
    row("PUT", "/projects/{project}", NAMED),
    row("PATCH", "/projects/{project}", NAMED),
    row("DELETE", "/projects/{project}", ""),
    row("POST", "/projects/{project}/prompts", r#"{"name":"p","content":"c"}"#),
    read("GET", "/projects/{project}/prompts", ""),
    read("GET", "/projects/{project}/prompts/{prompt}", ""),
    row("PUT", "/projects/{project}/prompts/{prompt}", CONTENT),
    row("DELETE", "/projects/{project}/prompts/{prompt}", ""),
    read("GET", "/projects/{project}/prompts/{prompt}/versions", ""),
    read("GET", "/projects/{project}/prompts/{prompt}/versions/1", ""),
    row("POST", "/projects/{project}/prompts/{prompt}/rollback", r#"{"version":1}"#),
    read("GET", "/projects/{project}/prompts/{prompt}/labels", ""),
    row("PUT", "/projects/{project}/prompts/{prompt}/labels/l", r#"{"version":1}"#),
    row("DELETE", "/projects/{project}/prompts/{prompt}/labels/production", ""),
    row("POST", "/projects/{project}/prompts/{prompt}/render", "{}"),
    row("POST", "/conversations?project_id={project}", ""),
    row("POST", "/conversations", r#"{"project_id":"{project}"}"#),
    row("POST", "/conversations", r#"{"project_id":"{project}","prompt_id":"{prompt}"}"#),
    read("GET", "/conversations/project/{project}", ""),
    read("GET", "/conversations/{conversation}", ""),
    row("PATCH", "/conversations/{conversation}", r#"{"title":"mine now"}"#),
    row("DELETE", "/conversations/{conversation}", ""),
    // It would be read for as long as it is open.
    row("GET", "/conversations/{conversation}/events", ""),
    read("GET", "/conversations/{conversation}/messages", ""),
    read("GET", "/conversations/{conversation}/messages?branch=all", ""),
    row("POST", "/conversations/{conversation}/messages", CONTENT),
    row("POST", "/conversations/{conversation}/messages", r#"{"content":"c","parent_id":"{turn}"}"#),
    read("GET", "/turns/{turn}", ""),
    read("GET", "/turns/{turn}/events", ""),
    row("POST", "/turns/{turn}/cancel", ""),
    row("POST", "/turns/{turn}/regenerate", ""),
    read("GET", "/models", ""),
];

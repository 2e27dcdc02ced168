//! Who uses the system: users with conversations, made over HTTP.

use std::net::SocketAddr;

use ::http::{HeaderValue, Uri};
use anyhow::Context;
use serde_json::{Value, json};

use crate::http::Connection;

/// Users. Each login costs the server about 30 ms, so there are few.
const USERS: usize = 16;

/// Where a message goes, and in whose name.
pub struct Conversation {
    /// The path of its messages.
    pub messages: Uri,
    /// The header of its owner.
    pub authorization: HeaderValue,
}

/// Makes so many conversations, spread evenly over the users.
pub async fn make(server: SocketAddr, conversations: usize) -> anyhow::Result<Vec<Conversation>> {
    make_for(server, conversations, 0).await
}

/// The same, of other users: those whose numbers begin with `from`.
pub async fn make_for(
    server: SocketAddr,
    conversations: usize,
    from: usize,
) -> anyhow::Result<Vec<Conversation>> {
    let mut connection = Connection::open(server).await?;
    let mut made = Vec::with_capacity(conversations);
    for user in 0..USERS.min(conversations) {
        let authorization = register(&mut connection, from + user).await?;
        let project = connection.ask("/projects", Some(&authorization), &json!({ "name": "Load" })).await?;
        let request = json!({ "project_id": project["id"] });
        for _ in (user..conversations).step_by(USERS) {
            let conversation = connection.ask("/conversations", Some(&authorization), &request).await?;
            let messages = format!("/conversations/{}/messages", text(&conversation, "id")?).try_into()?;
            made.push(Conversation { messages, authorization: authorization.clone() });
        }
    }
    Ok(made)
}

/// A new user, as the header of their requests.
pub async fn register(connection: &mut Connection, user: usize) -> anyhow::Result<HeaderValue> {
    let account = json!({ "email": format!("user{user}@example.org"), "password": "correct horse" });
    connection.ask("/auth/register", None, &account).await?;
    let session = connection.ask("/auth/login", None, &account).await?;
    Ok(format!("Bearer {}", text(&session, "access_token")?).try_into()?)
}

/// A text of an answer.
pub fn text<'a>(answer: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    answer[field].as_str().with_context(|| format!("an answer without {field}: {answer}"))
}

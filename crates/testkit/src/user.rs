//! A person with an account.

use std::ops::Deref;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{Answer, Client};

/// The password of every user here.
pub const PASSWORD: &str = "correct horse battery staple";

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub struct User {
    client: Client,
    /// Their id.
    pub id: String,
    /// Their address.
    pub email: String,
    /// Their token.
    pub token: String,
}

impl User {
    /// Registers and logs in somebody new.
    pub async fn register(client: &Client) -> Self {
        let email = format!("{}@example.org", uuid::Uuid::new_v4().simple());
        let account = json!({ "email": email, "password": PASSWORD });
        let id = text(&client.post("/auth/register", account.clone()).await.ok()["id"]);
        let token = text(&client.post("/auth/login", account).await.ok()["access_token"]);
        Self { client: client.with_token(&token), id, email, token }
    }

    /// The id of a new project.
    pub async fn project(&self) -> String {
        text(&self.post("/projects", json!({ "name": "a project" })).await.ok()["id"])
    }

    /// The id of a new conversation, in a project of its own.
    pub async fn conversation(&self) -> String {
        let project = self.project().await;
        text(&self.post("/conversations", json!({ "project_id": project })).await.ok()["id"])
    }

    /// Sends a message.
    pub async fn send(&self, conversation: &str, content: &str) -> Answer {
        self.post(&format!("/conversations/{conversation}/messages"), json!({ "content": content })).await
    }

    /// Sends a message with an idempotency key.
    pub async fn send_with_key(&self, conversation: &str, content: &str, key: &str) -> Answer {
        self.try_send_with_key(conversation, content, key).await.unwrap()
    }

    /// As [`User::send_with_key`]; fails if no answer came.
    pub async fn try_send_with_key(
        &self,
        conversation: &str,
        content: &str,
        key: &str,
    ) -> reqwest::Result<Answer> {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        let body = json!({ "content": content }).to_string();
        let path = format!("/conversations/{conversation}/messages");
        self.request(Method::POST, &path, &headers, Some(body.into())).await
    }

    /// The messages of a conversation, as role and text.
    pub async fn history(&self, conversation: &str) -> Vec<(String, String)> {
        let messages = self.get(&format!("/conversations/{conversation}/messages")).await.ok();
        let messages = messages.as_array().expect("a list").iter();
        messages.map(|message| (text(&message["role"]), text(&message["content"]))).collect()
    }
}

/// All that a client can do.
impl Deref for User {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A JSON string.
///
/// # Panics
/// If it is none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}

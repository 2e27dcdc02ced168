//! Users on NATS (auth callout, ADR-26): whoever connects without being one of our roles shows a credential, the server asks
//! here, and the answer is what this connection may publish and subscribe, signed. Who does not answer lets nobody in.
//!
//! - [`keys`]: what answers are signed with, and credentials encrypted for
//! - `token`: the JWTs of NATS; `grant`: what a user may do

mod grant;
pub mod keys;
mod token;

use std::{future::Future, sync::Arc, time::Duration};

use async_nats::{HeaderMap, Message, SubscribeError};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::Semaphore, time::timeout};
use wire::{FaultCode, Identity};

pub use self::keys::{CalloutKeys, KeysError};
use crate::Bus;

/// Where the server asks.
const QUESTIONS: &str = "$SYS.REQ.USER.AUTH";
/// Of several instances one is asked.
const GROUP: &str = "omnichat-callout";
/// The server's own key, for which the answer is encrypted.
const SERVER_KEY: &str = "Nats-Server-Xkey";
/// Questions that are worked on at a time; who comes above that tries again.
const CONCURRENT_MAX: usize = 64;
/// The server waits two seconds.
const PATIENCE: Duration = Duration::from_millis(1_800);

/// What the server asks.
#[derive(Deserialize)]
struct Question {
    nats: Asked,
}

#[derive(Deserialize)]
struct Asked {
    server_id: Server,
    user_nkey: String,
    connect_opts: Options,
}

#[derive(Deserialize)]
struct Server {
    id: String,
}

/// What the client said when it connected.
#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    auth_token: String,
    #[serde(default)]
    pass: String,
}

impl Options {
    /// A token; for clients that know only user and password, the password.
    fn credential(&self) -> &str {
        if self.auth_token.is_empty() { &self.pass } else { &self.auth_token }
    }
}

/// Lets users in whose credential `admit` knows, until the process drains. The connection is that of the role
/// [`Callout`](crate::Role::Callout).
///
/// # Errors
/// The connection is closed.
pub async fn start<F, Fut>(bus: &Bus, keys: CalloutKeys, admit: F) -> Result<(), SubscribeError>
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Identity, FaultCode>> + Send,
{
    let mut questions = bus.client.queue_subscribe(QUESTIONS, GROUP.to_owned()).await?;
    let (bus, door) = (bus.clone(), Arc::new(Door { keys, admit }));
    let permits = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let drain = bus.drain.clone();
    bus.drain.clone().spawn("callout", async move {
        loop {
            let question = tokio::select! {
                question = questions.next() => question,
                () = drain.draining() => None,
            };
            let Some(question) = question else { return };
            // Unanswered, it is a refusal after two seconds.
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                metrics::counter!("omnichat_nats_logins_total", "result" => "overloaded").increment(1);
                continue;
            };
            let (bus, door) = (bus.clone(), door.clone());
            drain.spawn("callout-answer", async move {
                door.answer(&bus, question).await;
                drop(permit);
            });
        }
    });
    Ok(())
}

struct Door<F> {
    keys: CalloutKeys,
    admit: F,
}

impl<F, Fut> Door<F>
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<Identity, FaultCode>>,
{
    async fn answer(&self, bus: &Bus, question: Message) {
        let Some(reply) = question.reply.clone() else { return };
        match self.judge(&question).await {
            Ok(answer) => {
                if let Err(error) = bus.client.publish(reply, answer).await {
                    tracing::debug!(%error, "an answer to a login was not sent");
                }
            }
            Err(problem) => {
                metrics::counter!("omnichat_nats_logins_total", "result" => "unreadable").increment(1);
                tracing::warn!(problem, "the question who may connect could not be read");
            }
        }
    }

    /// The answer, for the server alone. A question that is not encrypted is not answered: the credential in it was seen.
    async fn judge(&self, question: &Message) -> Result<Bytes, &'static str> {
        let server_key = server_key(question.headers.as_ref()).ok_or("it is not encrypted")?;
        let opened = self.keys.open(&question.payload, server_key).ok_or("it is not for us")?;
        let Question { nats: asked } = token::decode(&opened).ok_or("it is no token of a server")?;
        let mut answer = json!({ "type": "authorization_response", "version": 2 });
        match self.admitted(&asked).await {
            Ok(identity) => {
                let user = grant::user(&identity, &asked.user_nkey);
                answer["jwt"] = token::encode(&self.keys, user).ok_or("it cannot be signed")?.into();
            }
            Err(code) => answer["error"] = code.as_str().into(),
        }
        let claims = json!({ "aud": asked.server_id.id, "sub": asked.user_nkey, "nats": answer });
        let answer = token::encode(&self.keys, claims).ok_or("it cannot be signed")?;
        self.keys.seal(answer.as_bytes(), server_key).map(Bytes::from).ok_or("it cannot be encrypted")
    }

    async fn admitted(&self, asked: &Asked) -> Result<Identity, FaultCode> {
        let credential = asked.connect_opts.credential();
        let judged = async {
            if credential.is_empty() {
                return Err(FaultCode::MissingToken);
            }
            timeout(PATIENCE, (self.admit)(credential.to_owned()))
                .await
                .unwrap_or(Err(FaultCode::Unavailable))
        };
        let judged = judged.await;
        let result = judged.as_ref().map_or_else(|code| code.as_str(), |_| "admitted");
        metrics::counter!("omnichat_nats_logins_total", "result" => result).increment(1);
        match &judged {
            Ok(identity) => tracing::debug!(user_id = %identity.user_id, "a user connects to NATS"),
            Err(code) => tracing::info!(code = code.as_str(), "somebody was not let in to NATS"),
        }
        judged
    }
}

fn server_key(headers: Option<&HeaderMap>) -> Option<&str> {
    headers?.get(SERVER_KEY).map(|value| value.as_str())
}

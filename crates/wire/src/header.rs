//! Header names. On HTTP and NATS alike unless said otherwise.

/// Sends with the same key are the same turn.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The encoding of the body.
pub const CONTENT_TYPE: &str = "Content-Type";
/// The encoding wanted for the answer, when it is not the request's.
pub const ACCEPT: &str = "Accept";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Names a request in answers and logs.
pub const REQUEST_ID: &str = "X-Request-Id";
/// NATS: the HTTP status of a fault.
pub const ERROR_CODE: &str = "Nats-Service-Error-Code";
/// NATS: the sentence of a fault.
pub const ERROR: &str = "Nats-Service-Error";
/// NATS: where the next page of a list begins; over HTTP it stands in `Link`.
pub const NEXT: &str = "Oc-Next";
/// How many requests are left, and until when.
pub const RATE_LIMIT: &str = "RateLimit";
/// How many requests are allowed in which time.
pub const RATE_LIMIT_POLICY: &str = "RateLimit-Policy";
/// NATS: `true` on a send that is repeated before anything is heard of it. It is put into the queue if it is not there, and
/// answered with [`EVENT`] [`QUEUED`] if it is: the outcome goes to the inbox of the one before.
pub const ENSURE: &str = "Oc-Ensure";
/// NATS: [`EVENT`] of the answer to an [`ENSURE`] that was not needed.
pub const QUEUED: &str = "queued";
/// NATS: how much of a turn is told to whoever sends it: `1` for every step, `accepted` for the steps up to that one. An empty
/// message says that no more comes. Without it the outcome is the one answer.
pub const STREAM: &str = "Oc-Stream";
/// NATS: [`EVENT`] of a frame that says only that the turn is still in hand.
pub const ALIVE: &str = "alive";
/// NATS: the step that a frame tells.
pub const EVENT: &str = "Oc-Event";
/// NATS: the number of a frame within its turn, from 1; in answers to a send, within its inbox.
pub const SEQ: &str = "Oc-Seq";
/// HTTP: what the client would rather have, such as [`RESPOND_ASYNC`] (RFC 7240).
pub const PREFER: &str = "Prefer";
/// HTTP: which of it it has got.
pub const PREFERENCE_APPLIED: &str = "Preference-Applied";
/// HTTP: the preference not to wait for the outcome.
pub const RESPOND_ASYNC: &str = "respond-async";
/// HTTP: the last event that the reader of a stream has seen.
pub const LAST_EVENT_ID: &str = "Last-Event-ID";
/// NATS: the turn that a message is about.
pub const TURN: &str = "Oc-Turn";
/// Queue only: where the outcome goes.
pub const REPLY: &str = "Oc-Reply";

//! Sends that are answered by the events of their turn, or at once, with a chat service that is played.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Bus, Incoming, Wants};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming as Body, client::conn::http1::SendRequest};
use tokio::{sync::mpsc, time::timeout};
use wire::{
    ConversationId, Fault, FaultCode, TurnEvent, TurnId, TurnStatus,
    operations::{FIND_TURN, GET_TURN, SEND_MESSAGE},
};

use crate::{
    calls,
    world::{World, config, subscribed},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A chat service that does what the test says.
struct Chat {
    bus: Bus,
    turn: TurnId,
    sends: mpsc::Receiver<Incoming>,
    /// Whether the turn is stored.
    stored: Arc<Mutex<bool>>,
}

impl Chat {
    async fn play(world: &World) -> Self {
        let (bus, turn) = (world.service().await, TurnId::new());
        let (send, sends) = mpsc::channel(16);
        let take = move |mut incoming: Incoming| {
            let send = send.clone();
            incoming.wants().unwrap();
            async move { send.send(incoming).await.unwrap() }
        };
        bus.subscribe_operation(&SEND_MESSAGE.info, take).await.unwrap();
        let stored = Arc::new(Mutex::new(false));
        for operation in [&FIND_TURN.info, &GET_TURN.info] {
            let (answering, shown) = (bus.clone(), stored.clone());
            let take = move |incoming: Incoming| {
                let (bus, shown) = (answering.clone(), *shown.lock().unwrap());
                async move {
                    if shown {
                        bus.reply(&incoming.reply_to, &calls::turn(turn, TurnStatus::Running)).await;
                    } else {
                        let missing = FaultCode::TurnNotFound.into();
                        bus.reply_fault(&incoming.reply_to, &missing, &incoming.context).await;
                    }
                }
            };
            bus.subscribe_operation(operation, take).await.unwrap();
        }
        subscribed(&bus).await;
        Self { bus, turn, sends, stored }
    }

    /// The next send that comes.
    async fn send(&mut self) -> Incoming {
        timeout(PATIENCE, self.sends.recv()).await.expect("it is sent").unwrap()
    }

    fn accepted(&self) -> TurnEvent {
        TurnEvent::Accepted { turn_id: self.turn, queue_position: Some(0) }
    }
}

/// Who sends a message, and reads what is streamed.
struct Sender {
    body: Body,
    unread: String,
    _client: SendRequest<Full<Bytes>>,
}

impl Sender {
    async fn send(world: &World) -> Self {
        let path = format!("/conversations/{}/messages", ConversationId::new());
        let request = world.request("POST", &path).header("content-type", "application/json");
        let body = Full::from(r#"{"content":"hi","stream":true}"#);
        let mut client = world.connect().await;
        client.ready().await.unwrap();
        let answer = client.send_request(request.body(body).unwrap()).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].as_bytes()),
            (200, &b"text/event-stream"[..])
        );
        Self { body: answer.into_body(), unread: String::new(), _client: client }
    }

    /// The next block that is no comment alone; none at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                if block != ":" {
                    return Some(block);
                }
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("something comes")?;
            self.unread.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    }
}

const QUEUED: &str = "event: queued\ndata: {\"event\":\"queued\"}";

#[tokio::test]
async fn a_send_that_is_accepted_late_is_told_to_be_queued() {
    let world = World::with(ingress::Config { stream_heartbeat_s: NonZeroU32::MIN, ..config() }).await;
    let mut chat = Chat::play(&world).await;
    let (mut sender, send) = tokio::join!(Sender::send(&world), async {
        let send = chat.send().await;
        assert_eq!(send.reply_to.wants(), Wants::Steps);
        chat.bus.reply_step(&send.reply_to, 0, &TurnEvent::Queued).await;
        send
    });
    assert_eq!(sender.next().await.as_deref(), Some(QUEUED));
    chat.bus.reply_step(&send.reply_to, 1, &chat.accepted()).await;
    let accepted = sender.next().await.unwrap();
    assert!(accepted.starts_with(&format!("id: {}:1\nevent: accepted\n", chat.turn)), "{accepted}");
    let delta = TurnEvent::Delta { text: "Hel".into(), attempt: 1, offset: 0 };
    chat.bus.reply_step(&send.reply_to, 2, &delta).await;
    let delta = sender.next().await.unwrap();
    assert!(delta.starts_with(&format!("id: {}:10000004\nevent: delta\n", chat.turn)), "{delta}");
}

#[tokio::test]
async fn a_refusal_that_comes_late_is_the_last_event() {
    let world = World::new().await;
    let mut chat = Chat::play(&world).await;
    let (mut sender, send) = tokio::join!(Sender::send(&world), async {
        let send = chat.send().await;
        chat.bus.reply_step(&send.reply_to, 0, &TurnEvent::Queued).await;
        send
    });
    assert_eq!(sender.next().await.as_deref(), Some(QUEUED));
    let refusal = Fault::new(FaultCode::ConversationNotFound);
    chat.bus.reply_fault(&send.reply_to, &refusal, &send.context).await;
    let failed = sender.next().await.unwrap();
    let data = failed.strip_prefix("event: failed\ndata: ").unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["event"], &data["code"]), (&"failed".into(), &"conversation_not_found".into()));
    assert_eq!(sender.next().await, None);
}

/// Its first request is lost, and so is the answer to the second.
#[tokio::test]
async fn a_streamed_send_that_says_nothing_is_looked_for_and_ensured() {
    let world = World::new().await;
    let mut chat = Chat::play(&world).await;
    let sending = Sender::send(&world);
    let (mut sender, ()) = tokio::join!(sending, async {
        let lost = chat.send().await;
        let ensured = chat.send().await;
        assert!(!lost.ensure && ensured.ensure);
        assert_eq!(lost.idempotency_key().unwrap(), ensured.idempotency_key().unwrap());
        assert_eq!(ensured.reply_to.wants(), Wants::Steps);
        *chat.stored.lock().unwrap() = true;
    });
    let accepted = sender.next().await.unwrap();
    assert!(accepted.starts_with(&format!("id: {}:1\nevent: accepted\n", chat.turn)), "{accepted}");
    let delta = TurnEvent::Delta { text: "Hel".into(), attempt: 1, offset: 0 };
    chat.bus.tell(world.user, chat.turn, 3, &delta).await;
    assert!(sender.next().await.unwrap().starts_with(&format!("id: {}:10000004\nevent: delta\n", chat.turn)));
}

/// The same for who does not wait; and that it is stored is found out, where it is not told.
#[tokio::test]
async fn a_send_that_is_not_waited_for_is_answered_when_its_turn_is_stored() {
    let world = World::new().await;
    let mut chat = Chat::play(&world).await;
    let path = format!("/conversations/{}/messages", ConversationId::new());
    let request = || {
        let request = world.request("POST", &path).header("content-type", "application/json");
        world.ask(request.header("prefer", "respond-async"), r#"{"content":"hi"}"#)
    };
    let (answer, ()) = tokio::join!(request(), async {
        let send = chat.send().await;
        assert_eq!(send.reply_to.wants(), Wants::Acceptance);
        chat.bus.reply_step(&send.reply_to, 0, &TurnEvent::Queued).await;
        let ensured = chat.send().await;
        assert!(ensured.ensure, "that it is queued is no answer");
        *chat.stored.lock().unwrap() = true;
    });
    assert_eq!((answer.status.as_u16(), answer.header("location")), (202, &*format!("/turns/{}", chat.turn)));
    assert_eq!(answer.header("preference-applied"), "respond-async");
    let (answer, ()) = tokio::join!(request(), async {
        let send = chat.send().await;
        let accepted = chat.accepted();
        chat.bus.reply_step(&send.reply_to, 1, &accepted).await;
    });
    assert_eq!((answer.status.as_u16(), answer.json()["id"].as_str()), (202, Some(&*chat.turn.to_string())));
}

#[tokio::test]
async fn a_streamed_send_without_a_service_is_refused_in_time() {
    let world = World::new().await;
    let path = format!("/conversations/{}/messages", ConversationId::new());
    let request = world.request("POST", &path).header("content-type", "application/json");
    let answer = world.ask(request.header("accept", "text/event-stream"), r#"{"content":"hi"}"#).await;
    assert_eq!(answer.fault(), (503, "unavailable".to_owned()));
}

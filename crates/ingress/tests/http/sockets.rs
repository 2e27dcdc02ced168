//! Sockets, with a chat service that is played: what may be under way, and how a socket ends in order.

use std::{num::NonZeroU32, time::Duration};

use bus::Incoming;
use futures::{SinkExt, StreamExt};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use ingress::Config;
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use wire::{
    ConversationId, TurnEvent, TurnId, UserId,
    limits::{SOCKET_CONVERSATIONS_MAX, SOCKET_REQUESTS_MAX, SOCKET_TURNS_MAX},
    operations::{CANCEL_TURN, GET_CONVERSATION},
};

use crate::{
    streams::{Chat, counted},
    world::{World, config, subscribed},
};

/// Far beyond every time here.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than the world allows a user in a minute.
const MANY: usize = 201;

/// A socket, by a library that is not ours.
pub struct Socket(pub WebSocketStream<TcpStream>);

/// What came: a frame, or the code and reason of the end.
#[derive(Debug, PartialEq)]
pub enum Came {
    Frame(Value),
    End(u16, String),
    /// The connection broke.
    Broken,
}

impl Socket {
    /// Of this user, who is let in.
    pub async fn open(world: &World, user: UserId) -> Self {
        let mut socket = Self::knock(world, &format!("omnichat.v1, bearer.{}", world.token(user))).await;
        let ready = socket.frame().await;
        assert_eq!((&ready["event"], &ready["data"]["user_id"]), (&json!("ready"), &json!(user)), "{ready}");
        socket
    }

    /// With these subprotocols.
    pub async fn knock(world: &World, protocols: &str) -> Self {
        Self::over(TcpSocket::new_v4().unwrap(), world, protocols).await
    }

    pub async fn over(socket: TcpSocket, world: &World, protocols: &str) -> Self {
        let stream = socket.connect(world.address).await.unwrap();
        let mut request = format!("ws://{}/ws", world.address).into_client_request().unwrap();
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocols.parse().unwrap());
        let (socket, answer) = client_async(request, stream).await.unwrap();
        assert_eq!(answer.headers()[SEC_WEBSOCKET_PROTOCOL], "omnichat.v1");
        assert!(answer.headers().contains_key("x-request-id"));
        assert!(!answer.headers().contains_key("sec-websocket-extensions"), "nothing is compressed");
        Self(socket)
    }

    pub async fn say(&mut self, what: &Value) {
        self.0.send(Message::text(what.to_string())).await.unwrap();
    }

    pub async fn come(&mut self) -> Came {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("something comes") {
                Some(Ok(Message::Text(text))) => return Came::Frame(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Came::End(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Came::Broken,
            }
        }
    }

    pub async fn frame(&mut self) -> Value {
        match self.come().await {
            Came::Frame(frame) => frame,
            end => panic!("{end:?}"),
        }
    }

    /// The end, after whatever comes before.
    pub async fn end(&mut self) -> Came {
        loop {
            match self.come().await {
                Came::Frame(_) => {}
                end => return end,
            }
        }
    }

    /// The code of the error that comes next; its status.
    pub async fn error(&mut self) -> (String, u64) {
        let frame = self.frame().await;
        assert_eq!(frame["event"], "error", "{frame}");
        let problem = &frame["data"];
        (problem["code"].as_str().unwrap().to_owned(), problem["status"].as_u64().unwrap())
    }

    /// Asks, and gives the answer, whatever comes before it.
    pub async fn ask(&mut self, mut what: Value) -> Value {
        what["ref"] = "asked".into();
        self.say(&what).await;
        loop {
            let frame = self.frame().await;
            if frame["ref"] == "asked" {
                return frame;
            }
        }
    }
}

pub fn end(code: u16, reason: &str) -> Came {
    Came::End(code, reason.into())
}

#[tokio::test]
async fn a_turn_is_told_as_a_stream_tells_it() {
    let world = World::new().await;
    let chat = Chat::play(&world).await;
    let mut socket = Socket::open(&world, world.user).await;
    let record = socket.ask(json!({ "op": "watch", "turn_id": chat.turn })).await;
    assert_eq!((&record["event"], &record["data"]["id"]), (&json!("reply"), &json!(chat.turn)));
    let turn = chat.turn;
    chat.say(1, 0, "Hel").await;
    let frames = [socket.frame().await, socket.frame().await];
    let told = |number: u64, event: &str, data: Value| json!({ "id": format!("{turn}:{number}"), "event": event, "data": data });
    let accepted = json!({ "event": "accepted", "turn_id": turn, "queue_position": null });
    let delta = json!({ "event": "delta", "text": "Hel", "attempt": 1, "offset": 0 });
    assert_eq!(frames, [told(1, "accepted", accepted), told(10_000_004, "delta", delta)]);

    // To watch it again is to begin it where the reader is.
    let seen = format!("{turn}:10000003");
    let again = socket.ask(json!({ "op": "watch", "turn_id": turn, "last_event_id": seen })).await;
    assert_eq!(again["event"], "reply", "{again}");
    chat.say(1, 0, "Hello").await;
    let delta = json!({ "event": "delta", "text": "llo", "attempt": 1, "offset": 2 });
    assert_eq!(socket.frame().await, told(10_000_006, "delta", delta));
    let never = json!({ "op": "watch", "turn_id": turn, "last_event_id": format!("{turn}:20000001") });
    let refused = socket.ask(never).await;
    assert_eq!((&refused["event"], &refused["data"]["code"]), (&json!("error"), &json!("invalid_event_id")));

    socket.ask(json!({ "op": "watch", "turn_id": turn })).await;
    assert_eq!(socket.frame().await["event"], "accepted");
    chat.complete(1, "Hello you").await;
    let rest = [socket.frame().await, socket.frame().await];
    assert_eq!(rest.each_ref().map(|frame| &frame["event"]), ["delta", "completed"]);
    assert_eq!(
        (&rest[0]["data"]["text"], &rest[1]["data"]["response"]),
        (&json!("Hello you"), &json!("Hello you"))
    );
}

/// Nobody asked for it here: it is another tab's.
#[tokio::test]
async fn a_conversation_that_is_watched_tells_of_its_turns() {
    let world = World::new().await;
    let chat = Chat::play(&world).await;
    let conversation = chat.record.lock().unwrap().conversation_id;
    let answering = chat.bus.clone();
    let take = move |incoming: Incoming| {
        let bus = answering.clone();
        async move { bus.reply(&incoming.reply_to, &wire::Done { message: "there".into() }).await }
    };
    chat.bus.subscribe_operation(&GET_CONVERSATION.info, take).await.unwrap();
    subscribed(&chat.bus).await;
    let mut socket = Socket::open(&world, world.user).await;
    let accepted = TurnEvent::Accepted { turn_id: chat.turn, queue_position: None };
    chat.tell(accepted.clone()).await;
    let other = socket.ask(json!({ "op": "watch", "conversation_id": ConversationId::new() })).await;
    assert_eq!(other["event"], "reply");
    // It is asked whose the turn is, and that it is of no conversation that is watched.
    let mut asked = chat.asked.clone();
    chat.tell(accepted.clone()).await;
    asked.wait_for(|times| *times == 1).await.unwrap();
    let watched = socket.ask(json!({ "op": "watch", "conversation_id": conversation })).await;
    assert_eq!(watched, json!({ "event": "reply", "ref": "asked", "data": { "message": "there" } }));
    let before = *asked.borrow_and_update();
    chat.tell(accepted).await;
    // What is said while it is found out whose turn it is belongs to its text.
    chat.say(1, 0, "Hel").await;
    chat.say(1, 3, "lo").await;
    let events = [socket.frame().await, socket.frame().await, socket.frame().await];
    let texts = events.each_ref().map(|frame| frame["data"]["text"].as_str().unwrap_or_default());
    assert_eq!((events[0]["event"].as_str(), texts), (Some("accepted"), ["", "Hel", "lo"]));
    assert_eq!(*asked.borrow(), before + 1, "it was asked for once");
    let gone = socket.ask(json!({ "op": "unwatch", "turn_id": chat.turn })).await;
    assert_eq!(gone["data"], json!({}));
    chat.say(1, 5, " you").await;
    assert_eq!(socket.ask(json!({ "op": "ping" })).await["event"], "reply", "nothing comes before it");
}

/// The world allows two sockets of a user, and three in all.
#[tokio::test]
async fn so_many_sockets_are_open_and_one_more_is_refused() {
    let world = World::new().await;
    let [ana, bob] = [world.user, UserId::new()];
    let mut first = Socket::open(&world, ana).await;
    let _second = Socket::open(&world, ana).await;
    let mut third = Socket::knock(&world, &format!("omnichat.v1, bearer.{}", world.token(ana))).await;
    assert_eq!(third.error().await, ("rate_limited".into(), 429));
    assert_eq!(third.end().await, end(4429, "too_many"));
    drop(third);
    let until = Instant::now() + PATIENCE;
    let _third = loop {
        assert!(Instant::now() < until, "the place of one that was refused is free again");
        let mut socket = Socket::knock(&world, "omnichat.v1").await;
        socket.say(&json!({ "op": "auth", "token": world.token(bob) })).await;
        if let Came::Frame(frame) = socket.come().await {
            assert_eq!(frame["event"], "ready");
            break socket;
        }
    };
    let request = world.request_of(bob, "GET", "/ws");
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let answer = world.ask(request, "").await;
    assert_eq!((answer.fault(), answer.header("retry-after")), ((503, "overloaded".into()), "1"));
    for limit in ["sockets_per_user", "sockets"] {
        let hits = format!("omnichat_limit_hits_total{{limit=\"{limit}\"}}");
        assert!(counted(&world, &hits).await.is_some(), "{limit}");
    }
    assert_eq!(first.ask(json!({ "op": "ping" })).await["event"], "reply");
}

#[tokio::test]
async fn a_user_says_so_much_in_a_minute() {
    let world = World::new().await;
    let [mut first, mut second] =
        [Socket::open(&world, world.user).await, Socket::open(&world, world.user).await];
    let mut refused = None;
    for number in 0..MANY {
        let socket = if number % 2 == 0 { &mut first } else { &mut second };
        let answer = socket.ask(json!({ "op": "ping" })).await;
        if answer["event"] == "error" {
            assert!(number >= MANY - 1, "{number}: {answer}");
            refused = Some(answer["data"].clone());
        }
    }
    let refused = refused.expect("one of them is too much");
    assert_eq!((&refused["code"], &refused["status"]), (&json!("rate_limited"), &json!(429)));
    assert!(refused["retry_after"].as_u64() >= Some(1), "{refused}");
    let mut other = Socket::open(&world, UserId::new()).await;
    assert_eq!(other.ask(json!({ "op": "ping" })).await["event"], "reply", "another user has another minute");
}

#[tokio::test]
async fn so_much_is_under_way_over_one_socket() {
    let world = World::new().await;
    let chat = Chat::play(&world).await;
    let bus = world.service().await;
    let answering = bus.clone();
    let take = move |incoming: Incoming| {
        let bus = answering.clone();
        async move { bus.reply(&incoming.reply_to, &wire::Done { message: "there".into() }).await }
    };
    bus.subscribe_operation(&GET_CONVERSATION.info, take).await.unwrap();
    // Who cancels is never answered.
    bus.subscribe_operation(&CANCEL_TURN.info, |_: Incoming| std::future::pending::<()>()).await.unwrap();
    subscribed(&bus).await;

    let mut socket = Socket::open(&world, world.user).await;
    for _ in 0..SOCKET_TURNS_MAX {
        assert_eq!(socket.ask(json!({ "op": "watch", "turn_id": TurnId::new() })).await["event"], "reply");
    }
    let fault = |answer: &Value| (answer["data"]["code"].clone(), answer["data"]["status"].clone());
    let too_many = (json!("rate_limited"), json!(429));
    let one_more = json!({ "op": "watch", "turn_id": chat.turn });
    assert_eq!(fault(&socket.ask(one_more).await), too_many);
    let send = json!({ "op": "send", "conversation_id": ConversationId::new(), "body": { "content": "a" } });
    assert_eq!(fault(&socket.ask(send).await), too_many);

    let mut socket = Socket::open(&world, UserId::new()).await;
    let attend = || json!({ "op": "watch", "conversation_id": ConversationId::new() });
    for _ in 0..SOCKET_CONVERSATIONS_MAX {
        assert_eq!(socket.ask(attend()).await["event"], "reply");
    }
    assert_eq!(fault(&socket.ask(attend()).await), too_many);
    for _ in 0..SOCKET_REQUESTS_MAX {
        socket.say(&json!({ "op": "cancel", "turn_id": chat.turn })).await;
    }
    let one_more = json!({ "op": "cancel", "turn_id": chat.turn });
    assert_eq!(fault(&socket.ask(one_more).await), too_many);
    for limit in ["socket_turns", "socket_conversations", "socket_requests"] {
        let hits = format!("omnichat_limit_hits_total{{limit=\"{limit}\"}}");
        assert!(counted(&world, &hits).await.is_some(), "{limit}");
    }
}

#[tokio::test]
async fn a_socket_ends_with_its_time_or_its_process() {
    let world = World::with(Config { stream_life_s: NonZeroU32::new(2).unwrap(), ..config() }).await;
    let mut socket = Socket::open(&world, world.user).await;
    let hint = |reason: &str| json!({ "event": "reconnect", "data": { "reason": reason, "retry_ms": 1000 } });
    assert_eq!(socket.frame().await, hint("grown_old"));
    assert_eq!(socket.end().await, end(1001, "grown_old"));

    let world = World::new().await;
    let mut socket = Socket::open(&world, world.user).await;
    let mut waiting = Socket::knock(&world, "omnichat.v1").await;
    world.drain.begin();
    assert_eq!(socket.frame().await, hint("draining"));
    assert_eq!(socket.end().await, end(1001, "draining"));
    assert_eq!(waiting.end().await, end(1001, "draining"));
    assert!(world.drain.finish(PATIENCE).await.is_empty());
}

/// A token is good for a while; the socket goes on with the next one of the same user.
#[tokio::test]
async fn a_socket_goes_on_with_another_token_of_its_user() {
    let world = World::new().await;
    let mut socket = Socket::open(&world, world.user).await;
    let fresh = socket.ask(json!({ "op": "auth", "token": world.token(world.user) })).await;
    assert_eq!(fresh["event"], "ready");
    for wrong in [world.token(UserId::new()), "no token".into()] {
        let refused = socket.ask(json!({ "op": "auth", "token": wrong })).await;
        assert_eq!((&refused["event"], &refused["data"]["code"]), (&json!("error"), &json!("invalid_token")));
    }
    assert_eq!(socket.ask(json!({ "op": "ping" })).await["event"], "reply", "the one before is still good");
}

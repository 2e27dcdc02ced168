//! Streams of events, with a chat service that is played: what it tells, what its record says, and what a reader gets.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Bus, Incoming};
use bytes::Bytes;
use http::request::Builder;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming as Body, client::conn::http1::SendRequest};
use ingress::Config;
use tokio::{
    io::AsyncWriteExt,
    net::TcpSocket,
    sync::watch,
    time::{Instant, timeout},
};
use wire::{
    Message, MessageId, Role, Turn, TurnEvent, TurnId, TurnStatus, UserId, limits::ANSWER_BYTES_MAX,
    operations::GET_TURN,
};

use crate::{
    calls,
    world::{World, config, subscribed},
};

/// Far beyond every time here.
const PATIENCE: Duration = Duration::from_secs(60);
const COME_BACK: &str = ": come back for the rest\nretry: 1000";

/// A turn of the world's user, and the service that tells of it.
pub struct Chat {
    pub bus: Bus,
    user: UserId,
    pub turn: TurnId,
    pub record: Arc<Mutex<Turn>>,
    pub asked: watch::Receiver<u32>,
}

impl Chat {
    /// A turn that runs.
    pub async fn play(world: &World) -> Self {
        let turn = TurnId::new();
        let record = Arc::new(Mutex::new(calls::turn(turn, TurnStatus::Running)));
        let (bus, shown) = (world.service().await, record.clone());
        let (asks, asked) = watch::channel(0);
        let answering = bus.clone();
        let take = move |incoming: Incoming| {
            let (bus, turn) = (answering.clone(), shown.lock().unwrap().clone());
            asks.send_modify(|times| *times += 1);
            async move { bus.reply(&incoming.reply_to, &turn).await }
        };
        bus.subscribe_operation(&GET_TURN.info, take).await.unwrap();
        subscribed(&bus).await;
        Self { bus, user: world.user, turn, record, asked }
    }

    pub async fn tell(&self, event: TurnEvent) {
        self.bus.tell(self.user, self.turn, 1, &event).await;
    }

    pub async fn say(&self, attempt: i16, offset: usize, text: &str) {
        let offset = u32::try_from(offset).unwrap();
        self.tell(TurnEvent::Delta { text: text.into(), attempt, offset }).await;
    }

    /// Stores the answer, and does not tell.
    fn store(&self, attempt: i16, text: &str) {
        let mut record = self.record.lock().unwrap();
        let conversation_id = record.conversation_id;
        (record.status, record.attempt) = (TurnStatus::Completed, attempt);
        record.messages.push(Message {
            id: MessageId::answer_to(self.turn),
            conversation_id,
            parent_id: None,
            turn_id: self.turn,
            seq: 1,
            role: Role::Assistant,
            content: text.into(),
            images: Vec::new(),
            created_at: wire::now(),
        });
    }

    /// Stores the answer, and tells that there is one.
    pub async fn complete(&self, attempt: i16, text: &str) {
        self.store(attempt, text);
        self.tell(TurnEvent::Cancelled { turn_id: self.turn }).await;
    }

    fn request(&self, world: &World, user: UserId) -> Builder {
        world.request_of(user, "GET", &format!("/turns/{}/events", self.turn))
    }

    async fn open(&self, world: &World) -> Reader {
        Reader::open(world, self.request(world, self.user)).await
    }
}

/// What all worlds of this process have counted under this name and label.
pub async fn counted(world: &World, what: &str) -> Option<f64> {
    let metrics = world.ask(world.anonymous("GET", "/metrics"), "").await.text();
    metrics.lines().find_map(|line| line.strip_prefix(what)?.trim().parse().ok())
}

/// Who reads a stream, block by block.
struct Reader {
    body: Body,
    unread: String,
    _client: SendRequest<Full<Bytes>>,
}

impl Reader {
    async fn open(world: &World, request: Builder) -> Self {
        Self::try_open(world, request).await.unwrap()
    }

    /// The status, if it is another.
    async fn try_open(world: &World, request: Builder) -> Result<Self, u16> {
        let mut client = world.connect().await;
        client.ready().await.unwrap();
        let answer = client.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        if answer.status() != 200 {
            return Err(answer.status().as_u16());
        }
        let headers = ["content-type", "cache-control", "x-accel-buffering", "x-content-type-options"];
        let headers = headers.map(|name| answer.headers()[name].to_str().unwrap());
        assert_eq!(headers, ["text/event-stream", "no-store", "no", "nosniff"]);
        Ok(Self { body: answer.into_body(), unread: String::new(), _client: client })
    }

    /// The next block; none when the stream has ended.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                return Some(block);
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("something comes")?;
            self.unread.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    }

    /// The next event after `accepted`: number, name and text.
    async fn step(&mut self) -> (u64, String, String) {
        let event = self.event().await;
        if event.1 == "accepted" { self.event().await } else { event }
    }

    /// The next event: number, name and text.
    async fn event(&mut self) -> (u64, String, String) {
        // Comments come for ever.
        let block = timeout(PATIENCE, async {
            loop {
                let block = self.next().await.expect("an event comes");
                if !block.starts_with(':') {
                    return block;
                }
            }
        });
        let block = block.await.expect("an event comes in time");
        let fields: Vec<_> = block.lines().map(|line| line.split_once(": ").unwrap()).collect();
        let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["id", "event", "data"], "{block}");
        let data: serde_json::Value = serde_json::from_str(fields[2].1).unwrap();
        assert_eq!(data["event"], fields[1].1, "{block}");
        let number = fields[0].1.rsplit(':').next().unwrap().parse().unwrap();
        (number, fields[1].1.to_owned(), data["text"].as_str().unwrap_or_default().to_owned())
    }
}

fn event(number: u64, name: &str, text: &str) -> (u64, String, String) {
    (number, name.into(), text.into())
}

#[tokio::test]
async fn what_is_told_is_shown_and_the_record_has_the_last_word() {
    let world = World::with(Config { total_timeout_s: NonZeroU32::MIN, ..config() }).await;
    let chat = Chat::play(&world).await;
    let mut reader = chat.open(&world).await;
    assert_eq!(reader.event().await, event(1, "accepted", ""));
    chat.tell(TurnEvent::Started { turn_id: chat.turn, attempt: 1, model: "m".into() }).await;
    assert_eq!(reader.event().await, event(10_000_001, "started", ""));
    chat.say(1, 0, "one\ntwo\r").await;
    assert_eq!(reader.event().await, event(10_000_009, "delta", "one\ntwo\r"));
    chat.say(1, 99, "beyond a gap").await;
    chat.complete(1, "one\ntwo\r and three").await;
    assert_eq!(reader.event().await, event(10_000_019, "delta", " and three"));
    assert_eq!(reader.event().await, event(19_000_000, "completed", ""));
    assert_eq!(reader.next().await, None);
}

/// It would be given up after a second, if it were a request like others.
#[tokio::test]
async fn a_quiet_stream_lives_on_and_is_heard() {
    let second = NonZeroU32::MIN;
    let world = World::with(Config {
        total_timeout_s: second,
        idle_timeout_s: second,
        header_read_timeout_s: second,
        stream_heartbeat_s: second,
        ..config()
    })
    .await;
    let chat = Chat::play(&world).await;
    let mut reader = chat.open(&world).await;
    assert_eq!(reader.event().await, event(1, "accepted", ""));
    for _ in 0..3 {
        assert_eq!(reader.next().await.as_deref(), Some(":"));
    }
    assert!(counted(&world, "omnichat_streams_in_flight").await >= Some(1.0));
    chat.say(1, 0, "there").await;
    assert_eq!(reader.step().await, event(10_000_006, "delta", "there"));
}

/// Nothing is told of it: the record is looked into now and then.
#[tokio::test]
async fn an_end_that_was_not_heard_is_found() {
    let world = World::new().await;
    let chat = Chat::play(&world).await;
    let mut reader = chat.open(&world).await;
    chat.say(1, 0, "Hel").await;
    assert_eq!(reader.step().await, event(10_000_004, "delta", "Hel"));
    chat.store(2, "Hullo");
    assert_eq!(reader.step().await, event(20_000_001, "restarted", ""));
    assert_eq!(reader.step().await, event(20_000_006, "delta", "Hullo"));
    assert_eq!(reader.step().await, event(29_000_000, "completed", ""));
}

#[tokio::test]
async fn a_stream_that_is_old_enough_is_to_be_picked_up() {
    let world = World::with(Config { stream_life_s: NonZeroU32::MIN, ..config() }).await;
    let chat = Chat::play(&world).await;
    let mut reader = chat.open(&world).await;
    chat.say(1, 0, "Hel").await;
    let (seen, ..) = reader.step().await;
    assert_eq!(reader.next().await.as_deref(), Some(COME_BACK));
    assert_eq!(reader.next().await, None);
    assert!(counted(&world, "omnichat_streams_ended_total{reason=\"grown_old\"}").await.is_some());
    let again = chat.request(&world, chat.user).header("last-event-id", format!("{}:{seen}", chat.turn));
    let mut reader = Reader::open(&world, again).await;
    chat.say(1, 3, "lo").await;
    assert_eq!(reader.step().await, event(10_000_006, "delta", "lo"));
}

#[tokio::test]
async fn a_process_that_ends_sends_its_readers_away() {
    let world = World::new().await;
    let chat = Chat::play(&world).await;
    let mut reader = chat.open(&world).await;
    assert_eq!(reader.event().await, event(1, "accepted", ""));
    world.drain.begin();
    assert_eq!(reader.next().await.as_deref(), Some(COME_BACK));
    assert_eq!(reader.next().await, None);
    assert!(world.drain.finish(PATIENCE).await.is_empty());
}

/// The world allows two streams of a user, and three in all.
#[tokio::test]
async fn so_many_streams_are_open_and_one_more_is_refused() {
    let world = World::new().await;
    let chat = Chat::play(&world).await;
    let refused = async |user: UserId| {
        let answer = world.ask(chat.request(&world, user), "").await;
        assert_eq!(answer.header("retry-after"), "1");
        answer.fault()
    };
    let [ana, bob] = [chat.user, UserId::new()];
    let first = chat.open(&world).await;
    let _second = chat.open(&world).await;
    assert_eq!(refused(ana).await, (429, "rate_limited".into()));
    let _third = Reader::open(&world, chat.request(&world, bob)).await;
    assert_eq!(refused(bob).await, (503, "overloaded".into()));
    for limit in ["streams_per_user", "streams"] {
        let hits = format!("omnichat_limit_hits_total{{limit=\"{limit}\"}}");
        assert!(counted(&world, &hits).await.is_some(), "{limit}");
    }
    drop(first);
    let until = Instant::now() + PATIENCE;
    while let Err(status) = Reader::try_open(&world, chat.request(&world, bob)).await {
        assert!(status == 503 && Instant::now() < until, "{status}: there is room again");
    }
}

/// Each byte of its text takes six in a frame, so that much is told and little is said.
#[tokio::test]
async fn who_never_reads_is_given_up_and_others_go_on() {
    let world = World::with(Config { stream_stall_s: NonZeroU32::MIN, ..config() }).await;
    let chat = Chat::play(&world).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut silent = socket.connect(world.address).await.unwrap();
    let request = chat.request(&world, chat.user).body(()).unwrap();
    let headers =
        request.headers().iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    let head = format!("GET {} HTTP/1.1\r\n{}\r\n", request.uri(), headers.collect::<String>());
    silent.write_all(head.as_bytes()).await.unwrap();
    chat.asked.clone().wait_for(|times| *times == 1).await.unwrap();
    let mut reader = chat.open(&world).await;

    let piece = "\u{1}".repeat(16 * 1024);
    for attempt in 1..=3 {
        for offset in (0..ANSWER_BYTES_MAX).step_by(piece.len()) {
            chat.say(attempt, offset, &piece).await;
            let text = loop {
                let (_, name, text) = reader.step().await;
                if name == "delta" {
                    break text;
                }
            };
            assert!(text == piece, "{attempt} {offset}");
        }
    }
    let until = Instant::now() + PATIENCE;
    while counted(&world, "omnichat_streams_ended_total{reason=\"lagged\"}").await.is_none() {
        assert!(Instant::now() < until, "it is waited for and waited for");
    }
    chat.complete(3, "x").await;
    assert_eq!(reader.step().await.1, "completed");
}

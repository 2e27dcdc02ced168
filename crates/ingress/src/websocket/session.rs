//! The life of a socket: who it is, what is said and heard, and the end, with its reason.

use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use bus::{Noticed, UserEvents};
use bytes::Bytes;
use futures::{
    FutureExt, SinkExt, Stream, StreamExt,
    stream::{SplitSink, SplitStream},
};
use host::limit::hit;
use tokio::time::{sleep, timeout};
use wire::{
    Fault, FaultCode, UserId,
    limits::{SOCKET_CONTROLS_MAX, SOCKET_TOKEN_TIME_S},
};

use super::{
    ENDED, MESSAGES, OPEN,
    close::End,
    desk::Desk,
    reply::{self, Outcome},
    request::{self, Asked},
};
use crate::{
    caller::{Caller, Visitor},
    in_flight::InFlight,
    slots::Slot,
    stream::{Outbox, every, outbox},
};

/// For the last words, and for the client's.
const FAREWELL: Duration = Duration::from_secs(1);
/// Whether the client may stay is looked into this often.
const CHECK: Duration = Duration::from_secs(5);
/// Heartbeats that a client may miss.
const MISSED_MAX: u32 = 2;

pub(super) struct Session {
    pub visitor: Visitor,
    pub slot: Slot<UserId>,
    /// What the request has shown, if it has shown something.
    pub credential: Option<String>,
}

impl Session {
    /// Runs the socket to its end.
    pub async fn run(mut self, socket: WebSocket) {
        let _open = InFlight::new(OPEN);
        let (mut writer, mut reader) = socket.split();
        let door = self.visitor.door();
        let (stall, heartbeat) = (door.stream_stall, door.stream_heartbeat);
        let (outbox, mut frames) = outbox(stall);
        let end = tokio::select! {
            end = write(&mut writer, &mut frames, stall, heartbeat) => end,
            end = self.converse(&mut reader, outbox) => end,
        };
        tracing::debug!(reason = end.name(), "a socket ended");
        metrics::counter!(ENDED, "reason" => end.name()).increment(1);
        let farewell = async {
            // What waits was meant to be told before.
            while let Some(Some(Ok(frame))) = frames.next().now_or_never() {
                writer.send(text(frame)).await?;
            }
            for word in end.last_words() {
                writer.send(word).await?;
            }
            writer.flush().await?;
            while let Some(Ok(_)) = reader.next().await {}
            writer.close().await
        };
        // Who takes nothing, or says nothing, is left to itself.
        drop(timeout(FAREWELL, farewell).await);
    }

    async fn converse(&mut self, reader: &mut SplitStream<WebSocket>, outbox: Outbox) -> End {
        match self.begin(reader, &outbox).await {
            Ok((desk, events)) => {
                Conversation { desk, events, missed: 0, controls: 0 }.run(reader, self).await
            }
            Err(end) => end,
        }
    }

    /// Finds out who it is, and whether there is room for them.
    async fn begin(
        &mut self,
        reader: &mut SplitStream<WebSocket>,
        outbox: &Outbox,
    ) -> Result<(Desk, UserEvents), End> {
        let (reference, credential) = match self.credential.take() {
            Some(credential) => (None, credential),
            None => self.ask_who(reader, outbox).await?,
        };
        let caller = self.prove(credential).await;
        let caller = self.or_say(caller, reference.as_deref(), outbox).await?;
        if let Err(limit) = self.slot.give(caller.user()) {
            hit(limit.name);
            let fault = Fault::because(FaultCode::RateLimited, "Too many sockets are open: close one");
            self.say(&fault, reference.as_deref(), outbox).await?;
            return Err(End::TooMany);
        }
        let events = caller.door().bus.listen_to_all(caller.user()).await.map_err(|_| End::Deaf)?;
        let heartbeat_s = caller.door().stream_heartbeat.as_secs();
        outbox.send(reply::ready(reference.as_deref(), caller.user(), heartbeat_s)).await?;
        Ok((Desk::new(caller, outbox.clone()), events))
    }

    /// Waits for the first message, which says who it is.
    async fn ask_who(
        &self,
        reader: &mut SplitStream<WebSocket>,
        outbox: &Outbox,
    ) -> Result<(Option<String>, String), End> {
        let time = Duration::from_secs(SOCKET_TOKEN_TIME_S.into());
        let first = timeout(time, async {
            loop {
                match reader.next().await.ok_or(End::Left)?? {
                    Message::Text(text) => return Ok(text),
                    Message::Binary(_) => return Err(End::Binary),
                    Message::Close(_) => return Err(End::Left),
                    Message::Ping(_) | Message::Pong(_) => {}
                }
            }
        });
        let first = tokio::select! {
            first = first => first.unwrap_or(Err(End::NotLetIn(FaultCode::MissingToken)))?,
            () = self.visitor.door().drain.draining() => return Err(End::Draining),
        };
        match request::read(&first) {
            (reference, _, Ok(Asked::Auth { token })) => Ok((reference, token)),
            (reference, _, asked) => {
                let none = "Say who you are first: {\"op\":\"auth\",\"token\":…}";
                let fault = asked.err().unwrap_or_else(|| Fault::because(FaultCode::MissingToken, none));
                self.say(&fault, reference.as_deref(), outbox).await?;
                Err(End::NotLetIn(FaultCode::MissingToken))
            }
        }
    }

    async fn prove(&self, credential: String) -> Result<Caller, Fault> {
        self.visitor.clone().prove(credential.into()).await
    }

    /// Whoever cannot be let in is told why, and the socket ends.
    async fn or_say(
        &self,
        proven: Result<Caller, Fault>,
        reference: Option<&str>,
        outbox: &Outbox,
    ) -> Result<Caller, End> {
        match proven {
            Ok(caller) => Ok(caller),
            Err(fault) => {
                self.say(&fault, reference, outbox).await?;
                Err(unwelcome(fault.code))
            }
        }
    }

    async fn say(&self, fault: &Fault, reference: Option<&str>, outbox: &Outbox) -> Result<(), End> {
        Ok(outbox.send(Outcome::fault(fault, &self.visitor.context().request_id).frame(reference)).await?)
    }
}

/// How a socket ends whose user is not, or no more, let in.
const fn unwelcome(code: FaultCode) -> End {
    match code {
        FaultCode::Unavailable | FaultCode::Internal => End::Unavailable,
        code => End::NotLetIn(code),
    }
}

/// The socket of somebody who was let in.
struct Conversation {
    desk: Desk,
    events: UserEvents,
    /// Heartbeats since anything came.
    missed: u32,
    /// Pings and pongs since the last heartbeat.
    controls: u32,
}

impl Conversation {
    async fn run(mut self, reader: &mut SplitStream<WebSocket>, session: &Session) -> End {
        let door = session.visitor.door();
        let (drain, life) = (door.drain.clone(), sleep(door.stream_life));
        let talk = async {
            match self.talk(reader, session).await {
                Ok(never) => match never {},
                Err(end) => end,
            }
        };
        tokio::select! {
            end = talk => end,
            () = drain.draining() => End::Draining,
            () = life => End::GrownOld,
        }
    }

    async fn talk(
        &mut self,
        reader: &mut SplitStream<WebSocket>,
        session: &Session,
    ) -> Result<std::convert::Infallible, End> {
        let mut heartbeat = every(session.visitor.door().stream_heartbeat);
        let mut check = every(CHECK);
        loop {
            tokio::select! {
                said = reader.next() => self.hear(said.ok_or(End::Left)??, session).await?,
                done = self.desk.done() => self.desk.go_on(done).await?,
                heard = self.events.next() => {
                    match heard.ok_or(End::Deaf)? {
                        Noticed::Event((turn, event)) => self.desk.notice(turn, event),
                        Noticed::Missed => self.desk.reconnected(),
                    }
                }
                _ = heartbeat.tick() => {
                    if self.missed >= MISSED_MAX {
                        return Err(End::Silent);
                    }
                    self.missed += 1;
                    self.controls = 0;
                }
                _ = check.tick() => {
                    let checked = self.desk.caller().check_credential().await;
                    checked.map_err(|fault| unwelcome(fault.code))?;
                }
            }
        }
    }

    async fn hear(&mut self, message: Message, session: &Session) -> Result<(), End> {
        self.missed = 0;
        match message {
            Message::Text(text) => self.read(&text, session).await,
            Message::Binary(_) => Err(End::Binary),
            Message::Close(_) => Err(End::Left),
            Message::Ping(_) | Message::Pong(_) => {
                self.controls += 1;
                if self.controls > SOCKET_CONTROLS_MAX { Err(End::Flooded) } else { Ok(()) }
            }
        }
    }

    async fn read(&mut self, text: &str, session: &Session) -> Result<(), End> {
        let (reference, name, asked) = request::read(text);
        metrics::counter!(MESSAGES, "op" => name).increment(1);
        let limit = session.visitor.door().socket_messages.as_ref();
        if let Some(Err(excess)) = limit.map(|limit| limit.take(&self.desk.user())) {
            let fault = Fault::because(FaultCode::RateLimited, "Too many messages to sockets");
            let fault = fault.retry_after(excess.retry_after_s);
            return self.desk.refuse(reference.as_deref(), &fault).await;
        }
        match asked {
            Ok(Asked::Auth { token }) => self.renew(reference, token, session).await,
            Ok(asked) => self.desk.take(reference, asked).await,
            Err(fault) => self.desk.refuse(reference.as_deref(), &fault).await,
        }
    }

    /// The user shows another credential, as the first will not be good for ever. One that is not good changes nothing.
    async fn renew(
        &mut self,
        reference: Option<String>,
        token: String,
        session: &Session,
    ) -> Result<(), End> {
        match session.prove(token).await {
            Ok(caller) if caller.user() == self.desk.user() => {
                let heartbeat_s = session.visitor.door().stream_heartbeat.as_secs();
                let ready = reply::ready(reference.as_deref(), caller.user(), heartbeat_s);
                self.desk.go_on_as(caller);
                self.desk.tell(ready).await
            }
            Ok(_) => {
                let another = "A socket is one user's: open another one";
                let fault = Fault::because(FaultCode::InvalidToken, another);
                self.desk.refuse(reference.as_deref(), &fault).await
            }
            Err(fault) => self.desk.refuse(reference.as_deref(), &fault).await,
        }
    }
}

/// Writes what waits, and a ping now and then, until the client takes too little of it.
async fn write(
    writer: &mut SplitSink<WebSocket, Message>,
    frames: &mut (impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Unpin),
    stall: Duration,
    heartbeat: Duration,
) -> End {
    let mut heartbeat = every(heartbeat);
    loop {
        let message = tokio::select! {
            frame = frames.next() => match frame {
                Some(Ok(frame)) => text(frame),
                None => return End::Left,
            },
            _ = heartbeat.tick() => Message::Ping(Bytes::new()),
        };
        match timeout(stall, writer.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return End::Lagged,
        }
    }
}

/// Frames are made of JSON, which is UTF-8.
fn text(frame: Bytes) -> Message {
    Message::Text(Utf8Bytes::try_from(frame).unwrap_or_default())
}

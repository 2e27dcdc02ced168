//! Which workers are alive. Each tells a sign of life five times a second; the dead are seen at once, as the server knows
//! no subscription of theirs any more, and the hanging after 0.8 s of silence: their connections are then ended by the
//! server, as they would go on to get their share of all requests.
//!
//! Who is alive decides who should own which partition, so that a takeover is fast. Whether somebody does own one, Postgres
//! decides.

mod view;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Message, RequestErrorKind, Subscriber};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use wire::subject;

use crate::{Bus, SubscribeError};
use view::View;

/// Between two signs of life.
const BEAT: Duration = Duration::from_millis(200);
/// Between two looks at the others.
const LOOK: Duration = Duration::from_millis(100);
/// For an answer of a neighbour that is watched. None within it says nothing.
const PROBE: Duration = Duration::from_millis(150);
/// For the answers to a newcomer; with nobody there the server says so at once.
const HELLO: Duration = Duration::from_millis(150);

/// What a worker says to all others.
const BEATS: &str = "beat";
const HELLOS: &str = "hello";
const LEAVES: &str = "leaves";
const DEAD: &str = "dead";

/// This worker among the others.
#[derive(Clone)]
pub struct Cluster {
    members: watch::Receiver<Vec<String>>,
    leave: mpsc::Sender<oneshot::Sender<()>>,
}

impl Cluster {
    /// Joins the others under a name that no other process has, and no earlier one had.
    pub async fn join(bus: &Bus, name: &str) -> Result<Self, SubscribeError> {
        let mut view = View::new(name.to_owned(), Instant::now());
        for other in bus.ask_everywhere(subject::cluster(HELLOS), HELLO).await? {
            view.heard(&String::from_utf8_lossy(&other), Instant::now());
        }
        let said = bus.client.subscribe(subject::cluster("*")).await?;
        let asked = bus.client.subscribe(subject::presence(name)).await?;
        let (members_of, members) = watch::channel(view.members());
        let (leave, leaving) = mpsc::channel(1);
        let mut reconnects = bus.reconnects.clone();
        reconnects.mark_unchanged();
        let member = Member {
            bus: bus.clone(),
            name: name.into(),
            view,
            members: members_of,
            said,
            asked,
            reconnects,
            leaving,
            left: false,
            probed: HashSet::new(),
            probes: FuturesUnordered::new(),
        };
        bus.drain.spawn("cluster member", member.run());
        Ok(Self { members, leave })
    }

    /// The names of all workers that are alive, in order, this one included. Changes wake the receiver.
    pub fn members(&self) -> watch::Receiver<Vec<String>> {
        self.members.clone()
    }

    /// Tells the others that this worker leaves: from now on it is none of them.
    pub async fn leave(&self) {
        let (told, done) = oneshot::channel();
        if self.leave.send(told).await.is_ok() {
            let _ = timeout(Duration::from_secs(1), done).await;
        }
    }
}

fn name_in(message: &Message) -> Option<String> {
    std::str::from_utf8(&message.payload).ok().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The task that speaks and listens.
struct Member {
    bus: Bus,
    name: Arc<str>,
    view: View,
    members: watch::Sender<Vec<String>>,
    said: Subscriber,
    asked: Subscriber,
    reconnects: watch::Receiver<u64>,
    leaving: mpsc::Receiver<oneshot::Sender<()>>,
    left: bool,
    probed: HashSet<String>,
    probes: FuturesUnordered<BoxFuture<'static, (String, Pulse)>>,
}

impl Member {
    async fn run(mut self) {
        let every = |period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut beats, mut looks) = (every(BEAT), every(LOOK));
        loop {
            tokio::select! {
                Some(message) = self.said.next() => self.hear(&message).await,
                Some(question) = self.asked.next() => self.answer(&question).await,
                _ = beats.tick() => if !self.left { say(&self.bus, BEATS, &self.name).await },
                _ = looks.tick() => self.look().await,
                Some((who, pulse)) = self.probes.next() => self.probed(who, pulse).await,
                Ok(()) = self.reconnects.changed() => self.view.begin_anew(Instant::now()),
                Some(told) = self.leaving.recv() => {
                    self.left = true;
                    say(&self.bus, LEAVES, &self.name).await;
                    let _ = self.bus.client.flush().await;
                    let _ = told.send(());
                }
                () = self.bus.drain.stop_now() => break,
                // Nobody is left to ask, so nothing here has a purpose any more.
                () = self.members.closed() => break,
            }
            self.publish();
        }
    }

    async fn hear(&mut self, message: &Message) {
        let Some(what) = message.subject.rsplit('.').next() else { return };
        match (what, name_in(message)) {
            (HELLOS, _) => self.answer(message).await,
            (BEATS, Some(who)) => self.view.heard(&who, Instant::now()),
            (LEAVES, Some(who)) if self.view.left(&who) => {
                tracing::info!(worker = who, "another worker leaves");
            }
            // Said of ourselves, it is wrong; the next sign of life tells everybody.
            (DEAD, Some(who)) => drop(self.view.left(&who)),
            _ => {}
        }
    }

    async fn answer(&mut self, question: &Message) {
        if let Some(inbox) = question.reply.clone().filter(|_| !self.left) {
            let _ = self.bus.client.publish(inbox, self.name.to_string().into()).await;
        }
    }

    /// Gives up the silent, and asks the neighbours.
    async fn look(&mut self) {
        for who in self.view.look(Instant::now()) {
            tracing::warn!(worker = who, "another worker is silent: taking it for hanging");
            // The first who finds it tells the others; wrongly given up, it is back with its next word.
            say(&self.bus, DEAD, &who).await;
            self.bus.signal(subject::silent(&who)).await;
        }
        for who in self.view.watched() {
            if self.probed.insert(who.clone()) {
                self.probes.push(probe(self.bus.clone(), who).boxed());
            }
        }
    }

    async fn probed(&mut self, who: String, pulse: Pulse) {
        self.probed.remove(&who);
        match pulse {
            // As good as a word of its own; but who was given up comes back by its own word alone.
            Pulse::There => self.view.answered(&who, Instant::now()),
            Pulse::Unheard => {}
            Pulse::Gone if self.view.unsubscribed(&who, Instant::now()) => {
                tracing::warn!(worker = who, "another worker is dead");
                say(&self.bus, DEAD, &who).await;
            }
            Pulse::Gone => {}
        }
    }

    fn publish(&self) {
        let members = self.view.members();
        self.members.send_if_modified(|known| {
            let changed = *known != members;
            if changed {
                tracing::info!(workers = members.len(), "the workers that are alive have changed");
                *known = members;
            }
            changed
        });
    }
}

async fn say(bus: &Bus, what: &str, who: &str) {
    if let Err(error) = bus.client.publish(subject::cluster(what), who.to_owned().into()).await {
        tracing::debug!(%error, what, "the other workers were not told");
    }
}

/// What a probe of a worker found.
enum Pulse {
    There,
    /// No answer in time: it may be busy.
    Unheard,
    /// The server knows no subscription of it.
    Gone,
}

async fn probe(bus: Bus, who: String) -> (String, Pulse) {
    let request = async_nats::Request::new().timeout(Some(PROBE));
    let pulse = match bus.client.send_request(subject::presence(&who), request).await {
        Ok(_) => Pulse::There,
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Pulse::Gone,
        Err(_) => Pulse::Unheard,
    };
    (who, pulse)
}

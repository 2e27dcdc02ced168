//! The turns that are followed over one socket: each has an ear, into which what is heard of it is handed, and is told at most
//! once at a time.

use std::collections::{HashMap, VecDeque};

use bus::Noticed;
use futures::future::{AbortHandle, AbortRegistration};
use tokio::sync::mpsc;
use wire::TurnId;

use crate::stream::Ear;

/// Events that wait for a follower, which waits for its reader. What is beyond is left out: the record has it.
const EVENTS_MAX: usize = 128;
/// Turns that have been told to their end. An event of theirs that comes late begins nothing.
const OVER_MAX: usize = 256;

/// Them.
#[derive(Default)]
pub(super) struct Turns {
    followed: HashMap<TurnId, Followed>,
    over: VecDeque<TurnId>,
    begun: u64,
}

struct Followed {
    /// Tells it from one that was begun before.
    number: u64,
    events: mpsc::Sender<Noticed>,
    abort: AbortHandle,
    wanted: bool,
}

/// What a follower needs to be one of them.
pub(super) struct Place {
    pub number: u64,
    pub ear: Ear,
    pub registration: AbortRegistration,
}

impl Turns {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.followed.len()
    }

    pub fn has(&self, turn: TurnId) -> bool {
        self.followed.contains_key(&turn)
    }

    /// Whether it was told to its end, as far as is remembered.
    pub fn is_over(&self, turn: TurnId) -> bool {
        self.over.contains(&turn)
    }

    /// Begins to gather what is heard of a turn; whoever followed it before stops.
    pub fn begin(&mut self, turn: TurnId) -> Place {
        let (events, heard) = mpsc::channel(EVENTS_MAX);
        let (abort, registration) = AbortHandle::new_pair();
        self.begun += 1;
        let number = self.begun;
        if let Some(before) = self.followed.insert(turn, Followed { number, events, abort, wanted: false }) {
            before.abort.abort();
        }
        Place { number, ear: Ear::Handed(heard), registration }
    }

    /// Hands on what was heard of a turn. A follower that has no room finds in the record what it misses.
    pub fn hand(&self, turn: TurnId, noticed: Noticed) {
        if let Some(Followed { events, .. }) = self.followed.get(&turn) {
            drop(events.try_send(noticed));
        }
    }

    /// Hands on what concerns all of them.
    pub fn hand_to_all(&self, noticed: &Noticed) {
        for Followed { events, .. } in self.followed.values() {
            drop(events.try_send(noticed.clone()));
        }
    }

    /// It is to be followed, whatever is found out about it.
    pub fn want(&mut self, turn: TurnId) {
        if let Some(followed) = self.followed.get_mut(&turn) {
            followed.wanted = true;
        }
    }

    /// Whether the one of this number is still the one that counts, and whether it is wanted.
    pub fn is_current(&self, turn: TurnId, number: u64) -> Option<bool> {
        let followed = self.followed.get(&turn).filter(|followed| followed.number == number)?;
        Some(followed.wanted)
    }

    /// The follower of this number has ended.
    pub fn end(&mut self, turn: TurnId, number: u64, told: bool) {
        if self.followed.get(&turn).is_some_and(|followed| followed.number == number) {
            self.followed.remove(&turn);
            if told {
                self.over.truncate(OVER_MAX - 1);
                self.over.push_front(turn);
            }
        }
    }

    /// A turn is followed no more.
    pub fn stop(&mut self, turn: TurnId) {
        if let Some(followed) = self.followed.remove(&turn) {
            followed.abort.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::TurnEvent;

    use super::*;

    fn event(turn: TurnId) -> Noticed {
        Noticed::Event(TurnEvent::Cancelled { turn_id: turn })
    }

    #[tokio::test]
    async fn what_is_heard_goes_to_the_follower_that_counts() {
        let (mut turns, [ana, bob]) = (Turns::default(), [TurnId::new(), TurnId::new()]);
        let mut first = turns.begin(ana);
        let mut other = turns.begin(bob);
        turns.hand(ana, event(ana));
        assert_eq!(first.ear.next().await, Some(event(ana)));
        let mut second = turns.begin(ana);
        assert!(first.registration.handle().is_aborted() && first.ear.next().await.is_none());
        turns.end(ana, first.number, true);
        assert!(turns.has(ana) && !turns.is_over(ana), "the first one does not count any more");
        turns.hand_to_all(&Noticed::Missed);
        for place in [&mut second, &mut other] {
            assert_eq!(place.ear.next().await, Some(Noticed::Missed));
        }
        turns.end(ana, second.number, true);
        turns.stop(bob);
        assert_eq!((turns.len(), turns.is_over(ana), turns.is_over(bob)), (0, true, false));
    }

    #[tokio::test]
    async fn what_a_follower_cannot_take_is_left_out_and_never_waited_for() {
        let (mut turns, turn) = (Turns::default(), TurnId::new());
        let mut place = turns.begin(turn);
        for _ in 0..=EVENTS_MAX {
            turns.hand(turn, event(turn));
        }
        turns.stop(turn);
        let mut heard = 0;
        while place.ear.next().await.is_some() {
            heard += 1;
        }
        assert_eq!(heard, EVENTS_MAX);
    }
}

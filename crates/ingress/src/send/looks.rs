//! When a turn that says nothing is looked for.

use std::time::Duration;

use tokio::time::Instant;

use super::pursuit::Asking;

/// Before the first look for a turn that says nothing, as most have ended by then.
const FIRST_LOOK: Duration = Duration::from_millis(300);
/// Between the word that it is in the queue, or runs, and the next look: from there on only the answer can be lost.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// After this another look is begun beside one that is not answered: a process that hangs must not hold it up.
const LOOK_BESIDE: Duration = Duration::from_millis(100);
/// The pauses grow up to this: who is not answered because too much is asked must not ask for more.
const LOOK_RARELY: Duration = Duration::from_secs(5);

/// When a turn that says nothing is looked for.
pub(super) struct Watch {
    began: Instant,
    pub at: Instant,
    pause: Duration,
    /// How often the send was said to be in the queue.
    pub queued: u32,
}

impl Watch {
    pub fn new(began: Instant) -> Self {
        Self { began, at: began + FIRST_LOOK, pause: SECOND_LOOK, queued: 0 }
    }

    /// A look is begun; the next is due though it, or what is asked for because of it, is not answered: after a third of the
    /// time that has passed. A worker that hangs gets its share of both for a good second, so there must be several in that time.
    pub fn look(&mut self, now: Instant) {
        self.at = now + ((now - self.began) / 3).clamp(LOOK_BESIDE, LOOK_RARELY);
    }

    /// It is there: nothing is to be done for a while.
    pub fn rest(&mut self, now: Instant) {
        self.at = now + self.pause;
        self.pause = (self.pause * 2).min(LOOK_RARELY);
    }

    /// No turn was found: it waits in the queue, or was lost, or was refused in an answer that was lost. What is asked for next
    /// finds out which; when it was in the queue twice it must be answered.
    pub const fn missed(&self) -> Asking {
        if self.queued < 2 { Asking::Ensure } else { Asking::Again(Duration::ZERO) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_silent_is_looked_for_soon_and_what_is_there_rarely() {
        let began = Instant::now();
        let mut watch = Watch::new(began);
        let mut at = Vec::new();
        for _ in 0..8 {
            at.push((watch.at - began).as_millis());
            watch.look(watch.at);
        }
        assert_eq!(at, [300, 400, 533, 711, 948, 1264, 1685, 2247]);
        let mut pauses = Vec::new();
        for _ in 0..3 {
            watch.rest(began);
            pauses.push((watch.at - began).as_millis());
        }
        assert_eq!(pauses, [1000, 2000, 4000]);
        assert!(watch.missed() == Asking::Ensure);
        watch.queued = 2;
        assert!(watch.missed() == Asking::Again(Duration::ZERO));
    }
}

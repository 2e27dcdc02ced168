//! Who is thought to be alive: pure, told what was heard and what time it is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Nothing heard for this long, four signs of life that did not come: the worker hangs, or the machine is too busy for it to
/// matter.
pub(super) const SILENCE: Duration = Duration::from_millis(800);
/// A look that comes this much too late was not taken by a process that ran: it was stopped, and heard nothing itself. Less
/// than `SILENCE`, so that who was stopped suspects itself before it suspects others.
const PAUSE: Duration = Duration::from_millis(600);
/// So many neighbours are watched closely by each worker.
const WATCHED: usize = 2;

/// One worker's opinion of the others. A wrong one costs time, never an answer.
#[derive(Debug)]
pub(super) struct View {
    own: String,
    /// When our own word last came back: then others' words come too.
    echo: Instant,
    heard: BTreeMap<String, Instant>,
    last_look: Instant,
    /// Until then nobody is given up for having no subscription: they may be about to come back.
    lenient_until: Instant,
}

impl View {
    pub fn new(own: String, now: Instant) -> Self {
        Self { own, echo: now, heard: BTreeMap::new(), last_look: now, lenient_until: now }
    }

    /// Somebody gave a sign of life.
    pub fn heard(&mut self, who: &str, now: Instant) {
        let last = match self.heard.get_mut(who) {
            _ if who == self.own => &mut self.echo,
            Some(last) => last,
            None => self.heard.entry(who.to_owned()).or_insert(now),
        };
        *last = now;
    }

    /// Somebody answered when it was asked.
    pub fn answered(&mut self, who: &str, now: Instant) {
        if let Some(last) = self.heard.get_mut(who) {
            *last = now;
        }
    }

    /// Somebody said that it leaves, or somebody else has seen that it is dead.
    pub fn left(&mut self, who: &str) -> bool {
        self.heard.remove(who).is_some()
    }

    /// Gives up those who have been silent for too long, and tells who. A process that was stopped itself, or that does not
    /// even hear itself, gives up nobody: it begins to count anew.
    pub fn look(&mut self, now: Instant) -> Vec<String> {
        let stopped = now.duration_since(self.last_look) > PAUSE;
        let deaf = now.duration_since(self.echo) > PAUSE;
        self.last_look = now;
        if stopped || deaf {
            self.begin_anew(now);
            return Vec::new();
        }
        let silent = |_: &String, last: &mut Instant| now.duration_since(*last) > SILENCE;
        self.heard.extract_if(.., silent).map(|(who, _)| who).collect()
    }

    /// After our own connection was away everybody else's may have been as well.
    pub fn begin_anew(&mut self, now: Instant) {
        self.heard.values_mut().for_each(|last| *last = now);
        self.lenient_until = now + SILENCE;
    }

    /// Somebody's subscription is gone: its process is dead. True if it is given up for that.
    pub fn unsubscribed(&mut self, who: &str, now: Instant) -> bool {
        now >= self.lenient_until && self.left(who)
    }

    /// Whom this worker watches closely: those that follow it in the ring of all names.
    pub fn watched(&self) -> Vec<String> {
        let after =
            self.heard.range::<String, _>((std::ops::Bound::Excluded(&self.own), std::ops::Bound::Unbounded));
        after
            .chain(self.heard.range::<String, _>(..&self.own))
            .take(WATCHED)
            .map(|(who, _)| who.clone())
            .collect()
    }

    /// All that are alive, in order, this one included.
    pub fn members(&self) -> Vec<String> {
        let mut members: Vec<_> = self.heard.keys().cloned().collect();
        members.push(self.own.clone());
        members.sort_unstable();
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// Looks every 100 ms until `end`, hearing itself, and tells who was given up.
    fn look_until(view: &mut View, start: Instant, from: u64, end: u64) -> Vec<String> {
        let own = view.own.clone();
        let look = |step| {
            view.heard(&own, at(start, step * 100));
            view.look(at(start, step * 100))
        };
        (from / 100 + 1..=end / 100).flat_map(look).collect()
    }

    #[test]
    fn who_is_silent_for_too_long_is_given_up_and_comes_back_with_a_word() {
        let start = Instant::now();
        let mut view = View::new("b".into(), start);
        view.heard("a", start);
        view.heard("c", start);
        assert_eq!(look_until(&mut view, start, 0, 800), [""; 0]);
        view.heard("c", at(start, 800));
        assert_eq!(look_until(&mut view, start, 800, 1000), ["a"]);
        assert_eq!(view.members(), ["b", "c"]);
        view.heard("a", at(start, 1100));
        assert_eq!(view.members(), ["a", "b", "c"]);
    }

    #[test]
    fn a_process_that_was_stopped_gives_up_nobody() {
        let start = Instant::now();
        let mut view = View::new("b".into(), start);
        view.heard("a", start);
        assert_eq!(view.look(at(start, 3000)), [""; 0], "it was stopped for three seconds");
        assert!(!view.unsubscribed("a", at(start, 3100)), "a may be about to come back as well");
        assert_eq!(look_until(&mut view, start, 3000, 4100), ["a"], "a really is gone");
    }

    #[test]
    fn who_does_not_hear_itself_gives_up_nobody() {
        let start = Instant::now();
        let mut view = View::new("b".into(), start);
        view.heard("a", start);
        let deaf = (1..=30).flat_map(|step| view.look(at(start, step * 100))).count();
        assert_eq!(deaf, 0, "the server said nothing at all");
        assert_eq!(look_until(&mut view, start, 3000, 4100), ["a"], "the server is back, and a is not");
    }

    #[test]
    fn a_dead_process_is_given_up_at_once_unless_our_own_connection_was_away() {
        let start = Instant::now();
        let mut view = View::new("b".into(), start);
        view.heard("a", start);
        view.begin_anew(at(start, 100));
        assert!(!view.unsubscribed("a", at(start, 200)));
        assert!(view.unsubscribed("a", at(start, 1200)));
        assert!(!view.unsubscribed("a", at(start, 1300)), "once is enough");
    }

    #[test]
    fn everybody_is_watched_by_two_neighbours() {
        let start = Instant::now();
        let names = ["a", "b", "c", "d", "e"];
        let mut watchers: BTreeMap<String, u32> = BTreeMap::new();
        for own in names {
            let mut view = View::new(own.into(), start);
            names.iter().for_each(|name| view.heard(name, start));
            assert!(!view.watched().contains(&own.to_owned()));
            view.watched().into_iter().for_each(|who| *watchers.entry(who).or_default() += 1);
        }
        assert!(watchers.len() == 5 && watchers.values().all(|count| *count == 2), "{watchers:?}");
    }
}

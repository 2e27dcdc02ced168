//! What was said in a conversation, as far back as the model is told. Held in memory, so that a plain turn reads nothing.
//!
//! Turns form a tree: each follows another, or begins the conversation. The active path ends at the newest turn; another
//! answer that was asked for and did not come leaves the one before it in its place.

use foldhash::{HashMap, HashMapExt, HashSet};
use llm::{Message, Text};
use wire::{MessageId, TurnId, TurnKind};

use crate::store::PastTurn;

/// The turns that the next ones are told of: those that have ended, as far as the bounds allow, and all that have not.
#[derive(Debug)]
pub struct Window {
    exchanges: HashMap<TurnId, Exchange>,
    /// What the turn follows, or repeats, that is being accepted.
    held: Option<TurnId>,
    messages_max: usize,
    bytes_max: usize,
}

/// A question and its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The turn's place in the conversation.
    pub seq: i64,
    /// What it was asked for by.
    pub kind: TurnKind,
    /// The turn that the question follows.
    pub parent: Option<TurnId>,
    /// The id of the question.
    pub user_message: MessageId,
    /// What was asked.
    pub question: Message,
    answer: Option<Text>,
    ended: bool,
}

impl Exchange {
    /// A turn that is to be answered.
    pub const fn new(
        seq: i64,
        kind: TurnKind,
        parent: Option<TurnId>,
        user_message: MessageId,
        question: Message,
    ) -> Self {
        Self { seq, kind, parent, user_message, question, answer: None, ended: false }
    }

    fn bytes(&self) -> usize {
        self.question.bytes() + self.answer.as_ref().map_or(0, Text::len)
    }

    fn messages(&self) -> usize {
        1 + usize::from(self.answer.is_some())
    }

    /// Another answer, which did not come, or has not come yet.
    fn adds_nothing(&self) -> bool {
        self.kind == TurnKind::Regenerate && self.answer.is_none()
    }
}

/// By which bound the oldest messages are left out of what a model is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// There are too many.
    ByMessages,
    /// Together they are too long.
    ByBytes,
}

impl Window {
    /// Holds at most `messages_max` messages of a path, the newest question included, and before it at most `bytes_max`
    /// bytes.
    pub fn new(messages_max: u32, bytes_max: u32) -> Self {
        let (messages_max, bytes_max) = (messages_max as usize, bytes_max as usize);
        Self { exchanges: HashMap::new(), held: None, messages_max, bytes_max }
    }

    /// Takes in what is stored; what is here already stays as it is.
    pub fn graft(&mut self, past: &[PastTurn]) {
        for turn in past {
            self.exchanges.entry(turn.id).or_insert_with(|| Exchange {
                answer: turn.answer.clone().map(Text::from),
                ended: turn.open.is_none(),
                ..Exchange::new(
                    turn.seq,
                    turn.kind,
                    turn.parent,
                    turn.user_message,
                    turn.question.clone().into(),
                )
            });
        }
    }

    /// The newest turn: what the next one follows.
    pub fn newest(&self) -> Option<TurnId> {
        self.last(|exchange| !(exchange.ended && exchange.adds_nothing()))
    }

    fn last(&self, counts: impl Fn(&Exchange) -> bool) -> Option<TurnId> {
        let counting = self.exchanges.iter().filter(|(_, exchange)| counts(exchange));
        counting.max_by_key(|(_, exchange)| exchange.seq).map(|(turn, _)| *turn)
    }

    /// A turn, if it is here.
    pub fn exchange(&self, turn: TurnId) -> Option<&Exchange> {
        self.exchanges.get(&turn)
    }

    /// Whether all that a turn is told which follows `turn` is here.
    pub fn is_whole(&self, turn: Option<TurnId>) -> bool {
        let (mut next, mut messages, mut bytes) = (turn, 1, 0);
        while let Some(turn) = next {
            let Some(exchange) = self.exchanges.get(&turn) else { return false };
            messages += exchange.messages();
            bytes += exchange.bytes();
            // Whatever comes before it has a message and a byte at least.
            if messages >= self.messages_max || bytes >= self.bytes_max {
                return true;
            }
            next = exchange.parent;
        }
        true
    }

    /// Keeps this turn, and what came before it, until another is held or a turn is asked.
    pub const fn hold(&mut self, turn: Option<TurnId>) {
        self.held = turn;
    }

    /// A new turn.
    pub fn ask(&mut self, turn: TurnId, exchange: Exchange) {
        self.held = None;
        self.exchanges.insert(turn, exchange);
    }

    /// The turn has ended, with this answer if it has one. What no turn to come is told of is forgotten; the end of the
    /// active path stays, so that the next turn knows what it follows.
    pub fn end(&mut self, turn: TurnId, answer: Option<Text>) {
        if let Some(exchange) = self.exchanges.get_mut(&turn) {
            exchange.answer = answer;
            exchange.ended = true;
        }
        if self.is_within_bounds() {
            return;
        }
        // Where the active path ends, also if another answer that is still awaited does not come.
        let ends = [self.newest(), self.last(|exchange| !exchange.adds_nothing()), self.held];
        let wanted = |(turn, exchange): &(&TurnId, &Exchange)| !exchange.ended || self.held == Some(**turn);
        let wanted = self.exchanges.iter().filter(wanted);
        let mut kept: HashSet<_> =
            wanted.clone().map(|(turn, _)| *turn).chain(ends.into_iter().flatten()).collect();
        // Mostly these are one and the same.
        let paths: HashSet<_> = wanted.map(|(_, exchange)| exchange.parent).chain(ends).collect();
        kept.extend(paths.into_iter().flat_map(|end| self.told_after(end).0).map(|(turn, _)| turn));
        self.exchanges.retain(|turn, _| kept.contains(turn));
    }

    /// Whether all that is here may be told at once: then nothing need be forgotten.
    fn is_within_bounds(&self) -> bool {
        let sizes = self.exchanges.values().map(|exchange| (exchange.messages(), exchange.bytes()));
        let (messages, bytes) = sizes.fold((1, 0), |(m, b), (messages, bytes)| (m + messages, b + bytes));
        messages <= self.messages_max && bytes <= self.bytes_max
    }

    /// The turns that one is told of which follows `turn`, newest first, as far back as the bounds allow; and by which of
    /// them what is older is left out, if there is any.
    fn told_after(&self, turn: Option<TurnId>) -> (Vec<(TurnId, &Exchange)>, Option<LeftOut>) {
        let (mut next, mut messages, mut bytes) = (turn, 1, 0);
        let mut told = Vec::new();
        while let Some(turn) = next {
            let exchange = self.exchanges.get(&turn);
            // What is not here any more was beyond a bound when it was; a turn has two messages, but for a few.
            let (more, size) = exchange.map_or((2, 1), |it| (it.messages(), it.bytes()));
            if messages + more > self.messages_max {
                return (told, Some(LeftOut::ByMessages));
            }
            let Some(exchange) = exchange.filter(|_| bytes + size <= self.bytes_max) else {
                return (told, Some(LeftOut::ByBytes));
            };
            (messages, bytes, next) = (messages + more, bytes + size, exchange.parent);
            told.push((turn, exchange));
        }
        (told, None)
    }

    /// What the model is told for `turn`: what came before it on its path, as far back as the bounds allow, and its question.
    /// A question that had no answer stays part of the conversation, as it does for its reader; so does one whose turn was
    /// cancelled, without what the model had begun to say. With it, by which bound what is older is left out. None for a turn
    /// that is not here.
    pub fn messages_for(&self, turn: TurnId) -> Option<(Vec<Message>, Option<LeftOut>)> {
        let asked = self.exchanges.get(&turn)?;
        let (before, left_out) = self.told_after(asked.parent);
        let mut told = Vec::with_capacity(2 * before.len() + 1);
        for (_, exchange) in before.iter().rev() {
            told.push(exchange.question.clone());
            told.extend(exchange.answer.clone().map(Message::assistant));
        }
        told.push(asked.question.clone());
        Some((told, left_out))
    }
}

#[cfg(test)]
mod tests {
    use llm::{Image, Images};

    use super::*;

    fn said(window: &Window, turn: TurnId) -> Vec<String> {
        window.messages_for(turn).unwrap().0.iter().map(|message| message.content.to_string()).collect()
    }

    /// Asks after the newest turn, as a plain send does.
    fn ask(window: &mut Window, seq: i64, question: &str) -> TurnId {
        let parent = window.newest();
        branch(window, seq, parent, question)
    }

    fn branch(window: &mut Window, seq: i64, parent: Option<TurnId>, question: &str) -> TurnId {
        let (turn, message) = (TurnId::new(), MessageId::new());
        window.ask(turn, Exchange::new(seq, TurnKind::Send, parent, message, Message::user(question)));
        turn
    }

    fn again(window: &mut Window, seq: i64, of: TurnId) -> TurnId {
        let before = window.exchange(of).unwrap().clone();
        let (turn, kind) = (TurnId::new(), TurnKind::Regenerate);
        window
            .ask(turn, Exchange::new(seq, kind, before.parent, before.user_message, before.question.clone()));
        turn
    }

    #[test]
    fn a_turn_sees_what_came_before_it_and_nothing_after() {
        let mut window = Window::new(100, 1000);
        let first = ask(&mut window, 0, "one");
        let second = ask(&mut window, 1, "two");
        assert_eq!(said(&window, first), ["one"]);
        window.end(first, Some("1".into()));
        let third = ask(&mut window, 2, "three");
        assert_eq!(said(&window, second), ["one", "1", "two"]);
        window.end(second, None);
        assert_eq!(said(&window, third), ["one", "1", "two", "three"]);
        assert_eq!(window.newest(), Some(third));
    }

    #[test]
    fn the_oldest_are_forgotten_by_messages_and_by_bytes() {
        let mut window = Window::new(5, 1000);
        for number in 0..10 {
            let turn = ask(&mut window, number, &format!("q{number}"));
            window.end(turn, Some(format!("a{number}").into()));
        }
        let next = ask(&mut window, 10, "next");
        assert_eq!(said(&window, next), ["q8", "a8", "q9", "a9", "next"]);
        assert_eq!(window.exchanges.len(), 3, "what is not told is not held");

        let mut window = Window::new(100, 10);
        for number in 0..3 {
            let turn = ask(&mut window, number, "12345");
            window.end(turn, Some("678901".into()));
        }
        let next = ask(&mut window, 3, "next");
        assert_eq!(said(&window, next), ["next"], "more than the bound is not told");
        assert_eq!(window.exchanges.len(), 2, "but it is known what comes next");
    }

    #[test]
    fn so_many_bytes_are_told_and_with_one_more_the_oldest_are_left_out() {
        let mut window = Window::new(100, 10);
        let first = ask(&mut window, 0, "12345");
        window.end(first, Some("67890".into()));
        let next = ask(&mut window, 1, "next");
        assert_eq!((said(&window, next).len(), window.messages_for(next).unwrap().1), (3, None));

        let mut window = Window::new(100, 10);
        let first = ask(&mut window, 0, "12345");
        window.end(first, Some("678901".into()));
        let next = ask(&mut window, 1, "next");
        let left_out = window.messages_for(next).unwrap().1;
        assert_eq!((said(&window, next).len(), left_out), (1, Some(LeftOut::ByBytes)));
    }

    #[test]
    fn images_are_told_and_count() {
        let images = Images::of([Image { url: "https://a.b".into(), detail: None }]);
        let asking = |bytes_max: u32| {
            let mut window = Window::new(100, bytes_max);
            let (first, message) = (TurnId::new(), MessageId::new());
            let question = Message::user("see?").showing(images.clone());
            window.ask(first, Exchange::new(0, TurnKind::Send, None, message, question.clone()));
            window.end(first, Some("yes".into()));
            let next = ask(&mut window, 1, "next");
            let (told, _) = window.messages_for(next).unwrap();
            assert!(told.len() == 1 || told[0] == question);
            told.len()
        };
        assert_eq!((asking(4 + 11 + 3), asking(4 + 11 + 2)), (3, 1));
    }

    #[test]
    fn waiting_turns_are_never_forgotten_and_each_is_asked_its_own_question() {
        let mut window = Window::new(2, 10);
        let texts = ["AAAAAAAA", "BBBBBBBB", "CCCCCCCC"];
        let turns: Vec<_> = (0..).zip(texts).map(|(seq, text)| ask(&mut window, seq, text)).collect();
        for (turn, text) in turns.into_iter().zip(texts) {
            assert_eq!(said(&window, turn).last().map(String::as_str), Some(text));
            window.end(turn, Some("answer".into()));
        }
    }

    #[test]
    fn each_branch_is_told_its_own_path() {
        let mut window = Window::new(100, 1000);
        let first = ask(&mut window, 0, "one");
        window.end(first, Some("1".into()));
        let second = ask(&mut window, 1, "two");
        window.end(second, Some("2".into()));
        let edited = branch(&mut window, 2, Some(first), "two, but better");
        assert_eq!(said(&window, edited), ["one", "1", "two, but better"]);
        window.end(edited, Some("2!".into()));
        let anew = branch(&mut window, 3, None, "another one");
        assert_eq!(said(&window, anew), ["another one"]);
        assert_eq!(window.newest(), Some(anew), "the newest branch is the active one");
    }

    #[test]
    fn another_answer_takes_the_place_of_the_first_only_if_it_comes() {
        let mut window = Window::new(100, 1000);
        let first = ask(&mut window, 0, "one");
        window.end(first, Some("1".into()));
        let failed = again(&mut window, 1, first);
        assert_eq!(said(&window, failed), ["one"]);
        window.end(failed, None);
        assert_eq!(window.newest(), Some(first));
        let better = again(&mut window, 2, first);
        window.end(better, Some("uno".into()));
        let next = ask(&mut window, 3, "next");
        assert_eq!(said(&window, next), ["one", "uno", "next"]);
    }

    #[test]
    fn what_was_forgotten_is_known_to_be_missing() {
        let mut window = Window::new(3, 1000);
        let first = ask(&mut window, 0, "one");
        window.end(first, Some("1".into()));
        let second = ask(&mut window, 1, "two");
        window.end(second, Some("2".into()));
        assert!(window.is_whole(Some(second)), "the turn before the bound is not told");
        assert!(!window.is_whole(Some(first)), "it was forgotten, and a branch after it would be told of it");
        assert!(window.is_whole(None), "a new beginning is told of nothing");
    }
}

//! What was said in a conversation, as far back as the model is told. Held in memory, so that a plain turn reads nothing.

use std::{collections::VecDeque, sync::Arc};

use llm::Message;
use wire::TurnId;

use crate::store::PastTurn;

/// The newest turns of the active path: those that have ended, as far as the bounds allow, and all that have not.
#[derive(Debug)]
pub struct Window {
    turns: VecDeque<Exchange>,
    messages_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Exchange {
    turn: TurnId,
    question: Arc<str>,
    answer: Option<Arc<str>>,
    ended: bool,
}

impl Exchange {
    fn bytes(&self) -> usize {
        self.question.len() + self.answer.as_ref().map_or(0, |answer| answer.len())
    }

    fn messages(&self) -> usize {
        1 + usize::from(self.answer.is_some())
    }
}

impl Window {
    /// Holds at most `messages_max` messages, the newest question included, and before it at most `bytes_max` bytes.
    pub fn new(messages_max: u32, bytes_max: u32, past: &[PastTurn]) -> Self {
        let mut window = Self {
            turns: VecDeque::new(),
            messages_max: messages_max as usize,
            bytes_max: bytes_max as usize,
        };
        for turn in past {
            window.ask(turn.id, turn.question.clone());
            if turn.open.is_none() {
                window.end(turn.id, turn.answer.clone());
            }
        }
        window
    }

    /// The newest turn: what the next one follows.
    pub fn newest(&self) -> Option<TurnId> {
        self.turns.back().map(|exchange| exchange.turn)
    }

    /// A new turn.
    pub fn ask(&mut self, turn: TurnId, question: Arc<str>) {
        self.turns.push_back(Exchange { turn, question, answer: None, ended: false });
    }

    /// The turn has ended, with this answer if it has one. Of the turns that have ended, what is now too old is forgotten;
    /// the newest stays, so that the next turn knows what it follows.
    pub fn end(&mut self, turn: TurnId, answer: Option<Arc<str>>) {
        if let Some(exchange) = self.turns.iter_mut().rev().find(|exchange| exchange.turn == turn) {
            exchange.answer = answer;
            exchange.ended = true;
        }
        let ended = || self.turns.iter().take_while(|exchange| exchange.ended);
        let mut messages: usize = ended().map(Exchange::messages).sum();
        let mut bytes: usize = ended().map(Exchange::bytes).sum();
        let mut many = ended().count();
        while many > 1 && (messages >= self.messages_max || bytes > self.bytes_max) {
            let Some(oldest) = self.turns.pop_front() else { return };
            messages -= oldest.messages();
            bytes -= oldest.bytes();
            many -= 1;
        }
    }

    /// What the model is told for `turn`: what came before it, as far back as the bounds allow, and its question. A question
    /// that had no answer stays part of the conversation, as it does for its reader. None for a turn that is not here.
    pub fn messages_for(&self, turn: TurnId) -> Option<Vec<Message>> {
        let asked = self.turns.iter().position(|exchange| exchange.turn == turn)?;
        let (mut messages, mut bytes) = (1, 0);
        let before = self.turns.range(..asked).rev().take_while(|exchange| {
            messages += exchange.messages();
            bytes += exchange.bytes();
            messages <= self.messages_max && bytes <= self.bytes_max
        });
        let first = asked - before.count();
        let mut told = Vec::with_capacity(2 * (asked - first) + 1);
        for exchange in self.turns.range(first..asked) {
            told.push(Message::user(exchange.question.clone()));
            told.extend(exchange.answer.clone().map(Message::assistant));
        }
        told.push(Message::user(self.turns.get(asked)?.question.clone()));
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(window: &Window, turn: TurnId) -> Vec<String> {
        window.messages_for(turn).unwrap().iter().map(|message| message.content.to_string()).collect()
    }

    #[test]
    fn a_turn_sees_what_came_before_it_and_nothing_after() {
        let mut window = Window::new(100, 1000, &[]);
        let [first, second, third] = [TurnId::new(), TurnId::new(), TurnId::new()];
        window.ask(first, "a".into());
        window.end(first, Some("A".into()));
        window.ask(second, "b".into());
        window.ask(third, "c".into());
        assert_eq!(said(&window, second), ["a", "A", "b"]);
        window.end(second, None);
        assert_eq!(said(&window, third), ["a", "A", "b", "c"], "an unanswered question stays");
        assert_eq!(window.newest(), Some(third));
        assert!(window.messages_for(TurnId::new()).is_none());
    }

    #[test]
    fn the_oldest_is_forgotten_by_number_and_by_size() {
        let mut window = Window::new(5, 1000, &[]);
        for number in 0..5 {
            let turn = TurnId::new();
            window.ask(turn, format!("q{number}").into());
            window.end(turn, Some("x".into()));
        }
        assert!(window.turns.len() <= 3, "what can never be told again is not held");
        let last = TurnId::new();
        window.ask(last, "last".into());
        assert_eq!(said(&window, last), ["q3", "x", "q4", "x", "last"]);
        window.end(last, Some("y".repeat(2000).into()));
        let next = TurnId::new();
        window.ask(next, "next".into());
        assert_eq!(said(&window, next), ["next"], "more than the bound is not told");
        assert_eq!(window.turns.len(), 2, "but it is known what comes next");
    }

    #[test]
    fn waiting_turns_are_never_forgotten_and_each_is_asked_its_own_question() {
        let mut window = Window::new(2, 10, &[]);
        let turns: Vec<_> = ["AAAAAAAA", "BBBBBBBB", "CCCCCCCC"].map(|text| (TurnId::new(), text)).into();
        for (turn, text) in &turns {
            window.ask(*turn, (*text).into());
        }
        for (turn, text) in &turns {
            assert_eq!(said(&window, *turn).last().map(String::as_str), Some(*text));
            window.end(*turn, Some("answer".into()));
        }
    }
}

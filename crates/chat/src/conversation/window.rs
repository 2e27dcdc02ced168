//! What was said in a conversation, as far back as the model is told. Held in memory, so that a plain turn reads nothing.

use std::{collections::VecDeque, sync::Arc};

use llm::Message;
use wire::TurnId;

use crate::store::PastTurn;

/// The newest turns of the active path.
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
}

impl Exchange {
    fn bytes(&self) -> usize {
        self.question.len() + self.answer.as_ref().map_or(0, |answer| answer.len())
    }
}

impl Window {
    /// Holds at most `messages_max` messages of together `bytes_max` bytes, besides the newest question.
    pub fn new(messages_max: u32, bytes_max: u32, past: &[PastTurn]) -> Self {
        let mut window = Self {
            turns: VecDeque::new(),
            messages_max: messages_max as usize,
            bytes_max: bytes_max as usize,
        };
        for turn in past {
            window.ask(turn.id, turn.question.clone());
            if let Some(answer) = &turn.answer {
                window.answer(turn.id, answer.clone());
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
        self.turns.push_back(Exchange { turn, question, answer: None });
    }

    /// The answer to a turn. What is now too old is forgotten.
    pub fn answer(&mut self, turn: TurnId, text: Arc<str>) {
        if let Some(exchange) = self.turns.iter_mut().rev().find(|exchange| exchange.turn == turn) {
            exchange.answer = Some(text);
        }
        let mut bytes: usize = self.turns.iter().map(Exchange::bytes).sum();
        while self.turns.len() > 1 && (bytes > self.bytes_max || 2 * self.turns.len() > self.messages_max) {
            bytes -= self.turns.pop_front().map_or(0, |exchange| exchange.bytes());
        }
    }

    /// What the model is told for `turn`: everything before it, and its question. A question that had no answer stays part
    /// of the conversation, as it does for its reader.
    pub fn messages_for(&self, turn: TurnId) -> Vec<Message> {
        let mut messages = Vec::with_capacity(2 * self.turns.len());
        for exchange in &self.turns {
            messages.push(Message::user(exchange.question.clone()));
            if exchange.turn == turn {
                break;
            }
            if let Some(answer) = &exchange.answer {
                messages.push(Message::assistant(answer.clone()));
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(window: &Window, turn: TurnId) -> Vec<String> {
        window.messages_for(turn).iter().map(|message| message.content.to_string()).collect()
    }

    #[test]
    fn a_turn_sees_what_came_before_it_and_nothing_after() {
        let mut window = Window::new(100, 1000, &[]);
        let [first, second, third] = [TurnId::new(), TurnId::new(), TurnId::new()];
        window.ask(first, "a".into());
        window.answer(first, "A".into());
        window.ask(second, "b".into());
        window.ask(third, "c".into());
        assert_eq!(said(&window, second), ["a", "A", "b"]);
        assert_eq!(said(&window, third), ["a", "A", "b", "c"], "an unanswered question stays");
        assert_eq!(window.newest(), Some(third));
    }

    #[test]
    fn the_oldest_is_forgotten_by_number_and_by_size() {
        let mut window = Window::new(4, 1000, &[]);
        let turns: Vec<_> = (0..5).map(|_| TurnId::new()).collect();
        for (number, turn) in turns.iter().enumerate() {
            window.ask(*turn, format!("q{number}").into());
            window.answer(*turn, "x".into());
        }
        let last = TurnId::new();
        window.ask(last, "last".into());
        assert_eq!(said(&window, last), ["q3", "x", "q4", "x", "last"]);
        window.answer(last, "y".repeat(2000).into());
        let next = TurnId::new();
        window.ask(next, "next".into());
        assert_eq!(said(&window, next).len(), 3, "the newest exchange stays, whatever its size");
    }
}

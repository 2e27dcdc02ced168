//! What the provider must have been told, computed from what is stored.

use std::collections::HashMap;

use llm::Message;
use uuid::Uuid;

use super::evidence::Evidence;

/// The prompt of each stored turn: what was said before it in its conversation, in whole exchanges and as far back as the
/// bound allows, and its question.
pub fn prompts(run: &Evidence) -> HashMap<Uuid, Vec<Message>> {
    let texts = run.dump.texts_of();
    let mut prompts = HashMap::new();
    let mut said: Vec<Vec<Message>> = Vec::new();
    let mut conversation = None;
    for turn in &run.dump.turns {
        if conversation != Some(turn.conversation_id) {
            conversation = Some(turn.conversation_id);
            said.clear();
        }
        let (question, answer) = texts.get(&turn.id).copied().unwrap_or_default();
        let question = Message::user(question.unwrap_or_default());
        let mut count = 1;
        let fits = said.iter().rev().take_while(|exchange| {
            count += exchange.len();
            count <= run.history_messages_max
        });
        let first = said.len() - fits.count();
        let mut prompt: Vec<_> = said[first..].iter().flatten().cloned().collect();
        prompt.push(question.clone());
        prompts.insert(turn.id, prompt);
        said.push(std::iter::once(question).chain(answer.map(Message::assistant)).collect());
    }
    prompts
}

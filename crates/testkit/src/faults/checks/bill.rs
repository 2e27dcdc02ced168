//! That what is recorded of calls is what the provider bills.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::{evidence::Evidence, installation::CHARGES};

/// Tokens of the prompt, tokens of the answer, and what they cost.
type Charge = [i64; 3];

/// I23: of every call that the provider bills the same tokens and the same cost are recorded, for the same turn; and of no other
/// call any.
pub fn recorded_as_billed(run: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut recorded: BTreeMap<(Uuid, i16), Charge> = BTreeMap::new();
    for account in &run.dump.accounts {
        let (turn, number) = (account.turn_id, account.number);
        if account.estimated {
            found.push(format!("what call {number} of turn {turn} has cost is only estimated"));
        }
        let tokens = [account.prompt_tokens, account.completion_tokens].map(|it| i64::from(it.unwrap_or(0)));
        recorded.insert((turn, number), [tokens[0], tokens[1], account.cost_micros.unwrap_or(-1)]);
    }
    let mut billed: BTreeMap<(Uuid, i16), Charge> = BTreeMap::new();
    for call in &run.calls {
        let [prompt, completion] = call.tokens;
        let line = billed.entry((call.turn, call.attempt)).or_default();
        for (sum, more) in
            line.iter_mut().zip([prompt, completion, prompt * CHARGES[0] + completion * CHARGES[1]])
        {
            *sum += more;
        }
    }
    for (call, charge) in &billed {
        let known = recorded.remove(call).unwrap_or_default();
        if known != *charge {
            let (turn, number) = call;
            found.push(format!(
                "call {number} of turn {turn} is billed with {charge:?} and recorded with {known:?}"
            ));
        }
    }
    let unbilled = recorded.into_iter().filter(|(_, charge)| *charge != Charge::default());
    found.extend(unbilled.map(|((turn, number), charge)| {
        format!("call {number} of turn {turn} is recorded with {charge:?} and not billed")
    }));
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{dump, spoiled};

    #[test]
    fn a_call_that_is_not_recorded_is_found() {
        spoiled("I23", |run| dump(run).accounts.truncate(3));
    }

    #[test]
    fn a_token_too_many_is_found() {
        spoiled("I23", |run| run.calls[0].tokens[1] += 1);
    }

    #[test]
    fn a_wrong_cost_is_found() {
        spoiled("I23", |run| dump(run).accounts[0].cost_micros = Some(1));
    }

    #[test]
    fn an_estimate_is_found() {
        spoiled("I23", |run| dump(run).accounts[0].estimated = true);
    }

    #[test]
    fn a_call_that_was_never_made_is_found() {
        spoiled("I23", |run| run.calls.truncate(3));
    }
}

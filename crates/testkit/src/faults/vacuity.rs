//! Whether a run proves anything: that it was used, that it was disturbed, and that the disturbance was felt.

use std::collections::{HashMap, HashSet};

use super::{
    evidence::{Evidence, micros},
    fault::{Injected, What},
    history::{Ask, Kind, text_hash},
    plan::{BAD, Fate, Meanwhile, Size},
};

/// For so long after its cause is over the effect of a fault may show, in microseconds.
pub const ECHO: i64 = 5_000_000;
/// A send that takes so long was held up, in microseconds.
const HELD_UP: i64 = 700_000;

/// What a fault did, as far as it is seen.
#[derive(Debug, Clone, Default)]
pub struct Effect {
    /// Requests whose outcome became unknown.
    pub unknown: usize,
    /// Times that a partition changed hands.
    pub taken: usize,
    /// Calls to the provider that were repeated.
    pub repeated: usize,
    /// Messages that were held up.
    pub held_up: usize,
    /// The longest that a sender waited, in microseconds.
    pub worst: i64,
}

impl Effect {
    /// Of this fault.
    pub fn of(fault: &Injected, run: &Evidence) -> Self {
        let (from, to) = (fault.began, fault.healed + ECHO);
        let within = |at: i64| (from..=to).contains(&at);
        let mut effect = Self {
            unknown: run.events.iter().filter(|event| event.kind == Kind::Info && within(event.at)).count(),
            taken: run.dump.writes.iter().filter(|it| it.kind == "owner" && within(micros(it.at))).count(),
            repeated: run.calls.iter().filter(|call| call.attempt > 1 && within(call.began)).count(),
            ..Self::default()
        };
        for sent in &run.sent {
            let Some((known, _)) = sent.known else { continue };
            if sent.due <= fault.healed && known >= from {
                let took = known - sent.due;
                effect.held_up += usize::from(took > HELD_UP);
                effect.worst = effect.worst.max(took);
            }
        }
        effect
    }

    /// Whether it had any.
    pub const fn is_seen(&self, fault: &Injected) -> bool {
        if matches!(fault.what, What::LeaderKilled | What::NodeKilled) {
            // Whom it befell was leader, and had clients: others are now.
            return fault.touched > 0;
        }
        self.unknown + self.taken + self.repeated + self.held_up > 0 || fault.touched > 0
    }
}

/// Every reason why a run of this size proves nothing.
pub fn reasons(size: &Size, run: &Evidence) -> Vec<String> {
    let mut reasons = used(size, run);
    reasons.extend(disturbed(size, run));
    reasons
}

fn used(size: &Size, run: &Evidence) -> Vec<String> {
    let mut reasons = Vec::new();
    let messages: HashMap<_, _> =
        run.sent.iter().map(|sent| (text_hash(&sent.message.text), &sent.message)).collect();
    let (texts, outcomes) = (run.dump.texts_of(), run.dump.outcome_of());
    let (mut explained, mut failed_by) = (0, HashSet::new());
    for turn in &run.dump.turns {
        let question = texts.get(&turn.id).and_then(|(question, _)| *question).map(text_hash);
        let message = question.and_then(|question| messages.get(&question));
        let fate = message.map(|message| message.fate);
        let cancels = message.is_some_and(|it| matches!(it.meanwhile, Meanwhile::Cancel { .. }));
        let status = outcomes.get(&turn.id).map_or("", |outcome| &outcome.status);
        match (status, fate) {
            ("failed", Some(Fate::Failed(script))) => {
                explained += 1;
                failed_by.insert(script);
            }
            ("completed", Some(Fate::Answered(_))) => explained += 1,
            ("cancelled", _) if cancels => explained += 1,
            _ => {}
        }
    }
    let (accepted, sent) = (run.dump.turns.len(), run.sent.len());
    if accepted * 100 < sent * 80 {
        reasons.push(format!("only {accepted} of {sent} messages were accepted"));
    }
    if explained * 100 < accepted * 95 {
        reasons.push(format!("only {explained} of {accepted} turns ended as the provider's script says"));
    }
    let enough = size.turns >= 4000;
    let missing = BAD.iter().filter(|script| enough && !failed_by.contains(*script));
    reasons.extend(missing.map(|script| format!("no turn failed by {script:?}")));
    let answers = run.events.iter().filter(|event| event.kind != Kind::Invoke && event.ask != Ask::Forged);
    let (unknown, answers) =
        answers.fold((0, 0), |(unknown, all), it| (unknown + usize::from(it.kind == Kind::Info), all + 1));
    if unknown * 1000 < answers || unknown * 100 > answers * 30 {
        reasons.push(format!("{unknown} of {answers} requests had an unknown outcome"));
    }
    let probes =
        run.events.iter().filter(|it| matches!(it.ask, Ask::Probe { .. }) && it.kind == Kind::Fail).count();
    let probes_min = (size.turns as usize / 8).min(1000);
    if probes < probes_min {
        reasons.push(format!("only {probes} probes were refused, not {probes_min}"));
    }
    reasons.extend(read_and_cancelled(run));
    if enough {
        reasons.extend(billed(run));
    }
    reasons
}

/// Calls that were repeated elsewhere, and calls whose provider was asked later what they had cost.
fn billed(run: &Evidence) -> Option<String> {
    let accounts = &run.dump.accounts;
    let elsewhere = accounts.iter().filter(|it| it.provider.as_deref() == Some("spare")).count();
    let asked = accounts.iter().filter(|it| it.told_by == "provider").count();
    let few = elsewhere < 100 || asked < 100;
    few.then(|| format!("only {elsewhere} calls went to the second provider, only {asked} were asked about"))
}

/// In a run of all kinds of things readers come back, and turns are cancelled while they run.
fn read_and_cancelled(run: &Evidence) -> Vec<String> {
    let turns = run.dump.turns.len();
    let interrupted = run.readings.iter().filter(|it| it.interrupted > 0 && it.end().is_some()).count();
    let cancelled = run.dump.outcomes.iter().filter(|outcome| outcome.status == "cancelled").count();
    let mut reasons = Vec::new();
    if interrupted * 100 < turns || cancelled * 200 < turns {
        reasons.push(format!("only {interrupted} readers came back, only {cancelled} turns were cancelled"));
    }
    reasons
}

fn disturbed(size: &Size, run: &Evidence) -> Vec<String> {
    let mut fired: HashMap<What, (usize, usize)> = HashMap::new();
    for fault in &run.faults {
        let entry = fired.entry(fault.what).or_default();
        entry.0 += 1;
        entry.1 += usize::from(Effect::of(fault, run).is_seen(fault));
    }
    let mut reasons = Vec::new();
    if run.faults.len() < size.faults {
        reasons.push(format!("only {} faults of {} happened", run.faults.len(), size.faults));
    }
    for &what in &size.kinds {
        let (times, seen) = fired.get(&what).copied().unwrap_or_default();
        if times < size.faults / size.kinds.len() || (times > 0 && seen == 0) {
            reasons.push(format!("{}: {times} times, seen {seen} times", what.name()));
        }
    }
    reasons
}

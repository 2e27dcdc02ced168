//! What the clients of a run will do, and when: all of it follows from the seed.

use std::{env, str::FromStr, time::Duration};

use super::{
    dice::Dice,
    fault::What,
    history::{Via, canary},
};

/// How large a run is.
#[derive(Debug, Clone)]
pub struct Size {
    /// The same seed makes the same plan.
    pub seed: u64,
    /// Messages to send.
    pub turns: u64,
    /// Messages per second.
    pub per_s: f64,
    /// Faults while they are sent.
    pub faults: usize,
    /// The kinds of faults.
    pub kinds: Vec<What>,
    /// Users.
    pub users: usize,
    /// Conversations of each user at a time.
    pub talks: usize,
    /// Processes of the role chat.
    pub workers: usize,
    /// Processes of the role ingress.
    pub ingresses: usize,
    /// Servers of NATS: one, or a cluster of three.
    pub nats_servers: usize,
    /// Every message is plain and sent over HTTP, and answered after 50 to 150 ms: to see how long a turn waits for a fault.
    pub plain: bool,
}

/// What the provider does with a message; it says so itself, to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is answered, perhaps slowly, perhaps in an odd way.
    Answered(&'static str),
    /// It is not answered.
    Failed(&'static str),
}

/// Fates that end well, besides the plain one.
const ODD: [&str; 9] = [
    "drip",
    "comments crlf",
    "finish=length",
    "chunk_ms=15",
    "no_done",
    "usage=none",
    "status=500 attempts=1",
    "cut_after=3 attempts=1",
    "hang_after=2 attempts=1",
];
/// Fates that end badly, each in its own way.
pub const BAD: [&str; 10] = [
    "hang",
    "hang_after=3",
    "status=500",
    "status=429 retry_after=1",
    "status=400",
    "cut_after=3",
    "error_after=2",
    "finish=none no_done",
    "empty",
    "finish=content_filter",
];

/// A message to send.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its number in the run.
    pub number: u64,
    /// Whose.
    pub user: usize,
    /// In which of their conversations.
    pub slot: usize,
    /// How it is sent first.
    pub via: Via,
    /// How it is sent again, when the outcome is unknown, and by who repeats it.
    pub then_via: Via,
    /// Whether it has an idempotency key.
    pub keyed: bool,
    /// The number of its key: no other message of this user has it, and one of another user may.
    pub key: u64,
    /// What is said.
    pub text: String,
    /// What the provider does.
    pub fate: Fate,
    /// What else is done with it.
    pub twist: Twist,
    /// What its sender does while the turn runs.
    pub meanwhile: Meanwhile,
}

/// What the sender of a message does while its turn runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    /// Wait.
    Wait,
    /// Read the turn's events, leaving and coming back this often.
    Watch {
        /// So often.
        leaves: u8,
    },
    /// Cancel it, after so many milliseconds.
    Cancel {
        /// So late.
        after_ms: u64,
    },
}

/// What is done with a message besides sending it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    /// Nothing.
    None,
    /// It is sent twice at the same moment.
    Twice,
    /// It is sent once more when it has its outcome.
    Again,
    /// Its key is used once more, for another message.
    OtherText,
}

/// Something to do.
#[expect(missing_docs, reason = "fields that are named by what they are")]
#[derive(Debug, Clone)]
pub enum Step {
    /// Send a message.
    Send(Box<Message>),
    /// Read a conversation.
    Read { user: usize, slot: usize, via: Via },
    /// Delete a conversation, and begin another in its place.
    Delete { user: usize, slot: usize, via: Via },
    /// Look at somebody else's conversation, and at one that never was.
    Probe { user: usize, owner: usize, slot: usize, via: Via, operation: u8 },
    /// Ask with a forged credential.
    Forge { user: usize, slot: usize, via: Via },
}

/// Everything to do, with the time at which it is due.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In order of time.
    pub steps: Vec<(Duration, Step)>,
}

/// Besides each hundred messages, in a thousand.
const READS: u64 = 80;
const PROBES: u64 = 170;
const FORGERIES: u64 = 15;
const DELETES: u64 = 4;
/// A reader of events leaves and comes back this often at most.
const LEAVES_MAX: u64 = 5;

impl Plan {
    /// The plan of this seed and size. `first` is the number of its first message: plans of one run do not overlap.
    /// `faulty` says whether the provider may misbehave.
    pub fn new(size: &Size, first: u64, turns: u64, faulty: bool) -> Self {
        let mut dice = Dice::new(size.seed, 1 + first);
        let mut steps = Vec::new();
        let mut user_before = None;
        for number in 0..turns {
            let due = Duration::from_secs_f64(number as f64 / size.per_s);
            let user = dice.index(size.users);
            let slot = dice.index(size.talks);
            for (permille, which) in [(READS, 0), (PROBES, 1), (FORGERIES, 2), (DELETES, 3)] {
                let (user, slot, via) =
                    (dice.index(size.users), dice.index(size.talks), via(&mut dice, size));
                let owner = (user + 1 + dice.index((size.users - 1).max(1))) % size.users;
                let operation = dice.between(0, 2) as u8;
                if dice.permille(permille) && (faulty || which != 3) && !size.plain {
                    let step = match which {
                        0 => Step::Read { user, slot, via },
                        1 => Step::Probe { user, owner, slot, via, operation },
                        2 => Step::Forge { user, slot, via },
                        _ => Step::Delete { user, slot, via },
                    };
                    steps.push((due, step));
                }
            }
            let mut message = Message::new(&mut dice, size, (first + number, user, slot), faulty);
            // Two users in a row have the same key: it must not matter.
            if let Some(before) = user_before.replace(user).filter(|_| number % 2 == 1)
                && before != user
            {
                message.key -= 1;
            }
            steps.push((due, Step::Send(Box::new(message))));
        }
        Self { steps }
    }

    /// The same, with slow answers: more than half a second until the first word, and then 39 more, so many milliseconds
    /// apart. With 0, the same.
    #[must_use]
    pub fn slow(mut self, chunk_ms: u64) -> Self {
        for (_, step) in self.steps.iter_mut().filter(|_| chunk_ms > 0) {
            if let Step::Send(message) = step {
                message.text = message.text.replace("[[sim ", "[[sim chunks=40 ");
                let (before, after) = message.text.split_once("first_ms=").unwrap_or_default();
                let after = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
                message.text = format!("{before}first_ms=600{after}");
                message.text =
                    message.text.replace("chunk_ms=15", "").replace("]]", &format!(" chunk_ms={chunk_ms}]]"));
            }
        }
        self
    }
}

impl Message {
    fn new(dice: &mut Dice, size: &Size, (number, user, slot): (u64, usize, usize), faulty: bool) -> Self {
        let fate = match dice.between(0, 99) {
            0..=4 if faulty => Fate::Failed(BAD[dice.index(BAD.len())]),
            5..=14 if !size.plain => Fate::Answered(ODD[dice.index(ODD.len())]),
            _ => Fate::Answered(""),
        };
        let (Fate::Answered(script) | Fate::Failed(script)) = fate;
        let first_ms = dice.between(if size.plain { 50 } else { 20 }, 150);
        let keyed = !dice.permille(60);
        let twist = match dice.between(0, 99) {
            _ if size.plain => Twist::None,
            0..=4 if keyed => Twist::Twice,
            5..=9 if keyed => Twist::Again,
            10..=12 if keyed => Twist::OtherText,
            _ => Twist::None,
        };
        let text = format!("u{user}-{number} {} [[sim first_ms={first_ms} {script}]]", canary(user, number));
        let (via, then_via) = (via(dice, size), via(dice, size));
        let meanwhile = Meanwhile::Wait;
        let mut message =
            Self { number, user, slot, via, then_via, keyed, key: number, text, fate, twist, meanwhile };
        if keyed && !size.plain && !matches!(fate, Fate::Failed(_)) {
            message.do_meanwhile(dice, faulty);
        }
        message
    }

    /// What is watched, or cancelled on its way, is answered word by word.
    fn do_meanwhile(&mut self, dice: &mut Dice, faulty: bool) {
        self.meanwhile = match dice.between(0, 99) {
            0..=4 => Meanwhile::Watch { leaves: dice.between(0, LEAVES_MAX) as u8 },
            5..=7 if faulty => Meanwhile::Cancel { after_ms: dice.between(0, 700) },
            _ => return,
        };
        if self.fate == Fate::Answered("") {
            self.fate = Fate::Answered("chunk_ms=15");
            self.text = self.text.replace(" ]]", " chunk_ms=15]]");
        }
    }

    /// The key it is sent with.
    pub fn key(&self) -> Option<String> {
        self.keyed.then(|| format!("key-{}", self.key))
    }
}

fn via(dice: &mut Dice, size: &Size) -> Via {
    if !size.plain && dice.permille(350) { Via::Nats } else { Via::Http(dice.index(size.ingresses)) }
}

impl Size {
    /// With what the environment says instead, if it does: `OMNICHAT_FAULTS_TURNS` and the like.
    #[must_use]
    pub fn or_as_asked(self) -> Self {
        Self {
            seed: asked("SEED", self.seed),
            turns: asked("TURNS", self.turns),
            per_s: asked("RATE", self.per_s),
            faults: asked("FAULTS", self.faults),
            kinds: named_kinds().unwrap_or(self.kinds),
            users: asked("USERS", self.users),
            talks: asked("CONVERSATIONS", self.talks),
            workers: asked("WORKERS", self.workers),
            ingresses: asked("INGRESSES", self.ingresses),
            plain: asked("PLAIN", self.plain),
            nats_servers: self.nats_servers,
        }
    }

    /// A small one, for tests of the harness itself.
    pub fn small() -> Self {
        Self {
            seed: 1,
            turns: 1000,
            per_s: 100.0,
            faults: 10,
            kinds: What::ALL.to_vec(),
            users: 10,
            talks: 3,
            workers: 1,
            ingresses: 2,
            nats_servers: 1,
            plain: false,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the size of a run is no configuration of the program")]
fn asked<T: FromStr>(name: &str, default: T) -> T {
    match env::var(format!("OMNICHAT_FAULTS_{name}")) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("OMNICHAT_FAULTS_{name} is no number: {text}")),
        Err(_) => default,
    }
}

/// The kinds of faults that the environment names, separated by commas, if it does.
fn named_kinds() -> Option<Vec<What>> {
    let named: String = asked("KINDS", String::new());
    let known = |name: &str| What::named(name).unwrap_or_else(|| panic!("no kind of fault is called {name}"));
    (!named.is_empty()).then(|| named.split(',').map(|name| known(name.trim())).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn shown(size: &Size) -> String {
        format!("{:?}", Plan::new(size, 0, size.turns, true).steps)
    }

    #[test]
    fn a_seed_makes_the_same_plan() {
        let size = Size::small();
        assert_eq!(shown(&size), shown(&size));
        assert_ne!(shown(&size), shown(&Size { seed: 2, ..size }));
    }

    #[test]
    fn everything_is_in_it() {
        let size = Size { turns: 4000, ..Size::small() };
        let plan = Plan::new(&size, 0, size.turns, true);
        let count = |is: fn(&Step) -> bool| plan.steps.iter().filter(|(_, step)| is(step)).count();
        assert_eq!(count(|step| matches!(step, Step::Send(_))) as u64, size.turns);
        assert!(count(|step| matches!(step, Step::Delete { .. })) > 0);
        assert!(count(|step| matches!(step, Step::Probe { user, owner, .. } if user != owner)) > 100);
        assert_eq!(count(|step| matches!(step, Step::Probe { user, owner, .. } if user == owner)), 0);
        for bad in BAD {
            let has = plan
                .steps
                .iter()
                .any(|(_, step)| matches!(step, Step::Send(message) if message.fate == Fate::Failed(bad)));
            assert!(has, "{bad}");
        }
        for twist in [Twist::Twice, Twist::Again, Twist::OtherText] {
            let has = |step: &Step| matches!(step, Step::Send(message) if message.twist == twist);
            assert!(plan.steps.iter().any(|(_, step)| has(step)), "{twist:?}");
        }
        let sends = plan.steps.iter().filter_map(|(_, step)| match step {
            Step::Send(message) => Some(&**message),
            _ => None,
        });
        let mut keys: HashMap<u64, Vec<usize>> = HashMap::new();
        sends.clone().for_each(|message| keys.entry(message.key).or_default().push(message.user));
        assert!(keys.values().filter(|users| users.len() == 2).count() > 1000, "keys of two users");
        assert!(keys.values().all(|users| users.len() < 2 || users[0] != users[1]), "and never of one twice");
        let does = |does: fn(&Meanwhile) -> bool| sends.clone().filter(|it| does(&it.meanwhile)).count();
        assert!(does(|it| matches!(it, Meanwhile::Watch { leaves: 5 })) > 10);
        assert!(does(|it| matches!(it, Meanwhile::Cancel { .. })) > 50);
    }
}

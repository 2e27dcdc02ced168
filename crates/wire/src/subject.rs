//! Subjects that are no operations: events, the queue of turns, and what services say among themselves.

use crate::{ConversationId, TurnId, UserId};

/// The pattern of [`turn_events`].
pub const TURN_EVENTS: &str = "omnichat.v1.u.{user}.events.turn.{turn}";

/// Where the steps of a turn are told: `omnichat.v1.u.<user>.events.turn.<turn>`.
pub fn turn_events(user: UserId, turn: TurnId) -> String {
    format!("omnichat.v1.u.{user}.events.turn.{turn}")
}

/// The pattern of [`conversation_events`].
pub const CONVERSATION_EVENTS: &str = "omnichat.v1.u.{user}.events.conversation.{conversation}";

/// Where it is told what happens in a conversation: `omnichat.v1.u.<user>.events.conversation.<conversation>`.
pub fn conversation_events(user: UserId, conversation: ConversationId) -> String {
    format!("omnichat.v1.u.{user}.events.conversation.{conversation}")
}

/// The steps of all turns of a user.
pub fn all_turn_events(user: UserId) -> String {
    format!("omnichat.v1.u.{user}.events.turn.*")
}

/// The turn of [`turn_events`], read from its subject.
pub fn turn_of_event(subject: &str) -> Option<TurnId> {
    subject.rsplit('.').next()?.parse().ok()
}

/// Every event of a user.
pub fn user_events(user: UserId) -> String {
    format!("omnichat.v1.u.{user}.events.>")
}

/// Everything that a user may ask.
pub fn of_user(user: UserId) -> String {
    format!("omnichat.v1.u.{user}.>")
}

/// Where the front puts a turn. The stream's transform puts the partition in front.
pub fn turn_queue(user: UserId, conversation: ConversationId) -> String {
    format!("omnichat.q.turn.{user}.{conversation}")
}

/// Where the front puts a repeated send: the same partition, and outside the conversation's bound, as every repeat has a
/// subject of its own.
pub fn turn_repeat(partition: u16, user: UserId, conversation: ConversationId, turn: TurnId) -> String {
    format!("omnichat.q.p.{partition}.{user}.{conversation}.{turn}")
}

/// What the consumer of a partition reads.
pub fn partition_filter(partition: u16) -> String {
    format!("omnichat.q.p.{partition}.>")
}

/// What workers tell each other: `omnichat.i.cluster.beat`.
pub fn cluster(what: &str) -> String {
    format!("omnichat.i.cluster.{what}")
}

/// Where one worker answers that it is there.
pub fn presence(worker: &str) -> String {
    format!("omnichat.i.presence.{worker}")
}

/// Where a worker is reported to hang: its connection is to be ended.
pub fn silent(worker: &str) -> String {
    format!("omnichat.i.silent.{worker}")
}

/// Every report of [`silent`].
pub const SILENT: &str = "omnichat.i.silent.*";

/// The worker that [`silent`] reports, read from its subject.
pub fn silent_worker(subject: &str) -> Option<&str> {
    subject.strip_prefix("omnichat.i.silent.")
}

/// Where the owner of a partition hears who is to have it next.
pub fn owner(partition: u16) -> String {
    format!("omnichat.i.owner.{partition}")
}

/// Where every worker answers what it owns.
pub const OWNED: &str = "omnichat.i.owned";

/// Where chat processes tell each other that a turn is to stop, or a whole conversation that was deleted.
pub fn stop(conversation: ConversationId, turn: Option<TurnId>) -> String {
    match turn {
        Some(turn) => format!("omnichat.i.stop.turn.{conversation}.{turn}"),
        None => format!("omnichat.i.stop.conversation.{conversation}"),
    }
}

/// What [`stop`] tells, read from its subject.
pub fn stopped(subject: &str) -> Option<(ConversationId, Option<TurnId>)> {
    let mut tokens = subject.split('.').skip(3);
    let kind = tokens.next()?;
    let conversation = tokens.next()?.parse().ok()?;
    match kind {
        "turn" => Some((conversation, Some(tokens.next()?.parse().ok()?))),
        _ => Some((conversation, None)),
    }
}

/// Everything that [`stop`] tells.
pub const STOPS: &str = "omnichat.i.stop.>";

/// Where chat processes are asked what was said of a turn until now: whoever makes its call answers.
pub fn snapshot(turn: TurnId) -> String {
    format!("omnichat.i.snapshot.{turn}")
}

/// Every question of [`snapshot`].
pub const SNAPSHOTS: &str = "omnichat.i.snapshot.*";

/// The turn that [`snapshot`] asks for, read from its subject.
pub fn turn_of_snapshot(subject: &str) -> Option<TurnId> {
    subject.strip_prefix("omnichat.i.snapshot.")?.parse().ok()
}

/// The inbox prefix of a user's direct connection.
pub fn user_inbox(user: UserId) -> String {
    format!("_INBOX.{user}")
}

/// The partition of a conversation, as the server's `{{partition(n,2)}}` computes it: FNV-1a of the token, modulo `n`.
pub fn partition_of(conversation: ConversationId, partitions: u16) -> u16 {
    let hash = conversation
        .to_string()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u16::try_from(hash % u32::from(partitions.max(1))).unwrap_or_default()
}

/// A subject that is no operation, for the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// The subject, with `{name}` where a token varies.
    pub pattern: &'static str,
    /// Who may publish.
    pub from: &'static str,
    /// Who listens.
    pub to: &'static str,
    /// What travels there.
    pub summary: &'static str,
}

/// Every subject that is no operation.
pub const CHANNELS: &[Channel] = &[
    Channel {
        pattern: TURN_EVENTS,
        from: "chat",
        to: "the user; the ingress, for readers of streams and sockets",
        summary: "The steps of a turn, while they happen.",
    },
    Channel {
        pattern: CONVERSATION_EVENTS,
        from: "chat",
        to: "the user; the ingress, for readers of a stream",
        summary: "That a turn of the conversation was accepted or has ended, and that it was changed or deleted.",
    },
    Channel {
        pattern: "omnichat.q.turn.{user}.{conversation}",
        from: "chat (front)",
        to: "stream TURNS",
        summary: "A turn to be run; the stream turns the subject into the next one.",
    },
    Channel {
        pattern: "omnichat.q.p.{partition}.{user}.{conversation}",
        from: "stream TURNS",
        to: "chat (owner of the partition)",
        summary: "A turn in its partition.",
    },
    Channel {
        pattern: "omnichat.q.p.{partition}.{user}.{conversation}.{turn}",
        from: "chat (front)",
        to: "chat (owner of the partition)",
        summary: "A repeated send, to be answered with the outcome of the first.",
    },
    Channel {
        pattern: "omnichat.i.cluster.{what}",
        from: "chat",
        to: "chat (every worker)",
        summary: "A worker is there (`beat`), asks who is (`hello`), leaves (`leaves`), or has seen another one `dead`.",
    },
    Channel {
        pattern: "omnichat.i.presence.{worker}",
        from: "chat",
        to: "chat (that worker)",
        summary: "Asks a worker for a sign of life.",
    },
    Channel {
        pattern: "omnichat.i.silent.{worker}",
        from: "chat",
        to: "auth (every process)",
        summary: "A worker hangs: its connection is to be ended, so that nothing more is sent to it.",
    },
    Channel {
        pattern: "omnichat.i.owner.{partition}",
        from: "chat",
        to: "chat (owner of the partition)",
        summary: "Asks the owner to hand the partition over; it answers `draining`, then `released`.",
    },
    Channel {
        pattern: "omnichat.i.owned",
        from: "an operator's command",
        to: "chat (every worker)",
        summary: "Asks every worker which partitions it owns.",
    },
    Channel {
        pattern: "omnichat.i.stop.turn.{conversation}.{turn}",
        from: "chat",
        to: "chat (whoever has the conversation)",
        summary: "The turn was cancelled: stop it.",
    },
    Channel {
        pattern: "omnichat.i.stop.conversation.{conversation}",
        from: "chat",
        to: "chat (whoever has the conversation)",
        summary: "The conversation was deleted: stop what runs in it.",
    },
    Channel {
        pattern: "omnichat.i.snapshot.{turn}",
        from: "ingress",
        to: "chat (every process; whoever calls the model for the turn answers)",
        summary: "Asks for what was said of a turn until now, for a reader who comes half-way: its events, then an empty message.",
    },
];

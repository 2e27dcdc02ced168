//! The section `[limits]`. It is one for those who set it, and each service takes what it holds users to.

use bus::Provisioner;

/// How often users may ask, and how much may be in work; 0 turns a limit off.
#[derive(Debug, Clone, confique::Config)]
pub struct Limits {
    /// Logins per address and minute.
    #[config(default = 30)]
    pub logins_per_address_per_min: u32,

    /// Registrations per address and minute.
    #[config(default = 10)]
    pub registrations_per_address_per_min: u32,

    /// Refreshed sessions per address and minute.
    #[config(default = 60)]
    pub refreshes_per_address_per_min: u32,

    /// Messages sent per user and minute, over HTTP and NATS together.
    #[config(default = 600)]
    pub turns_per_user_per_min: u32,

    /// Turns of one user that may run at a time, each in a conversation of its own.
    #[config(default = 64)]
    pub running_turns_per_user: u32,

    /// Turns that may wait in one conversation, beside the one that runs; takes effect with `omnichat provision`.
    #[config(default = 8)]
    pub waiting_turns_per_conversation: u32,

    /// Turns of all users that may be without an outcome, running and waiting; takes effect with `omnichat provision`.
    #[config(default = 10000)]
    pub open_turns: u32,

    /// Turns that may run at a time in one process.
    #[config(default = 2048)]
    pub running_turns_per_node: u32,

    /// Streams of events that one user may have open in one process.
    #[config(default = 8)]
    pub streams_per_user: u32,

    /// Streams of events that may be open in one process.
    #[config(default = 500)]
    pub streams_per_node: u32,

    /// Sockets that one user may have open in one process.
    #[config(default = 8)]
    pub sockets_per_user: u32,

    /// Sockets that may be open in one process.
    #[config(default = 500)]
    pub sockets_per_node: u32,

    /// Messages to the sockets of one user, per minute.
    #[config(default = 1200)]
    pub socket_messages_per_user_per_min: u32,
}

impl Limits {
    /// The streams, with those that they hold.
    pub fn of_streams(&self, provisioner: Provisioner) -> Provisioner {
        provisioner.waiting_turns(self.waiting_turns_per_conversation).open_turns(self.open_turns)
    }

    /// Those of addresses, of streams and of sockets.
    pub const fn of_ingress(&self) -> ingress::Limits {
        ingress::Limits {
            logins_per_address_per_min: self.logins_per_address_per_min,
            registrations_per_address_per_min: self.registrations_per_address_per_min,
            refreshes_per_address_per_min: self.refreshes_per_address_per_min,
            streams_per_user: self.streams_per_user,
            streams_per_node: self.streams_per_node,
            sockets_per_user: self.sockets_per_user,
            sockets_per_node: self.sockets_per_node,
            socket_messages_per_user_per_min: self.socket_messages_per_user_per_min,
        }
    }

    /// Those of users.
    pub const fn of_chat(&self) -> chat::Limits {
        chat::Limits {
            turns_per_user_per_min: self.turns_per_user_per_min,
            running_turns_per_user: self.running_turns_per_user,
            running_turns_per_node: self.running_turns_per_node,
        }
    }
}

//! The ingress from outside: over TCP, on a nats-server of its own.

#![cfg(test)]

mod broken_sockets;
mod calls;
mod connections;
mod door;
mod heads;
mod sends;
mod sockets;
mod stalls;
mod streams;
mod world;

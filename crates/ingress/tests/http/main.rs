//! The ingress from outside: over TCP, on a nats-server of its own.

#![cfg(test)]

mod calls;
mod connections;
mod door;
mod heads;
mod sends;
mod stalls;
mod streams;
mod world;

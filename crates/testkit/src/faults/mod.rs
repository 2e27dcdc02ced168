//! Faults under load: many users, every kind of failure while they talk, and checks of all that was promised, from
//! outside. `docs/fault-harness.md` says how it is run and what it finds.
//!
//! - [`plan`], [`fault`]: what clients do and what is done to them, both from a seed ([`dice`]); `node`: what befalls a node of
//!   a cluster of NATS
//! - [`installation`]: the program's processes, its servers ([`record`]) and a [`proxy`] on every way between them
//! - [`driver`], [`doors`]: the clients; [`history`]: what they saw
//! - [`evidence`]: all that is known of a run; [`checks`]: what must hold of it ([`prompts`])
//! - [`disk`]: a disk that loses its power
//! - [`points`]: the program held at an exact point of a turn, and struck there
//! - [`bug`]: a bug to be found, as data; [`mutant`]: a copy of the program that has it
//! - [`run`]: a whole run, with its [`report`]; [`watch`]: what it uses; [`vacuity`]: whether it proves anything

pub mod bug;
pub mod checks;
pub mod dice;
pub mod disk;
pub mod doors;
pub mod driver;
pub mod evidence;
pub mod fault;
pub mod history;
pub mod installation;
pub mod mutant;
mod node;
pub mod plan;
pub mod points;
pub mod prompts;
pub mod proxy;
pub mod record;
pub mod report;
pub mod run;
pub mod vacuity;
pub mod watch;

//! What the house holds itself to: who may use whom, how long a file may be, and papers that say what the code says.

#![cfg(test)]

mod checks;
mod compose;
mod deploy;
mod edges;
mod faults;
mod files;
mod limits;
mod links;
mod metrics;
mod planted;
mod readme;
mod routes;
mod statements;
mod subjects;
mod tree;

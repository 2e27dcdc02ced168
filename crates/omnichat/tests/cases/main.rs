//! Bad input, case by case; `catalogue` has all of them.

#![cfg(test)]

mod catalogue;
mod configuration;
mod floods;
mod framing;
mod http;
mod keys;
mod nats;
mod postgres;
mod program;
mod reload;
mod replicas;
mod schema;
mod servers;
mod writer;

/// Rows of a case table, all of which are tried before the test fails.
#[derive(Default)]
struct Table {
    wrong: Vec<String>,
}

impl Table {
    /// A row of this case: all is well, or what is wrong.
    fn row(&mut self, case: u16, text: &str, outcome: Result<(), String>) {
        self.wrong.extend(outcome.err().map(|wrong| format!("case {case}, {text}: {wrong}")));
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.wrong.is_empty(), "\n  {}\n", self.wrong.join("\n  "));
        }
    }
}

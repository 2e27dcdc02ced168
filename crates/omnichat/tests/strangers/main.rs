//! The program, judged by programs that are not ours: clients that other people wrote, and what checks any API.

#![cfg(test)]

mod browser;
mod description;
mod direct;
mod litellm;
mod services;
mod steps;
mod toolbox;

//! What the README has people paste.

use std::{fs, process::Command};

use crate::tree;

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let opened = text.split(&format!("```{language}\n")).skip(1).collect::<Vec<_>>();
    opened.into_iter().map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_first_conversation_is_the_one_that_up_prints() {
    let banner = tree::read("crates/omnichat/src/banner.rs");
    let lines = banner.lines().map(str::trim_start);
    let pasted =
        lines.filter(|line| ["B=", "T=", "P=", "C=", "U=", "curl "].iter().any(|it| line.starts_with(it)));
    let pasted: Vec<_> = pasted
        .map(|line| line.replace("{{", "{").replace("}}", "}").replace("{http}", "127.0.0.1:8080"))
        .collect();
    assert_eq!(pasted.len(), 7, "{pasted:?}");
    let readme = tree::read("README.md");
    let shell = blocks(&readme, "sh").concat();
    let missing: Vec<_> = pasted.into_iter().filter(|line| !shell.contains(line.as_str())).collect();
    tree::report(&missing, "README.md lacks what `omnichat up` prints");
}

#[test]
fn the_sample_of_a_provider_can_be_used() {
    let readme = tree::read("README.md");
    let samples = blocks(&readme, "toml");
    assert!(!samples.is_empty());
    let file = std::env::temp_dir().join(format!("omnichat-readme-{}.toml", std::process::id()));
    fs::write(&file, samples.concat()).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_omnichat"));
    let output = program.arg("config").arg("--config").arg(&file).env_clear().output().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("https://llm.example.org/v1"));
}

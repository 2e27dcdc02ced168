//! A context of the nats CLI: server, credential and inboxes in a file, so that `nats --context omnichat …` needs nothing else.

use std::{
    fs,
    io::{IsTerminal, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use host::Environment;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cli::{ContextOptions, Staff},
    secrets::Secrets,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Where the servers of a data dir are.
#[derive(Deserialize)]
struct Run {
    http: String,
    nats: String,
}

/// Writes the context, and says what to do with it.
#[expect(clippy::print_stdout, reason = "what the command has to say")]
pub async fn save(options: ContextOptions) -> anyhow::Result<()> {
    if options.name.is_empty()
        || !options.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    {
        bail!("a context is named by letters, digits, - and _");
    }
    let run = read_run(&options.data_dir);
    let server = options.server.clone().or_else(|| run.as_ref().map(|run| run.nats.clone()));
    let server = server.context("no omnichat runs here: say with --server where NATS is")?;
    let mut context = json!({ "description": "OMNICHAT", "url": server });
    let hint = match options.staff {
        Some(staff) => {
            let name = staff.name();
            let password = staff_password(name, &options.data_dir)?;
            add(
                &mut context,
                &[("user", name), ("password", &password), ("inbox_prefix", &format!("_INBOX.{name}"))],
            );
            "stream ls".to_owned()
        }
        None => {
            let http = options.http.clone().or_else(|| run.map(|run| run.http));
            let http = http.context("no omnichat runs here: say with --http where its API is")?;
            let credential = credential()?;
            let user = user_of(&http, &credential).await?;
            add(&mut context, &[("token", &credential), ("inbox_prefix", &format!("_INBOX.{user}"))]);
            format!("req omnichat.v1.u.{user}.projects.list ''")
        }
    };
    let path = folder(&Environment::of_process())?.join(format!("{}.json", options.name));
    write(&path, &serde_json::to_vec_pretty(&context)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}\nNow: nats --context {} {hint}", path.display(), options.name);
    Ok(())
}

fn add(context: &mut Value, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        context[*name] = (*value).into();
    }
}

fn read_run(data_dir: &Path) -> Option<Run> {
    serde_json::from_slice(&fs::read(data_dir.join("run.json")).ok()?).ok()
}

/// That of `omnichat up`; elsewhere it is the environment's.
fn staff_password(user: &str, data_dir: &Path) -> anyhow::Result<String> {
    match Environment::of_process().get("NATS_PASSWORD") {
        Some(password) => Ok(password.to_owned()),
        None => Ok(Secrets::read(data_dir).context("no NATS_PASSWORD is set")?.nats(user)),
    }
}

/// Never an argument: those are seen by everybody on the machine.
fn credential() -> anyhow::Result<String> {
    if let Some(credential) = Environment::of_process().get("OMNICHAT_TOKEN") {
        return Ok(credential.to_owned());
    }
    let mut credential = String::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin().take(8 * 1024).read_to_string(&mut credential)?;
    }
    let credential = credential.trim();
    if credential.is_empty() {
        bail!("an access token or API key is needed: set OMNICHAT_TOKEN, or give it on standard input");
    }
    Ok(credential.to_owned())
}

/// Whose it is, and whether it is good.
async fn user_of(http: &str, credential: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Validity {
        user_id: String,
    }
    // A plain client would have none; who was first has it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let asked = client.get(format!("{}/auth/validate", http.trim_end_matches('/'))).bearer_auth(credential);
    let answer = asked.send().await.with_context(|| format!("{http} does not answer"))?;
    if !answer.status().is_success() {
        bail!("the credential is not good: {http} answers {}", answer.status());
    }
    Ok(answer.json::<Validity>().await.context("the answer is not that of omnichat")?.user_id)
}

/// Where the nats CLI looks for contexts.
fn folder(environment: &Environment) -> anyhow::Result<PathBuf> {
    let base = environment.get("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let base = base.or_else(|| environment.get("HOME").map(|home| Path::new(home).join(".config")));
    Ok(base.context("neither XDG_CONFIG_HOME nor HOME is set")?.join("nats/context"))
}

/// The file holds a credential: nobody else may read it.
fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let written = path.with_extension("new");
    let _ = fs::remove_file(&written);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&written)?;
    file.write_all(text)?;
    fs::rename(written, path)
}

impl Staff {
    const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Inspector => "inspector",
        }
    }
}

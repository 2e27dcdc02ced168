//! What `omnichat up` says when it is ready: where everything is, and lines to paste.

use std::{net::SocketAddr, time::Duration};

use host::embedded::Servers;

/// What there is to say.
pub struct Banner {
    model: String,
    nats: String,
    nats_note: Option<String>,
    postgres: String,
}

impl Banner {
    /// From what was started.
    pub fn new(models: &llm::Config, simulated: bool, servers: &Servers) -> Self {
        let model = &models.default_model;
        let provider =
            models.models.get(model).and_then(|model| model.route.first()).map(|step| step.provider.as_str());
        let model = match (simulated, provider) {
            (true, _) => format!(
                "{model} (simulated: set OPENAI_API_KEY or OPENROUTER_API_KEY, or start Ollama, for real answers)"
            ),
            (false, Some(provider)) => format!("{model} (from {provider})"),
            (false, None) => model.clone(),
        };
        let nats = servers.nats.url();
        Self {
            model,
            nats_note: servers.nats.taken().map(|taken| format!("{taken} is taken by another process")),
            nats,
            postgres: servers.postgres.url(),
        }
    }
}

/// Prints it, the ready line first.
#[expect(clippy::print_stdout, reason = "what the command has to say")]
pub fn print(banner: &Banner, http: SocketAddr, took: Duration) {
    let Banner { model, nats, nats_note, postgres } = banner;
    let note = nats_note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
    println!(
        r#"
OMNICHAT is ready, after {took} ms. Stop with Ctrl-C; everything is kept.

  Play      http://{http}/play
  HTTP      http://{http}
  NATS      {nats}{note}
  Postgres  {postgres}
  Model     {model}

A first conversation over HTTP (paste into a shell):

  B=http://{http}; J='Content-Type: application/json'; field() {{ sed -E 's/.*"'"$1"'":"([^"]*)".*/\1/'; }}
  curl -s $B/auth/register -H "$J" -d '{{"email":"you@example.org","password":"correct horse"}}'; echo
  T=$(curl -s $B/auth/login -H "$J" -d '{{"email":"you@example.org","password":"correct horse"}}' | field access_token)
  P=$(curl -s $B/projects -H "$J" -H "Authorization: Bearer $T" -d '{{"name":"First"}}' | field id)
  C=$(curl -s -X POST "$B/conversations?project_id=$P" -H "Authorization: Bearer $T" | field id)
  curl -s $B/conversations/$C/messages -H "$J" -H "Authorization: Bearer $T" -d '{{"content":"Hello!"}}'; echo

The next message over NATS, with the nats CLI and the same token:

  U=$(curl -s $B/auth/validate -H "Authorization: Bearer $T" | field user_id)
  nats req omnichat.v1.u.$U.conversations.$C.send '{{"content":"And hello over NATS!"}}' --server {nats} --token $T --inbox-prefix _INBOX.$U --timeout 120s
"#,
        took = took.as_millis(),
    );
}

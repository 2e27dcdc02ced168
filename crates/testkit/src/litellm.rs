//! LiteLLM's proxy: a server of OpenAI's chat completions by other people, pinned by hash in `crates/testkit/tools`.

use std::{fs, net::SocketAddr, time::Duration};

use crate::{
    Client, Process, eventually,
    folder::Folder,
    toolbox::{folder, installed, pip, python},
};

const REQUIREMENTS: &str = include_str!("../tools/litellm.txt");
/// Longer than its first start takes, in which Python compiles what it reads.
const STARTED_WITHIN: Duration = Duration::from_secs(180);
/// What its own command does.
const SERVE: &str = "import sys; from litellm import run_server; sys.argv[0] = 'litellm'; run_server()";

/// The proxy, as a process; it ends when this is dropped.
#[derive(Debug)]
pub struct LiteLlm {
    address: SocketAddr,
    process: Process,
    _folder: Folder,
}

impl LiteLlm {
    /// Starts it with this configuration (YAML) on a port that the system picks, and returns when it answers. It is
    /// installed first, into a folder of its own beside the toolbox's, if this very version is not there: its
    /// requirements are not those of other tools.
    ///
    /// # Panics
    /// If it cannot be installed, or does not start.
    pub async fn start(config: &str) -> Self {
        let home = folder().join("litellm");
        let packages = home.join("python");
        installed(&home, REQUIREMENTS, async || pip(REQUIREMENTS, &packages).await).await;

        let folder = Folder::new("litellm");
        let file = folder.path().join("config.yaml");
        fs::write(&file, config).unwrap();
        let mut command = python(&packages);
        command.args(["-c", SERVE, "--config"]).arg(file).args(["--host", "127.0.0.1", "--port", "0"]);
        // What it would otherwise fetch when it starts stands in the package as well.
        command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("NO_PROXY", "*");
        command.env_remove("DATABASE_URL");
        let mut process = Process::start(command, folder.path().join("litellm.log"));
        let address = eventually("LiteLLM answers", STARTED_WITHIN, async || {
            assert!(!process.has_ended(), "LiteLLM has ended:\n{}", process.last_words());
            let address = listening(&(process.logged() + &process.printed()))?;
            (Client::at(address).get("/health/liveliness").await.status == 200).then_some(address)
        })
        .await;
        Self { address, process, _folder: folder }
    }

    /// What goes into `base_url`; ends with `/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        self.process.logged() + &self.process.printed()
    }
}

/// The address in the line that its server writes when it listens.
fn listening(said: &str) -> Option<SocketAddr> {
    let (_, after) = said.split_once("Uvicorn running on http://")?;
    after.split_whitespace().next()?.parse().ok()
}

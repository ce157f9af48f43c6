//! The binary as users start it, in a directory of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::eventually;
use super::grpc::{Client, client};
use super::page::Page;

/// The binary, deaf to what the surroundings configure.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slo-copilot"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SLO_COPILOT__") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG").args(arguments);
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Free ports, by the environment, so that `--set` stays free for the test.
pub(crate) const FREE_PORTS: [(&str, &str); 3] = [
    (
        "SLO_COPILOT__RECEIVERS__OTLP__GRPC__ENDPOINT",
        "127.0.0.1:0",
    ),
    (
        "SLO_COPILOT__RECEIVERS__OTLP__HTTP__ENDPOINT",
        "127.0.0.1:0",
    ),
    ("SLO_COPILOT__ADMIN__ENDPOINT", "127.0.0.1:0"),
];

fn spawn(dir: &TempDir, sets: &[String]) -> Child {
    let mut command = command(&["serve"]);
    for set in sets {
        command.args(["--set", set]);
    }
    command
        .current_dir(dir.path())
        .envs(FREE_PORTS)
        .env("RUST_LOG", "warn")
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// `serve` on free ports, killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    dir: TempDir,
    sets: Vec<String>,
    endpoints: Value,
}

impl Process {
    /// Starts `serve` with these keys set, and waits until it has bound its addresses.
    pub(crate) async fn serve(sets: &[&str]) -> Self {
        slo_copilot::outgoing::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let mut process = Self {
            child: spawn(&dir, &sets),
            dir,
            sets,
            endpoints: Value::Null,
        };
        process.bound().await;
        process
    }

    async fn bound(&mut self) {
        self.endpoints = eventually("endpoints.json", async || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "serve ended: {ended:?}");
            let text = std::fs::read_to_string(self.output("endpoints.json")).ok()?;
            serde_json::from_str(&text).ok()
        })
        .await;
    }

    /// Kills it, so that it can say nothing more, and starts it again in its directory; its ports are others.
    pub(crate) async fn kill_and_start_again(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// Kills it, so that it can say nothing more.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Other keys for the next start.
    pub(crate) fn set(&mut self, sets: &[&str]) {
        self.sets = sets.iter().map(|set| (*set).to_owned()).collect();
    }

    /// Starts it again in its directory after it ended; its ports are others.
    pub(crate) async fn start_again(&mut self) {
        std::fs::remove_file(self.output("endpoints.json")).unwrap();
        self.child = spawn(&self.dir, &self.sets);
        self.bound().await;
    }

    /// A file below `output.dir`, which is left at its default.
    pub(crate) fn output(&self, path: &str) -> PathBuf {
        self.dir.path().join("slo-copilot-out").join(path)
    }

    /// A file below `storage.dir`, which is left at its default.
    pub(crate) fn stored(&self, path: &str) -> PathBuf {
        self.dir.path().join("slo-copilot-data").join(path)
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.endpoints[name].as_str().unwrap().parse().unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        client(self.address("otlp_grpc")).await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.address("admin"));
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn page(&self) -> Page {
        let url = format!("http://{}/metrics", self.address("admin"));
        let response = reqwest::get(url).await.unwrap();
        Page::parse(&response.text().await.unwrap())
    }

    /// A page with all that was acknowledged before the call: two evaluations later.
    pub(crate) async fn fresh_page(&self) -> Page {
        let evaluated_at = async || self.json("/api/v1/verdict").await["generated_at"].clone();
        for _ in 0..2 {
            let before = evaluated_at().await;
            let next = async || (evaluated_at().await != before).then_some(());
            eventually("the next evaluation", next).await;
        }
        self.page().await
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(killed.success());
    }

    /// Waits for its end; the directory stays until this value is dropped.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("the end of serve", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

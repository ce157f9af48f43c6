//! What a container runs: the programs of its command and arguments, also inside of `sh -c`.

/// Words that run the program behind them.
const WRAPPERS: [&str; 15] = [
    "exec",
    "env",
    "nice",
    "nohup",
    "time",
    "tini",
    "dumb-init",
    "su-exec",
    "gosu",
    "sudo",
    "catatonit",
    "chpst",
    "setpriv",
    "docker-entrypoint.sh",
    "entrypoint.sh",
];

/// Wrappers that bring an agent of their own.
const AGENTS: [(&str, &str); 5] = [
    ("opentelemetry-instrument", "OpenTelemetry"),
    ("opentelemetry-bootstrap", "OpenTelemetry"),
    ("ddtrace-run", "Datadog"),
    ("newrelic-admin", "New Relic"),
    ("elasticapm-run", "Elastic APM"),
];

const SHELLS: [&str; 5] = ["sh", "bash", "ash", "dash", "zsh"];

/// The words of a container's command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// The programs that it starts, by the last part of their path, in lower case.
    pub(super) programs: Vec<String>,
    /// The first program as it is written.
    pub(super) executable: Option<String>,
    /// The other words.
    pub(super) arguments: Vec<String>,
    /// The agent that a wrapper brings.
    pub(super) agent: Option<&'static str>,
}

impl CommandLine {
    /// Of a container's `command` and `args`; without a command the image's own entry point takes the arguments.
    pub(super) fn of(command: &[String], args: &[String]) -> Self {
        let mut line = Self::default();
        if command.is_empty() {
            // Arguments alone name a program, unless they are flags for the entry point.
            if args.first().is_some_and(|first| first.starts_with('-')) {
                line.arguments = args.to_vec();
                return line;
            }
        }
        let all: Vec<&str> = command.iter().chain(args).map(String::as_str).collect();
        line.take(&all);
        line
    }

    fn take(&mut self, words: &[&str]) {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let name = base_name(word);
            if SHELLS.contains(&name.as_str()) {
                let script = words
                    .clone()
                    .skip_while(|word| !word.starts_with('-') || !word.ends_with('c'))
                    .nth(1);
                if let Some(script) = script {
                    self.script(script);
                    return;
                }
                // `sh start.sh`: what the script runs is not told.
                self.arguments.extend(words.map(|word| (*word).to_owned()));
                return;
            }
            let agent = AGENTS.iter().find(|(known, _)| *known == name);
            self.agent = self.agent.or(agent.map(|(_, agent)| *agent));
            let is_option = word.starts_with('-') || is_assignment(word);
            if is_option || agent.is_some() || WRAPPERS.contains(&name.as_str()) {
                continue;
            }
            if self.executable.is_none() {
                self.executable = Some((*word).to_owned());
            }
            self.programs.push(name);
            self.arguments.extend(words.map(|word| (*word).to_owned()));
            return;
        }
    }

    fn script(&mut self, script: &str) {
        for part in script.split(['\n', ';', '|', '&']) {
            let words: Vec<&str> = part
                .split_whitespace()
                .map(|word| word.trim_matches(['"', '\'']))
                .collect();
            self.take(&words);
        }
        // Of several commands the last one stays.
        self.executable = None;
    }
}

/// `LOG=debug`.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// The last part of a path, in lower case, without `.exe`.
fn base_name(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = name.to_lowercase();
    name.strip_suffix(".exe")
        .map_or(name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(command: &[&str], args: &[&str]) -> CommandLine {
        let owned =
            |words: &[&str]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
        CommandLine::of(&owned(command), &owned(args))
    }

    #[test]
    fn the_program_is_found_behind_wrappers_options_and_shells() {
        for (command, args, programs) in [
            (
                &["/usr/bin/java", "-jar", "app.jar"][..],
                &[][..],
                &["java"][..],
            ),
            (&["/sbin/tini", "--", "node"], &["server.js"], &["node"]),
            (&[], &["python3.12", "main.py"], &["python3.12"]),
            (
                &["sh", "-c", "exec java $JAVA_OPTS -jar /app.jar"],
                &[],
                &["java"],
            ),
            (
                &[
                    "/bin/bash",
                    "-ec",
                    "PORT=80 ./migrate && exec gunicorn app:app",
                ],
                &[],
                &["migrate", "gunicorn"],
            ),
            (&["bash", "-c"], &["dotnet Shop.dll"], &["dotnet"]),
            (&["env", "A=1", "ruby"], &["app.rb"], &["ruby"]),
            (&["sh", "start.sh"], &[], &[]),
            (&[], &["--port", "80"], &[]),
            (&["C:\\dotnet\\dotnet.exe"], &["a.dll"], &["dotnet"]),
            (&[], &[], &[]),
        ] {
            assert_eq!(
                line(command, args).programs,
                programs,
                "{command:?} {args:?}"
            );
        }
    }

    #[test]
    fn an_agent_that_a_wrapper_brings_is_seen() {
        let wrapped = line(
            &["opentelemetry-instrument", "--service_name", "x"],
            &["python", "a.py"],
        );
        assert_eq!(wrapped.agent, Some("OpenTelemetry"));
        assert_eq!(line(&["python", "ddtrace-run.py"], &[]).agent, None);
    }

    #[test]
    fn the_executable_is_known_only_when_it_is_named_itself() {
        let named = |command: &[&str]| line(command, &[]).executable;
        assert_eq!(
            named(&["/app/checkout", "--port=80"]).as_deref(),
            Some("/app/checkout")
        );
        assert_eq!(named(&["sh", "-c", "/app/checkout"]), None);
        assert_eq!(named(&[]), None);
    }
}

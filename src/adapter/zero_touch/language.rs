//! Which language a container runs, with the evidence for it.
//!
//! Each hint has a weight: how often it is right by itself. Independent hints add up as `1 - Π(1 - weight)`. Words are compared
//! as wholes: `mongo` and `cargo` hold no `go`, and `javascript` holds no `java`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::command::CommandLine;
use super::image::{ImageName, words};
use crate::adapter::kubernetes::{Container, Workload};

/// A label or annotation of pods by which people say it themselves.
pub(super) const OWN_KEY: &str = "slo-copilot.dev/language";

/// What other tools call such a label.
const LABELS: [&str; 6] = [
    OWN_KEY,
    "app.openshift.io/runtime",
    "app.kubernetes.io/runtime",
    "app.kubernetes.io/language",
    "language",
    "runtime",
];

/// Below this confidence nothing is injected.
const CONFIDENCE_MIN: f64 = 0.5;

/// Two languages whose confidences are nearer than this are not told apart.
const CONFIDENCE_GAP: f64 = 0.15;

/// A language of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Java, Kotlin, Scala and what else runs on its virtual machine.
    Java,
    /// `JavaScript` and `TypeScript` on Node.js.
    Nodejs,
    /// Python.
    Python,
    /// C# and F#.
    Dotnet,
    /// Go.
    Go,
    /// Ruby.
    Ruby,
    /// PHP.
    Php,
    /// Rust.
    Rust,
    /// C++.
    Cpp,
    /// Elixir and Erlang.
    Elixir,
}

/// Where a hint was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum EvidenceSource {
    /// A label or an annotation of the pod.
    Label,
    /// The command or its arguments.
    Command,
    /// The environment.
    Environment,
    /// The name of the image.
    Image,
    /// The name of the workload or of the container.
    Name,
}

/// A hint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Evidence {
    /// The language that it speaks for.
    pub language: Language,
    /// Where it was found.
    pub source: EvidenceSource,
    /// What was found, for example `java -jar`.
    pub detail: String,
    /// How often it is right by itself, from 0 to 1.
    pub weight: f64,
}

/// What the hints come to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Guess {
    /// One language, with the confidence in it.
    One(Language, f64),
    /// Languages that are not told apart.
    Several(Language, Language),
    /// No language, or too little of a hint.
    None,
}

impl Language {
    /// As people write it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Java => "Java",
            Self::Nodejs => "Node.js",
            Self::Python => "Python",
            Self::Dotnet => ".NET",
            Self::Go => "Go",
            Self::Ruby => "Ruby",
            Self::Php => "PHP",
            Self::Rust => "Rust",
            Self::Cpp => "C++",
            Self::Elixir => "Elixir",
        }
    }

    /// The value of `telemetry.sdk.language`.
    pub fn sdk_language(self) -> &'static str {
        match self {
            Self::Java => "java",
            Self::Nodejs => "nodejs",
            Self::Python => "python",
            Self::Dotnet => "dotnet",
            Self::Go => "go",
            Self::Ruby => "ruby",
            Self::Php => "php",
            Self::Rust => "rust",
            Self::Cpp => "cpp",
            Self::Elixir => "erlang",
        }
    }

    /// The Operator's word for it; none where no released Operator injects anything.
    pub fn injected_as(self) -> Option<&'static str> {
        match self {
            Self::Java => Some("java"),
            Self::Nodejs => Some("nodejs"),
            Self::Python => Some("python"),
            Self::Dotnet => Some("dotnet"),
            Self::Go => Some("go"),
            Self::Ruby | Self::Php | Self::Rust | Self::Cpp | Self::Elixir => None,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.label())
    }
}

/// The language and weight of a word of a name or a label.
fn of_word(word: &str) -> Option<(Language, f64)> {
    Some(match word {
        "java" | "kotlin" | "scala" | "spring" => (Language::Java, 0.7),
        "openjdk" | "jdk" | "jre" | "temurin" | "corretto" | "springboot" | "quarkus"
        | "micronaut" | "tomcat" | "jetty" | "wildfly" | "zulu" | "liberica" => {
            (Language::Java, 0.85)
        }
        "node" | "js" | "ts" | "typescript" | "javascript" => (Language::Nodejs, 0.65),
        "nodejs" | "nextjs" | "nestjs" | "nuxt" | "expressjs" => (Language::Nodejs, 0.85),
        "py" => (Language::Python, 0.6),
        "python" | "pypy" | "django" | "flask" | "fastapi" | "gunicorn" | "uvicorn" | "celery" => {
            (Language::Python, 0.85)
        }
        "dotnet" | "aspnet" | "aspnetcore" | "csharp" | "fsharp" => (Language::Dotnet, 0.85),
        "go" => (Language::Go, 0.65),
        "golang" => (Language::Go, 0.85),
        "ruby" | "jruby" | "rails" | "puma" | "sidekiq" | "sinatra" => (Language::Ruby, 0.85),
        "php" | "laravel" | "symfony" | "wordpress" | "drupal" => (Language::Php, 0.85),
        "rust" | "rustlang" => (Language::Rust, 0.75),
        "cpp" | "cxx" => (Language::Cpp, 0.75),
        "elixir" | "erlang" => (Language::Elixir, 0.85),
        _ => return None,
    })
}

/// The language of a program that runs its code.
fn of_program(program: &str) -> Option<Language> {
    // `python3.12` and `php8.2` have their version behind them.
    let bare =
        program.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.');
    Some(match bare {
        "java" => Language::Java,
        "node" | "nodejs" | "npm" | "npx" | "yarn" | "pnpm" | "next" | "nest" | "nuxt"
        | "ts-node" | "tsx" | "pm" => Language::Nodejs,
        "python" | "pypy" | "gunicorn" | "uvicorn" | "hypercorn" | "daphne" | "flask"
        | "celery" | "uwsgi" | "django-admin" | "poetry" | "pipenv" | "fastapi" | "manage.py" => {
            Language::Python
        }
        "dotnet" => Language::Dotnet,
        "go" => Language::Go,
        "ruby" | "bundle" | "rails" | "rake" | "puma" | "unicorn" | "sidekiq" | "rackup" => {
            Language::Ruby
        }
        "php" | "php-fpm" | "artisan" | "apache2-foreground" | "frankenphp" => Language::Php,
        "cargo" => Language::Rust,
        "elixir" | "iex" | "mix" | "erl" => Language::Elixir,
        _ => return None,
    })
}

/// The language of a file or an option among the arguments.
fn of_argument(argument: &str) -> Option<Language> {
    let is_java_option = ["-Xmx", "-Xms", "-Xss", "-XX:", "-javaagent:"]
        .iter()
        .any(|option| argument.starts_with(option));
    if is_java_option || argument == "-jar" {
        return Some(Language::Java);
    }
    let (_, extension) = argument.rsplit_once('.')?;
    Some(match extension {
        "jar" | "war" => Language::Java,
        "js" | "mjs" | "cjs" | "ts" => Language::Nodejs,
        "py" => Language::Python,
        "dll" => Language::Dotnet,
        "rb" | "ru" => Language::Ruby,
        "php" => Language::Php,
        "exs" => Language::Elixir,
        _ => return None,
    })
}

/// The language whose runtime or frameworks read a variable.
fn of_variable(name: &str) -> Option<Language> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    Some(match name {
        "JAVA_OPTS" | "JAVA_TOOL_OPTIONS" | "JDK_JAVA_OPTIONS" | "JVM_OPTS" | "_JAVA_OPTIONS"
        | "CATALINA_OPTS" | "JAVA_ARGS" => Language::Java,
        "NODE_ENV" | "NODE_OPTIONS" | "NODE_PATH" => Language::Nodejs,
        "DJANGO_SETTINGS_MODULE"
        | "FLASK_APP"
        | "FLASK_ENV"
        | "GUNICORN_CMD_ARGS"
        | "CELERY_BROKER_URL" => Language::Python,
        "GOMAXPROCS" | "GOGC" | "GOMEMLIMIT" | "GODEBUG" | "GOTRACEBACK" | "GIN_MODE" => {
            Language::Go
        }
        "RAILS_ENV" | "RACK_ENV" | "RUBYOPT" | "RAILS_MAX_THREADS" => Language::Ruby,
        "RUST_LOG" | "RUST_BACKTRACE" => Language::Rust,
        "MIX_ENV" | "RELEASE_COOKIE" => Language::Elixir,
        _ if begins(&["SPRING_", "QUARKUS_", "MICRONAUT_"]) => Language::Java,
        _ if begins(&["NPM_CONFIG_", "NEXT_PUBLIC_"]) => Language::Nodejs,
        _ if begins(&["PYTHON", "UVICORN_"]) => Language::Python,
        _ if begins(&["ASPNETCORE_", "DOTNET_", "COMPLUS_"]) => Language::Dotnet,
        _ if begins(&["PHP_"]) => Language::Php,
        _ => return None,
    })
}

/// Every hint about a container. Labels speak for all containers of a pod, so they count only for the one that `is_main`.
pub(super) fn evidence(
    workload: &Workload,
    container: &Container,
    line: &CommandLine,
    is_main: bool,
) -> Vec<Evidence> {
    let mut found = Vec::new();
    let mut add = |source, detail: String, (language, weight): (Language, f64)| {
        found.push(Evidence {
            language,
            source,
            detail,
            weight,
        });
    };
    if is_main {
        for key in LABELS {
            let said = workload.pod_labels.get(key);
            let Some(value) = said.or_else(|| workload.pod_annotations.get(key)) else {
                continue;
            };
            // People say it for certain; a label of another tool may mean something else.
            let weight = if key == OWN_KEY { 1.0 } else { 0.9 };
            let language = words(value).iter().find_map(|word| of_word(word));
            if let Some((language, _)) = language {
                add(
                    EvidenceSource::Label,
                    format!("{key}: {value}"),
                    (language, weight),
                );
            }
        }
    }
    for program in &line.programs {
        if let Some(language) = of_program(program) {
            add(EvidenceSource::Command, program.clone(), (language, 0.95));
        }
    }
    for argument in &line.arguments {
        if let Some(language) = of_argument(argument) {
            add(EvidenceSource::Command, argument.clone(), (language, 0.85));
        }
    }
    for variable in &container.env {
        if let Some(language) = of_variable(&variable.name) {
            add(
                EvidenceSource::Environment,
                variable.name.clone(),
                (language, 0.8),
            );
        }
    }
    let owner = if is_main { workload.name.as_str() } else { "" };
    for (source, detail, hint) in from_names(container, owner) {
        add(source, detail, hint);
    }
    distinct(found)
}

/// Hints of the image and of the names that people gave.
fn from_names(
    container: &Container,
    owner: &str,
) -> Vec<(EvidenceSource, String, (Language, f64))> {
    let image = ImageName::of(&container.image);
    let mut found = Vec::new();
    for word in &image.words {
        found.extend(of_word(word).map(|hint| (EvidenceSource::Image, word.clone(), hint)));
    }
    for word in &image.tag_words {
        // Tags are mostly versions; only what is no common word there counts.
        let hint = of_word(word).filter(|(_, weight)| *weight > 0.8);
        found.extend(hint.map(|(language, weight)| {
            (
                EvidenceSource::Image,
                format!("tag {word}"),
                (language, weight - 0.2),
            )
        }));
    }
    for word in [container.name.as_str(), owner].into_iter().flat_map(words) {
        let hint = of_word(&word).filter(|(_, weight)| *weight > 0.65);
        found.extend(
            hint.map(|(language, weight)| (EvidenceSource::Name, word, (language, weight - 0.3))),
        );
    }
    found
}

/// Of equal hints from one place one counts.
fn distinct(found: Vec<Evidence>) -> Vec<Evidence> {
    let mut kept: Vec<Evidence> = Vec::new();
    for evidence in found {
        let is_same = |other: &Evidence| {
            other.source == evidence.source
                && other.language == evidence.language
                && other.detail == evidence.detail
        };
        if !kept.iter().any(is_same) {
            kept.push(evidence);
        }
    }
    kept
}

/// The language of a workload's first container that is one's own, as far as the manifest tells it.
pub fn language_of(workload: &Workload) -> Option<Language> {
    let mut own = workload.containers.iter();
    let main = own.find(|container| !is_of_others(&container.image))?;
    let line = CommandLine::of(&main.command, &main.args);
    match guess(&evidence(workload, main, &line, true)) {
        Guess::One(language, _) => Some(language),
        Guess::Several(..) | Guess::None => None,
    }
}

/// The language of a program that runs its code, for example `python3`.
pub fn language_of_program(program: &str) -> Option<Language> {
    of_program(program)
}

/// Whether an image, or a program, is a database or infrastructure: nobody instruments it himself.
pub fn is_of_others(image: &str) -> bool {
    let image = ImageName::of(image);
    image.database().is_some() || image.infrastructure().is_some()
}

/// What the hints come to. Of one place (two variables, two words of a name) the strongest counts: they are not independent.
pub(super) fn guess(evidence: &[Evidence]) -> Guess {
    let mut strongest: BTreeMap<(Language, EvidenceSource), f64> = BTreeMap::new();
    for hint in evidence {
        let weight = strongest.entry((hint.language, hint.source)).or_default();
        *weight = weight.max(hint.weight);
    }
    let mut doubts: BTreeMap<Language, f64> = BTreeMap::new();
    for ((language, _), weight) in strongest {
        *doubts.entry(language).or_insert(1.0) *= 1.0 - weight;
    }
    let mut ranked: Vec<(Language, f64)> = doubts
        .into_iter()
        .map(|(language, doubt)| (language, 1.0 - doubt))
        .collect();
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1));
    match ranked.as_slice() {
        [(first, high), (second, low), ..]
            if *high >= CONFIDENCE_MIN && high - low < CONFIDENCE_GAP && *high < 1.0 =>
        {
            Guess::Several(*first, *second)
        }
        [(language, confidence), ..] if *confidence >= CONFIDENCE_MIN => {
            Guess::One(*language, *confidence)
        }
        _ => Guess::None,
    }
}

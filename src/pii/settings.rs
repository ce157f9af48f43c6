//! Section `pii` of the configuration.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::pii::{Action, Kind};

/// Section `pii`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether anything is taken out at all. Default true.
    pub enabled: bool,
    /// What is done about each kind.
    pub actions: Actions,
    /// Secret of the hashes, at least 16 bytes; needed where an action is `hash`. The same key gives the same hashes, so
    /// that what was joined by a value is joined by its hash. Default none.
    pub hash_key: String,
    /// Which IP addresses in text are found; under keys that name a client all are. Default public.
    pub addresses: Addresses,
    /// Countries by whose rules numbers without a leading + are read where a word or a key says that they are telephone
    /// numbers.
    pub phone_regions: Vec<String>,
    /// What stays.
    pub allow: Allow,
    /// Further kinds.
    pub rules: Vec<Rule>,
}

impl Default for Config {
    fn default() -> Self {
        let regions = ["US", "GB", "DE", "FR", "ES", "IT", "NL", "PL", "IN", "AU"];
        Self {
            enabled: true,
            actions: Actions::default(),
            hash_key: String::new(),
            addresses: Addresses::Public,
            phone_regions: regions.map(str::to_owned).to_vec(),
            allow: Allow::default(),
            rules: Vec::new(),
        }
    }
}

/// Section `pii.actions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Actions {
    /// Of [`Kind::Email`].
    pub email: Action,
    /// Of [`Kind::Phone`].
    pub phone: Action,
    /// Of [`Kind::Card`].
    pub card: Action,
    /// Of [`Kind::Iban`].
    pub iban: Action,
    /// Of [`Kind::NationalId`].
    pub national_id: Action,
    /// Of [`Kind::IpAddress`].
    pub ip_address: Action,
    /// Of [`Kind::MacAddress`].
    pub mac_address: Action,
    /// Of [`Kind::Token`].
    pub token: Action,
    /// Of [`Kind::Jwt`].
    pub jwt: Action,
    /// Of [`Kind::PrivateKey`].
    pub private_key: Action,
    /// Of [`Kind::Authorization`].
    pub authorization: Action,
    /// Of [`Kind::Credential`].
    pub credential: Action,
    /// Of [`Kind::Person`].
    pub person: Action,
}

impl Actions {
    /// What is done about a kind.
    pub fn of(&self, kind: Kind) -> Action {
        match kind {
            Kind::Email => self.email,
            Kind::Phone => self.phone,
            Kind::Card => self.card,
            Kind::Iban => self.iban,
            Kind::NationalId => self.national_id,
            Kind::IpAddress => self.ip_address,
            Kind::MacAddress => self.mac_address,
            Kind::Token => self.token,
            Kind::Jwt => self.jwt,
            Kind::PrivateKey => self.private_key,
            Kind::Authorization => self.authorization,
            Kind::Credential => self.credential,
            Kind::Person => self.person,
        }
    }
}

/// Which IP addresses in text are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Addresses {
    /// Those outside of private, local and shared networks.
    #[default]
    Public,
    /// All, loopback too.
    All,
    /// None.
    None,
}

/// Section `pii.allow`: findings that stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// Exactly these.
    pub values: Vec<String>,
    /// Those that a regular expression matches as a whole.
    pub patterns: Vec<String>,
    /// Everything under these keys; `*` and `?` stand for any characters.
    pub keys: Vec<String>,
}

/// An element of `pii.rules`: a kind of one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Its name: lower-case letters, digits and `_`.
    pub name: String,
    /// A regular expression of what is found in any text. Default none.
    pub pattern: String,
    /// Keys whose whole values it is; `*` and `?` stand for any characters. Default none.
    pub keys: Vec<String>,
    /// What is done. Default redact.
    pub action: Action,
}

/// Why settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration key {key}: {message}")]
pub struct ConfigProblem {
    /// The key.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// Shorter secrets can be guessed.
const HASH_KEY_BYTES_MIN: usize = 16;

impl Config {
    /// Whether the values can be used, but for regular expressions.
    pub(super) fn check(&self) -> Result<(), ConfigProblem> {
        let mut actions = Kind::ALL.map(|kind| self.actions.of(kind)).to_vec();
        actions.extend(self.rules.iter().map(|rule| rule.action));
        if actions.contains(&Action::Hash) && self.hash_key.len() < HASH_KEY_BYTES_MIN {
            return Err(problem(
                "pii.hash_key",
                "must hold at least 16 bytes, since an action is `hash`; set it from a secret, for example by SLO_COPILOT__PII__HASH_KEY",
            ));
        }
        for (at, region) in self.phone_regions.iter().enumerate() {
            if region.parse::<phonenumber::country::Id>().is_err() {
                return Err(problem(
                    &format!("pii.phone_regions[{at}]"),
                    &format!("`{region}` is no country of two letters, for example US"),
                ));
            }
        }
        let mut names: BTreeSet<&str> = Kind::ALL.map(Kind::label).into();
        for (at, rule) in self.rules.iter().enumerate() {
            let is_name =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            let starts = rule
                .name
                .starts_with(|first: char| first.is_ascii_lowercase());
            let key = format!("pii.rules[{at}]");
            if !starts || !rule.name.bytes().all(is_name) {
                return Err(problem(
                    &format!("{key}.name"),
                    "must be of lower-case letters, digits and `_`, a letter first",
                ));
            }
            if !names.insert(&rule.name) {
                let message = format!("`{}` is the name of another kind", rule.name);
                return Err(problem(&format!("{key}.name"), &message));
            }
            if rule.pattern.is_empty() && rule.keys.is_empty() {
                return Err(problem(&key, "needs a `pattern` or `keys`"));
            }
        }
        Ok(())
    }
}

fn problem(key: &str, message: &str) -> ConfigProblem {
    ConfigProblem {
        key: key.to_owned(),
        message: message.to_owned(),
    }
}

/// The regular expression that a key holds.
pub(super) fn regex(key: &str, pattern: &str) -> Result<regex::Regex, ConfigProblem> {
    regex::Regex::new(pattern)
        .map_err(|error| problem(key, &format!("is no regular expression: {error}")))
}

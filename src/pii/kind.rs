//! Kinds of what is found, and what is done about them.

use serde::{Deserialize, Serialize};

/// A kind of personal data or secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// E-mail addresses.
    Email,
    /// Telephone numbers.
    Phone,
    /// Numbers of payment cards.
    Card,
    /// Bank accounts.
    Iban,
    /// Numbers that states give to people.
    NationalId,
    /// Addresses of clients, and public ones in text.
    IpAddress,
    /// Hardware addresses.
    MacAddress,
    /// Keys and tokens of known vendors.
    Token,
    /// JSON web tokens.
    Jwt,
    /// Private keys in PEM.
    PrivateKey,
    /// Credentials of authorization headers.
    Authorization,
    /// Passwords, secrets, cookies and sessions: in URLs, in pairs, under keys.
    Credential,
    /// Names, dates of birth, addresses and ids of people, told by their keys alone.
    Person,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Email,
        Self::Phone,
        Self::Card,
        Self::Iban,
        Self::NationalId,
        Self::IpAddress,
        Self::MacAddress,
        Self::Token,
        Self::Jwt,
        Self::PrivateKey,
        Self::Authorization,
        Self::Credential,
        Self::Person,
    ];

    /// As keys, labels and reports name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::NationalId => "national_id",
            Self::IpAddress => "ip_address",
            Self::MacAddress => "mac_address",
            Self::Token => "token",
            Self::Jwt => "jwt",
            Self::PrivateKey => "private_key",
            Self::Authorization => "authorization",
            Self::Credential => "credential",
            Self::Person => "person",
        }
    }

    /// Its place among the labels.
    pub(super) fn at(self) -> u16 {
        self as u16
    }
}

/// What is done about a finding.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A marker takes its place: `[EMAIL]`.
    #[default]
    Redact,
    /// A keyed hash takes its place, the same one each time: `[EMAIL:0123456789abcdef]`.
    Hash,
    /// The field goes; in a text without a field, what was found.
    Drop,
    /// It stays.
    Keep,
}

impl Action {
    /// As metrics name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Hash => "hash",
            Self::Drop => "drop",
            Self::Keep => "keep",
        }
    }
}

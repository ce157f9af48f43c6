//! Keys and tokens of known vendors, told by how they begin.

use crate::pii::Kind;
use crate::pii::detect::Hit;

/// Bytes that a token goes on with.
#[derive(Clone, Copy, Debug)]
enum Class {
    Alphanumeric,
    /// With `_` and `-`.
    Word,
    /// With dots, too.
    Dotted,
    /// Lower-case hexadecimal digits.
    Hex,
    /// With `/` and `=`, too.
    Path,
}

impl Class {
    fn holds(self, byte: u8) -> bool {
        match self {
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Path => {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'=' | b'+')
            }
        }
    }
}

/// How a token looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Its beginning, in its case.
    pub(super) literal: &'static str,
    /// What belongs to it before that.
    before: usize,
    class: Class,
    /// How many bytes follow.
    length: (usize, usize),
    /// How many digits are among them at least: words have none.
    digits: usize,
}

const fn shape(
    literal: &'static str,
    class: Class,
    length: (usize, usize),
    digits: usize,
) -> Shape {
    Shape {
        literal,
        before: 0,
        class,
        length,
        digits,
    }
}

const LONG: usize = 512;

pub(super) const SHAPES: &[Shape] = &[
    // Amazon: access key ids of users, roles, bearers and contexts.
    shape("AKIA", Class::Alphanumeric, (16, 16), 0),
    shape("ASIA", Class::Alphanumeric, (16, 16), 0),
    shape("ABIA", Class::Alphanumeric, (16, 16), 0),
    shape("ACCA", Class::Alphanumeric, (16, 16), 0),
    // GitHub.
    shape("ghp_", Class::Alphanumeric, (36, 255), 0),
    shape("gho_", Class::Alphanumeric, (36, 255), 0),
    shape("ghu_", Class::Alphanumeric, (36, 255), 0),
    shape("ghs_", Class::Alphanumeric, (36, 255), 0),
    shape("ghr_", Class::Alphanumeric, (36, 255), 0),
    shape("github_pat_", Class::Word, (22, 255), 0),
    // GitLab: personal, deploy, runner, trigger, feed, agent, application, feature-flag and CI tokens.
    shape("glpat-", Class::Dotted, (20, 300), 0),
    shape("gldt-", Class::Dotted, (20, 300), 0),
    shape("glrt-", Class::Dotted, (20, 300), 0),
    shape("glptt-", Class::Dotted, (20, 300), 0),
    shape("glft-", Class::Dotted, (20, 300), 0),
    shape("glagent-", Class::Dotted, (20, 300), 0),
    shape("gloas-", Class::Dotted, (20, 300), 0),
    shape("glcbt-", Class::Dotted, (20, 300), 0),
    shape("glsoat-", Class::Dotted, (20, 300), 0),
    shape("glffct-", Class::Dotted, (20, 300), 0),
    // Slack.
    shape("xoxb-", Class::Word, (10, 255), 1),
    shape("xoxp-", Class::Word, (10, 255), 1),
    shape("xoxa-", Class::Word, (10, 255), 1),
    shape("xoxr-", Class::Word, (10, 255), 1),
    shape("xoxs-", Class::Word, (10, 255), 1),
    shape("xoxe-", Class::Word, (10, 255), 1),
    shape("xoxe.xox", Class::Dotted, (10, 255), 1),
    shape("xapp-", Class::Word, (10, 255), 1),
    shape("hooks.slack.com/services/", Class::Path, (20, 255), 0),
    shape("hooks.slack.com/workflows/", Class::Path, (20, 255), 0),
    // Stripe.
    shape("sk_live_", Class::Alphanumeric, (10, 255), 0),
    shape("sk_test_", Class::Alphanumeric, (10, 255), 0),
    shape("rk_live_", Class::Alphanumeric, (10, 255), 0),
    shape("rk_test_", Class::Alphanumeric, (10, 255), 0),
    shape("whsec_", Class::Alphanumeric, (16, 255), 0),
    // Google: API keys, access tokens, client secrets.
    shape("AIza", Class::Word, (35, 35), 1),
    shape("ya29.", Class::Dotted, (20, LONG), 1),
    shape("GOCSPX-", Class::Word, (20, 64), 0),
    // OpenAI, Anthropic, OpenRouter, DeepSeek and their like.
    shape("sk-", Class::Word, (20, 255), 2),
    // Packages: npm, PyPI, RubyGems, crates.io, Docker Hub.
    shape("npm_", Class::Alphanumeric, (36, 36), 0),
    shape("pypi-", Class::Word, (50, LONG), 1),
    shape("rubygems_", Class::Hex, (48, 48), 1),
    shape("dckr_pat_", Class::Word, (20, 64), 0),
    // Mail and messages: SendGrid, Brevo, Mailgun, Twilio.
    shape("SG.", Class::Dotted, (40, 90), 1),
    shape("xkeysib-", Class::Word, (64, 100), 1),
    shape("key-", Class::Alphanumeric, (32, 32), 3),
    shape("SK", Class::Hex, (32, 32), 3),
    // Clouds: DigitalOcean, Databricks, Cloudflare's Origin CA, Azure's client secrets.
    shape("dop_v1_", Class::Hex, (64, 64), 1),
    shape("doo_v1_", Class::Hex, (64, 64), 1),
    shape("dor_v1_", Class::Hex, (64, 64), 1),
    shape("dapi", Class::Hex, (32, 32), 3),
    shape("v1.0-", Class::Hex, (24, 24), 3),
    Shape {
        literal: "Q~",
        before: 4,
        class: Class::Dotted,
        length: (31, 34),
        digits: 0,
    },
    // HashiCorp Vault, Terraform, Hugging Face, Shopify, Square, New Relic, Grafana, Sentry, Linear, Dynatrace, Postman.
    shape("hvs.", Class::Word, (24, LONG), 0),
    shape("hvb.", Class::Word, (24, LONG), 0),
    shape("hf_", Class::Alphanumeric, (34, 40), 0),
    shape("shpat_", Class::Alphanumeric, (32, 32), 1),
    shape("shpca_", Class::Alphanumeric, (32, 32), 1),
    shape("shppa_", Class::Alphanumeric, (32, 32), 1),
    shape("shpss_", Class::Alphanumeric, (32, 32), 1),
    shape("sq0atp-", Class::Word, (22, 22), 0),
    shape("sq0csp-", Class::Word, (43, 43), 0),
    shape("NRAK-", Class::Alphanumeric, (27, 27), 0),
    shape("glsa_", Class::Word, (32, 60), 1),
    shape("glc_", Class::Path, (32, 400), 1),
    shape("sntrys_", Class::Path, (32, LONG), 1),
    shape("lin_api_", Class::Alphanumeric, (40, 40), 1),
    shape("dt0c01.", Class::Dotted, (60, 100), 1),
    shape("PMAK-", Class::Word, (50, 70), 1),
    // age.
    shape("AGE-SECRET-KEY-1", Class::Alphanumeric, (58, 58), 0),
];

impl Shape {
    /// The token at a place where its literal may stand.
    pub(super) fn find(&self, text: &str, at: usize) -> Option<Hit> {
        let bytes = text.as_bytes();
        let rest = bytes.get(at..)?.strip_prefix(self.literal.as_bytes())?;
        let length = rest
            .iter()
            .take_while(|byte| self.class.holds(**byte))
            .count();
        let tail = rest.get(..length)?;
        // A full stop, or a hyphen, after a token ends the sentence.
        let trimmed = tail
            .iter()
            .rev()
            .take_while(|byte| matches!(**byte, b'.' | b'-'));
        let length = length - trimmed.count();
        let digits = tail.iter().filter(|byte| byte.is_ascii_digit()).count();
        let start = at.checked_sub(self.before)?;
        let own = bytes.get(start..at)?;
        let ahead = start.checked_sub(1).and_then(|before| bytes.get(before));
        let begins = !ahead.is_some_and(u8::is_ascii_alphanumeric)
            && own.iter().all(|byte| self.class.holds(*byte));
        let (least, most) = self.length;
        let is_whole = (least..=most).contains(&length) && digits >= self.digits;
        // The class may end where a longer word does not.
        let goes_on = rest.get(length).is_some_and(u8::is_ascii_alphanumeric);
        (begins && is_whole && !goes_on).then(|| Hit {
            start,
            end: at + self.literal.len() + length,
            label: Kind::Token.at(),
        })
    }
}

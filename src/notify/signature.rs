//! Signatures of webhooks, as Standard Webhooks has them: HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// What secrets begin with; it may be left out.
const PREFIX: &str = "whsec_";

/// Bytes of a secret, by the standard.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs messages. Its secret is shown nowhere.
#[derive(Clone)]
pub(super) struct Signer(hmac::Key);

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Signer")
    }
}

impl Signer {
    /// From `whsec_` and the secret in base64; what is wrong with it does not quote it.
    pub(super) fn new(secret: &str) -> Result<Self, &'static str> {
        let secret = secret.trim();
        let encoded = secret.strip_prefix(PREFIX).unwrap_or(secret);
        let bytes = STANDARD.decode(encoded).ok();
        let bytes = bytes.filter(|bytes| SECRET_BYTES.contains(&bytes.len()));
        let bytes = bytes.ok_or(
            "the secret must be `whsec_` and 24 to 64 bytes in base64; make one with: echo whsec_$(openssl rand -base64 32)",
        )?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the libraries of Standard Webhooks test themselves with.
    #[test]
    fn the_published_vector_is_signed_as_published() {
        let (id, timestamp) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330);
        let body = br#"{"test": 2432232314}"#;
        for secret in [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
        ] {
            let signer = Signer::new(secret).unwrap();
            assert_eq!(
                signer.sign(id, timestamp, body),
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
            );
            assert_ne!(
                signer.sign(id, timestamp + 1, body),
                signer.sign(id, timestamp, body)
            );
        }
    }

    #[test]
    fn a_secret_that_is_none_is_refused_and_never_shown() {
        for secret in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "whsec_not base64 at all, but long enough",
        ] {
            let refused = Signer::new(secret).unwrap_err();
            assert!(refused.contains("openssl rand"), "{refused}");
        }
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{signer:?}"), "Signer");
    }
}

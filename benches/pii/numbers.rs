//! Numbers and ids as telemetry is full of them.

use std::fmt::Write;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// So many numbers and ids, each with a key under which such a thing stands.
pub(crate) fn all(count: u64) -> impl Iterator<Item = (&'static str, String)> {
    let mut random = StdRng::seed_from_u64(1);
    (0..count).map(move |at| one(&mut random, at % 24))
}

fn one(random: &mut StdRng, which: u64) -> (&'static str, String) {
    let (high, low): (u64, u64) = (random.random(), random.random());
    let nanos = random.random_range(1_400_000_000_000_000_000..2_000_000_000_000_000_000_u64);
    match which {
        0 => ("startTimeUnixNano", nanos.to_string()),
        1 => ("observed", nanos.to_string()),
        2 => ("traceId", format!("{high:016x}{low:016x}")),
        3 => ("parent", format!("{high:016x}{low:016x}")),
        4 => ("spanId", format!("{high:016x}")),
        5 => ("app.value", high.cast_signed().to_string()),
        6 => ("app.value", low.to_string()),
        7 => ("messaging.message.id", uuid(high, low)),
        8 => ("app.reference", uuid(high, low).to_uppercase()),
        9 => (
            "traceparent",
            format!("00-{high:016x}{low:016x}-{high:016x}-01"),
        ),
        10 => (
            "elapsed",
            format!("{}.{:06}", high % 100_000, low % 1_000_000),
        ),
        11 => (
            "app.version",
            format!("{}.{}.{}", high % 30, low % 60, high % 5_000),
        ),
        12 => (
            "app.release",
            format!("v{}.{}.{}.{}", high % 30, low % 60, high % 256, low % 256),
        ),
        13 => ("server.port", (high % 65_536).to_string()),
        14 => ("app.epoch", (nanos / 1_000_000).to_string()),
        15 => ("app.seconds", (nanos / 1_000_000_000).to_string()),
        16 => (
            "net.peer",
            format!(
                "10.{}.{}.{}:{}",
                high % 256,
                low % 256,
                high % 251,
                low % 65_536
            ),
        ),
        // As long as cards, and as the numbers of people.
        17 => (
            "app.number",
            (high % 9_000_000_000_000_000 + 1_000_000_000_000_000).to_string(),
        ),
        18 => (
            "app.number",
            (high % 90_000_000_000 + 10_000_000_000).to_string(),
        ),
        19 => ("app.number", (high % 900_000_000 + 100_000_000).to_string()),
        20 => (
            "app.number",
            (high % 9_000_000_000 + 1_000_000_000).to_string(),
        ),
        21 => (
            "app.digest",
            format!("sha256:{high:016x}{low:016x}{low:016x}{high:016x}"),
        ),
        22 => (
            "app.time",
            jiff::Timestamp::from_nanosecond(i128::from(nanos))
                .unwrap()
                .to_string(),
        ),
        _ => ("app.key", base62(high, low)),
    }
}

fn uuid(high: u64, low: u64) -> String {
    let (time, version) = (
        format!("{:08x}-{:04x}", high >> 32, (high >> 16) & 0xffff),
        high & 0xfff,
    );
    let (variant, node) = ((low >> 48) & 0x3fff | 0x8000, low & 0xffff_ffff_ffff);
    format!("{time}-4{version:03x}-{variant:04x}-{node:012x}")
}

fn base62(mut high: u64, mut low: u64) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::new();
    for _ in 0..11 {
        text.push(char::from(DIGITS[(high % 62) as usize]));
        text.push(char::from(DIGITS[(low % 62) as usize]));
        (high, low) = (high / 62, low / 62);
    }
    text
}

/// A request of OTLP/JSON.
pub(crate) fn spans(count: u64) -> String {
    let mut random = StdRng::seed_from_u64(2);
    let mut text = String::from("{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[");
    for at in 0..count {
        let comma = if at == 0 { "" } else { "," };
        let ids = [
            one(&mut random, 2).1,
            one(&mut random, 4).1,
            one(&mut random, 0).1,
        ];
        let [trace, span, nanos] = ids;
        write!(
            text,
            "{comma}{{\"traceId\":\"{trace}\",\"spanId\":\"{span}\",\"name\":\"GET /orders/{{id}}\",\"kind\":2,\"startTimeUnixNano\":\"{nanos}\",\"endTimeUnixNano\":\"{nanos}\",\"attributes\":[{{\"key\":\"http.request.method\",\"value\":{{\"stringValue\":\"GET\"}}}},{{\"key\":\"url.path\",\"value\":{{\"stringValue\":\"/orders/{at}\"}}}},{{\"key\":\"http.response.status_code\",\"value\":{{\"intValue\":\"200\"}}}},{{\"key\":\"user_agent.original\",\"value\":{{\"stringValue\":\"Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0\"}}}}]}}"
        )
        .unwrap();
    }
    text.push_str("]}]}]}");
    text
}

//! The guardrail as a whole.

use std::fmt::Write;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

fn check(rows: &[(&str, &str)]) {
    let scrubber = Scrubber::default();
    let mut wrong = String::new();
    for (text, wanted) in rows {
        let got = scrubber.scrub_text(text, &mut Counts::default());
        if got != *wanted {
            writeln!(wrong, "{text}\n  wanted {wanted}\n  got    {got}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_key_says_that_four_numbers_are_a_version() {
    let scrubber = Scrubber::default();
    let field = |key: &str| scrubber.scrub_field(key, "8.8.4.4", &mut Counts::default());
    for key in ["version", "app.version", "agentVersion", "build"] {
        assert_eq!(field(key), FieldOutcome::Unchanged, "{key}");
    }
    for key in ["conversion", "note", "request.id"] {
        let found = FieldOutcome::Changed("[IP_ADDRESS]".to_owned());
        assert_eq!(field(key), found, "{key}");
    }
}

#[test]
fn people_and_their_numbers_give_way_to_markers() {
    check(&[
        ("mail alice@example.com now", "mail [EMAIL] now"),
        (
            "Łukasz.Żak@poczta.pl, o'neil+x@mail.example.co.uk.",
            "[EMAIL], [EMAIL].",
        ),
        ("/u/alice%40example.com/inbox", "/u/[EMAIL]/inbox"),
        ("phone 415-555-0199@a.com call", "phone [EMAIL] call"),
        ("rang +44 20 7946 0958 twice", "rang [PHONE] twice"),
        ("tel:+14155552671", "tel:[PHONE]"),
        (
            "phone (415) 555-2671, 2026-11-25",
            "phone [PHONE], 2026-11-25",
        ),
        (
            "paid with 4111 1111 1111 1111 today",
            "paid with [CARD] today",
        ),
        ("3782-822463-10005", "[CARD]"),
        ("card 4111111111111111 declined", "card [CARD] declined"),
        ("5555555555554444 (mastercard)", "[CARD] (mastercard)"),
        (
            "cardNumber=4111111111111111 exp 12/27",
            "cardNumber=[CARD] exp 12/27",
        ),
        ("to DE89 3704 0044 0532 0130 00 SOON", "to [IBAN] SOON"),
        ("GB82WEST12345698765432", "[IBAN]"),
        ("iban: de89 3704 0044 0532 0130 00", "iban: [IBAN]"),
        ("IBAN=gb82west12345698765432;", "IBAN=[IBAN];"),
        (
            "FR14\u{a0}2004\u{a0}1010\u{a0}0505\u{a0}0001\u{a0}3M02\u{a0}606",
            "[IBAN]",
        ),
        ("4111\u{a0}1111\u{a0}1111\u{a0}1111", "[CARD]"),
        ("3782\u{202f}822463\u{202f}10005.", "[CARD]."),
        ("ssn is 536-90-4399.", "ssn is [NATIONAL_ID]."),
        ("SSN 536904399", "SSN [NATIONAL_ID]"),
        (
            "NINO AB 12 34 56 C and DNI 12345678Z",
            "NINO [NATIONAL_ID] and DNI [NATIONAL_ID]",
        ),
        ("cf RSSMRA85T10A562S", "cf [NATIONAL_ID]"),
        ("Steuer-ID 86 095 742 719", "Steuer-ID [NATIONAL_ID]"),
        ("PESEL: 44051401359", "PESEL: [NATIONAL_ID]"),
        ("NIR 1 85 05 78 006 084 91", "NIR [NATIONAL_ID]"),
        (
            "from 8.8.8.8:53 and 2001:db8::ff00:42:8329",
            "from [IP_ADDRESS]:53 and [IP_ADDRESS]",
        ),
        ("[2001:db8::1]:443", "[[IP_ADDRESS]]:443"),
        ("nic mac:00:1b:44:11:3a:b7 up", "nic mac:[MAC_ADDRESS] up"),
    ]);
}

/// None of these keys was ever given to anybody: they are made up, or stand in their vendors' documentation.
#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn secrets_give_way_to_markers() {
    let long = "Ab1".repeat(20);
    let rows: Vec<(String, &str)> = vec![
        ("key AKIAIOSFODNN7EXAMPLE.".to_owned(), "key [TOKEN]."),
        (format!("ghp_{}", &long[..36]), "[TOKEN]"),
        (format!("use glpat-{} now", &long[..20]), "use [TOKEN] now"),
        (format!("xoxb-{}", &long[..24]), "[TOKEN]"),
        (format!("sk_live_{}", &long[..24]), "[TOKEN]"),
        (format!("AIza{}", &long[..35]), "[TOKEN]"),
        (format!("sk-proj-{}", &long[..48]), "[TOKEN]"),
        (format!("npm_{}", &long[..36]), "[TOKEN]"),
        (format!("SG.{}.{}", &long[..22], &long[..43]), "[TOKEN]"),
        (format!("SK{}", "0123456789abcdef".repeat(2)), "[TOKEN]"),
        (format!("abc8Q~{}", &long[..34]), "[TOKEN]"),
        (
            format!("https://hooks.slack.com/services/T0/B0/{}", &long[..24]),
            "https://[TOKEN]",
        ),
        (
            "t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl!".to_owned(),
            "t=[JWT]!",
        ),
        (
            "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b".to_owned(),
            "a [PRIVATE_KEY] b",
        ),
        (
            "a -----BEGIN PRIVATE KEY-----\nMIIE".to_owned(),
            "a [PRIVATE_KEY]",
        ),
        (
            "Authorization: Bearer abcdef123456".to_owned(),
            "Authorization: Bearer [AUTHORIZATION]",
        ),
        (
            "authorization=Basic dXNlcjpwYXNz".to_owned(),
            "authorization=Basic [AUTHORIZATION]",
        ),
        (
            r#"{"Authorization":"Token 9944b09199c62bcf"}"#.to_owned(),
            r#"{"Authorization":"Token [AUTHORIZATION]"}"#,
        ),
        (
            "Authorization: AWS4-HMAC-SHA256 Credential=X/1, Signature=ab".to_owned(),
            "Authorization: AWS4-HMAC-SHA256 [AUTHORIZATION]",
        ),
        (
            "sent bearer abcdef123456 to".to_owned(),
            "sent bearer [AUTHORIZATION] to",
        ),
        (
            "postgres://app:s3cret@db:5432/shop".to_owned(),
            "postgres://[CREDENTIAL]@db:5432/shop",
        ),
        (
            "/cb?code=abc&state=1&access_token=xyz#f".to_owned(),
            "/cb?code=[CREDENTIAL]&state=1&access_token=[CREDENTIAL]",
        ),
        (
            "PWD = 'hunter2' and dbPassword=x".to_owned(),
            "PWD = '[CREDENTIAL]' and dbPassword=[CREDENTIAL]",
        ),
        (
            r#"{"password": "a b", "max_tokens": 5}"#.to_owned(),
            r#"{"password": "[CREDENTIAL]", "max_tokens": 5}"#,
        ),
        (
            r#"{\"secret\":\"x\"}"#.to_owned(),
            r#"{\"secret\":\"[CREDENTIAL]\"}"#,
        ),
        ("Cookie: a=b; c=d".to_owned(), "Cookie: [CREDENTIAL]"),
    ];
    let rows: Vec<(&str, &str)> = rows
        .iter()
        .map(|(text, wanted)| (&**text, *wanted))
        .collect();
    check(&rows);
}

#[test]
fn what_only_looks_like_it_stays() {
    let scrubber = Scrubber::default();
    for text in [
        "git@github.com:rust-lang/rust.git",
        "lodash@4.17.21",
        "pkg@1.0.0-beta.rc",
        "icon@2x.png",
        "user@localhost",
        "4111111111111111",
        "order 4111111111111111 shipped",
        "4111 1111 1111 1112",
        "1700000000000000000",
        "2026-11-25T16:29:02.123456789Z",
        "call at 2026-11-25 16:29:02",
        "9f86d081-8841-4c7d-a659-123456789012",
        "41111111-1111-1111-1111-111111111111",
        "0123456789abcdef0123456789abcdef",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "10.0.0.7:8080 and 127.0.0.1 and fe80::1 and ::1",
        "v1.2.3.4 version 8.8.8.8 Agent/8.8.8.8",
        "std::vec and a::b",
        "16:29:02",
        "aa:bb:cc:dd:ee:ff:00:11",
        "000-12-3456",
        "DE89 3704 0044 0532 0130 01",
        "task-list and sk-learn-is-a-library-of-python",
        "basic authentication failed, bearer authentication too",
        "password: required",
        "invalid token: expected `;`",
        "password=${DB_PASSWORD}",
        "max_tokens=100&page=2&key=",
        "discard 4111111111111111",
        "https://example.com/a@b",
        "offset +1234567890",
        "GET /api/v1/users/{id}",
        "eyJustAWord",
        "-----BEGIN CERTIFICATE-----",
        "authorization: denied",
        "TCP 443 open",
        "",
    ] {
        let mut counts = Counts::default();
        assert_eq!(scrubber.scrub_text(text, &mut counts), text);
        assert!(counts.is_empty(), "{text}");
    }
}

#[test]
fn a_key_decides_as_strongly_as_a_value() {
    let scrubber = Scrubber::default();
    let after =
        |key: &str, value: &str| match scrubber.scrub_field(key, value, &mut Counts::default()) {
            FieldOutcome::Unchanged => value.to_owned(),
            FieldOutcome::Changed(text) => text,
            FieldOutcome::Dropped => "gone".to_owned(),
        };
    for (key, value, wanted) in [
        ("user.email", "alice", "[EMAIL]"),
        ("enduser.id", "u-17", "[PERSON]"),
        (
            "http.request.header.authorization",
            "anything",
            "[AUTHORIZATION]",
        ),
        ("db.password", "x", "[CREDENTIAL]"),
        ("client.address", "10.0.0.1", "[IP_ADDRESS]"),
        ("server.address", "8.8.8.8", "8.8.8.8"),
        ("card", "4111111111111112", "[CARD]"),
        ("card", "visa", "visa"),
        ("card.info", "4111111111111111 12/27", "[CARD] 12/27"),
        ("card.id", "4111111111111111", "4111111111111111"),
        ("phone.note", "415-555-2671", "[PHONE]"),
        ("email.sent", "true", "true"),
        ("order.id", "+14155552671", "+14155552671"),
        ("service.version", "8.8.8.8", "8.8.8.8"),
        ("service.name", "a@b.example", "a@b.example"),
        ("user.email", "[EMAIL]", "[EMAIL]"),
        ("user.email", "", ""),
    ] {
        assert_eq!(after(key, value), wanted, "{key}={value}");
    }
    let number = |key: &str| scrubber.scrub_number(key, "4111111111111111", &mut Counts::default());
    assert_eq!(
        number("card_number"),
        FieldOutcome::Changed("[CARD]".to_owned())
    );
    for key in ["startTimeUnixNano", "amount", "", "card.id", "traceId"] {
        assert_eq!(number(key), FieldOutcome::Unchanged, "{key}");
    }
}

fn with(change: impl FnOnce(&mut Config)) -> Scrubber {
    let mut config = Config::default();
    change(&mut config);
    Scrubber::new(&config).unwrap()
}

#[test]
fn a_hash_is_the_same_for_the_same_value_and_another_one_under_another_key() {
    let hashing = |key: &str| {
        with(|config| {
            config.hash_key = key.to_owned();
            config.actions.email = Action::Hash;
        })
    };
    let text = "a@b.example a@b.example c@b.example";
    let first = hashing("0123456789abcdef")
        .scrub_text(text, &mut Counts::default())
        .into_owned();
    let parts: Vec<&str> = first.split(' ').collect();
    assert_eq!(parts[0], parts[1]);
    assert_ne!(parts[0], parts[2]);
    // python3 -c "import hmac;print(hmac.new(b'0123456789abcdef',b'a@b.example','sha256').hexdigest()[:16])"
    assert_eq!(parts[0], "[EMAIL:e9926fca69a8040d]");
    let second = hashing("fedcba9876543210")
        .scrub_text(text, &mut Counts::default())
        .into_owned();
    assert_ne!(first, second);
    let again = hashing("fedcba9876543210")
        .scrub_text(&first, &mut Counts::default())
        .into_owned();
    assert_eq!(again, first);
}

#[test]
fn kinds_can_be_dropped_kept_and_allowed() {
    let scrubber = with(|config| {
        config.actions.email = Action::Drop;
        config.actions.ip_address = Action::Keep;
        config.allow.values = vec!["+14155552671".to_owned()];
        config.allow.patterns = vec![r".*@ours\.example".to_owned()];
        config.allow.keys = vec!["debug.*".to_owned()];
    });
    let mut counts = Counts::default();
    let text = scrubber.scrub_text(
        "a@b.example 8.8.8.8 +14155552671 x@ours.example",
        &mut counts,
    );
    assert_eq!(text, " 8.8.8.8 +14155552671 x@ours.example");
    assert_eq!(
        scrubber.scrub_field("owner", "by a@b.example", &mut counts),
        FieldOutcome::Dropped
    );
    assert_eq!(
        scrubber.scrub_field("debug.mail", "a@b.example", &mut counts),
        FieldOutcome::Unchanged
    );
    let json = serde_json::to_value(&counts).unwrap();
    let wanted = serde_json::json!([{"kind": "email", "action": "drop", "count": 2, "fields": {"owner": 1}}]);
    assert_eq!(json, wanted);
    let off = with(|config| config.enabled = false);
    assert_eq!(off.scrub_text("a@b.example", &mut counts), "a@b.example");
}

#[test]
fn rules_of_the_configuration_are_kinds_of_their_own() {
    let scrubber = with(|config| {
        config.rules = vec![Rule {
            name: "employee".to_owned(),
            pattern: "EMP-[0-9]{4}".to_owned(),
            keys: vec!["staff.*".to_owned()],
            action: Action::Redact,
        }];
    });
    let mut counts = Counts::default();
    assert_eq!(
        scrubber.scrub_text("by EMP-0017", &mut counts),
        "by [EMPLOYEE]"
    );
    let changed = FieldOutcome::Changed("[EMPLOYEE]".to_owned());
    assert_eq!(
        scrubber.scrub_field("staff.name", "Bob", &mut counts),
        changed
    );
    assert_eq!(counts.of("employee"), 2);
}

#[test]
fn settings_that_cannot_work_are_refused_by_their_key() {
    let rule = |name: &str, pattern: &str| Rule {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        ..Rule::default()
    };
    let rows: [(Config, &str); 6] = [
        (
            Config {
                actions: Actions {
                    email: Action::Hash,
                    ..Actions::default()
                },
                ..Config::default()
            },
            "pii.hash_key",
        ),
        (
            Config {
                phone_regions: vec!["Mars".to_owned()],
                ..Config::default()
            },
            "pii.phone_regions[0]",
        ),
        (
            Config {
                rules: vec![rule("email", "x")],
                ..Config::default()
            },
            "pii.rules[0].name",
        ),
        (
            Config {
                rules: vec![rule("own", "")],
                ..Config::default()
            },
            "pii.rules[0]",
        ),
        (
            Config {
                rules: vec![rule("own", "(")],
                ..Config::default()
            },
            "pii.rules[0].pattern",
        ),
        (
            Config {
                allow: Allow {
                    patterns: vec!["(".to_owned()],
                    ..Allow::default()
                },
                ..Config::default()
            },
            "pii.allow.patterns[0]",
        ),
    ];
    for (config, key) in rows {
        assert_eq!(Scrubber::new(&config).unwrap_err().key, key);
    }
}

#[test]
fn json_keeps_its_layout_and_whatever_names_nobody() {
    let text = r#" {"a@b.example" : 1,  "card":4111111111111111, "n": 4111111111111111,
  "list": ["x", "\u0061@b.example"], "startTimeUnixNano": "4111111111111111", "f": 1.50e2 } "#;
    let wanted = r#" {"[EMAIL]" : 1,  "card":"[CARD]", "n": 4111111111111111,
  "list": ["x", "[EMAIL]"], "startTimeUnixNano": "4111111111111111", "f": 1.50e2 } "#;
    let scrubber = Scrubber::default();
    assert_eq!(
        scrubber
            .scrub_json_text(text, &mut Counts::default())
            .unwrap(),
        wanted
    );
}

#[test]
fn pairs_of_key_and_value_are_fields() {
    let text = r#"[{"key":"user.email","value":{"stringValue":"al"}},{"key":"card","value":{"intValue":"4111111111111111"}},{"key":"n","value":{"intValue":"4111111111111111"}},{"key":"l","value":{"arrayValue":{"values":[{"stringValue":"a@b.example"}]}}},{"key":"m","value":{"kvlistValue":{"values":[{"key":"ssn","value":{"stringValue":"536904399"}}]}}},{"key":"phone","type":"int64","value":4155552671}]"#;
    let wanted = r#"[{"key":"user.email","value":{"stringValue":"[EMAIL]"}},{"key":"card","value":{"stringValue":"[CARD]"}},{"key":"n","value":{"intValue":"4111111111111111"}},{"key":"l","value":{"arrayValue":{"values":[{"stringValue":"[EMAIL]"}]}}},{"key":"m","value":{"kvlistValue":{"values":[{"key":"ssn","value":{"stringValue":"[NATIONAL_ID]"}}]}}},{"key":"phone","type":"int64","value":"[PHONE]"}]"#;
    assert_eq!(
        Scrubber::default()
            .scrub_json_text(text, &mut Counts::default())
            .unwrap(),
        wanted
    );
}

#[test]
fn what_is_dropped_leaves_json_that_can_be_read() {
    let scrubber = with(|config| config.actions.email = Action::Drop);
    let dropped = |text: &str| {
        scrubber
            .scrub_json_text(text, &mut Counts::default())
            .unwrap()
            .into_owned()
    };
    for (text, wanted) in [
        (r#"{"a":"x@y.example","b":1}"#, r#"{"b":1}"#),
        (r#"{"b":1, "a":"x@y.example"}"#, r#"{"b":1}"#),
        (r#"{"b":1,"a":"x@y.example","c":2}"#, r#"{"b":1,"c":2}"#),
        (r#"{"a":"x@y.example","b":"x@y.example"}"#, "{}"),
        (
            r#"{"a":"x@y.example","b":"x@y.example","c":3}"#,
            r#"{"c":3}"#,
        ),
        (
            r#"["p", "x@y.example", "x@y.example", "q"]"#,
            r#"["p", "q"]"#,
        ),
        (r#"{"l":["x@y.example"],"m":[]}"#, r#"{"m":[]}"#),
        (
            r#"[{"key":"k","value":{"stringValue":"x@y.example"}},{"key":"n","value":{"intValue":"1"}}]"#,
            r#"[{"key":"n","value":{"intValue":"1"}}]"#,
        ),
        (r#""x@y.example""#, "null"),
    ] {
        assert_eq!(dropped(text), wanted, "{text}");
    }
}

#[test]
fn json_that_cannot_be_read_says_where() {
    let scrubber = Scrubber::default();
    for (text, at) in [
        ("{", 1),
        (r#"{"a" 1}"#, 5),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("nope", 4),
        ("\"a", 2),
        ("{a:1}", 1),
    ] {
        let problem = scrubber
            .scrub_json_text(text, &mut Counts::default())
            .unwrap_err();
        assert_eq!(problem.at, at, "{text}: {problem}");
    }
    let deep = "[".repeat(100_000);
    assert!(
        scrubber
            .scrub_json_text(&deep, &mut Counts::default())
            .is_err()
    );
}

/// Pieces that detectors look for, so that random texts hold them in every neighbourhood.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -~é\n]{0,6}",
        "[0-9 .:-]{1,12}",
        "[0-9a-f:]{1,20}",
        prop::sample::select(vec![
            "a@b.example",
            "%40",
            "://",
            "u:p@",
            "4111 1111 1111 1111",
            "4111111111111111",
            "card ",
            "phone ",
            "415-555-2671",
            "+14155552671",
            "536-90-4399",
            "DE89370400440532013000",
            "8.8.8.8",
            "2001:db8::1",
            "00:1b:44:11:3a:b7",
            "AKIAIOSFODNN7EXAMPLE",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.",
            "bearer abcdef123456",
            "password=",
            "token: ",
            "?code=",
            "authorization: ",
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----",
            "[EMAIL]",
            "[CARD:",
            "0123456789abcdef]",
            "Cookie: a=",
            "\"",
            "'",
            "\\",
            "Basic dXNlcjpwYXNz",
            "12345678Z",
            "SSN ",
            "536904399",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// The text without markers, redacting and hashing ones.
fn without_markers(text: &str) -> String {
    let labels = replace::labels(&Config::default());
    let mut plain = String::new();
    let mut at = 0;
    for (start, end) in replace::markers(&labels, text) {
        plain.push_str(&text[at..start]);
        at = end;
    }
    plain + &text[at..]
}

fn is_subsequence(part: &str, whole: &str) -> bool {
    let mut whole = whole.chars();
    part.chars().all(|wanted| whole.any(|own| own == wanted))
}

/// One by the default settings, and one with all actions and more addresses.
static SCRUBBERS: LazyLock<[Scrubber; 2]> = LazyLock::new(|| {
    let mixed = with(|config| {
        config.addresses = Addresses::All;
        config.hash_key = "0123456789abcdef".to_owned();
        config.actions.email = Action::Hash;
        config.actions.card = Action::Hash;
        config.actions.token = Action::Drop;
        config.actions.phone = Action::Drop;
    });
    [Scrubber::default(), mixed]
});

proptest! {
    #[test]
    fn property_what_is_left_stood_there_and_scrubbing_again_changes_nothing(text in pieces()) {
        for scrubber in &*SCRUBBERS {
            let once = scrubber.scrub_text(&text, &mut Counts::default()).into_owned();
            prop_assert!(is_subsequence(&without_markers(&once), &text), "{text:?} → {once:?}");
            let mut counts = Counts::default();
            prop_assert_eq!(scrubber.scrub_text(&once, &mut counts), &*once);
            prop_assert!(counts.is_empty());
        }
    }

    #[test]
    fn property_json_stays_json_of_the_same_shape(texts in prop::collection::vec((pieces(), pieces()), 0..4)) {
        let pairs = texts.iter().map(|(key, text)| (key.clone(), serde_json::json!([text, 1, {"in": text}])));
        let value = serde_json::Value::Object(pairs.collect());
        for scrubber in &*SCRUBBERS {
            let text = value.to_string();
            let once = scrubber.scrub_json_text(&text, &mut Counts::default()).unwrap().into_owned();
            prop_assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok(), "{once}");
            let twice = scrubber.scrub_json_text(&once, &mut Counts::default()).unwrap();
            prop_assert_eq!(&*twice, &*once);
        }
    }

    /// What OTLP/JSON is full of, as texts and as numbers of JSON.
    #[test]
    fn property_numbers_and_ids_of_telemetry_stay(
        nanos in 1_500_000_000_000_000_000_u64..2_000_000_000_000_000_000,
        long in any::<i64>(),
        high in any::<u64>(),
        low in any::<u64>(),
        small in any::<u16>(),
        version in (0..99_u8, 0..99_u8, 0..999_u16),
    ) {
        let (x, y, z) = version;
        let texts = [
            nanos.to_string(),
            long.to_string(),
            format!("{high:016x}{low:016x}"),
            format!("{high:016x}"),
            format!("{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}", high >> 32, high & 0xffff, low >> 52, (low >> 40) & 0xfff, low & 0xffff_ffff_ffff),
            format!("{small}"),
            format!("{x}.{y}.{z}"),
            format!("v{x}.{y}.{z}.{small}"),
            format!("{small}.{z:03}ms"),
            format!("00-{high:016x}{low:016x}-{high:016x}-01"),
            format!("10.{x}.{y}.7:{small}"),
            (nanos / 1_000_000).to_string(),
        ];
        let scrubber = &SCRUBBERS[0];
        let mut counts = Counts::default();
        for text in &texts {
            prop_assert_eq!(scrubber.scrub_text(text, &mut counts), &**text);
            prop_assert_eq!(scrubber.scrub_field("some.value", text, &mut counts), FieldOutcome::Unchanged);
        }
        let json = format!(
            r#"{{"traceId":"{}","startTimeUnixNano":"{nanos}","n":{long},"attributes":[{{"key":"x","value":{{"intValue":"{long}"}}}}]}}"#,
            texts[2],
        );
        prop_assert_eq!(scrubber.scrub_json_text(&json, &mut counts).unwrap(), &*json);
        prop_assert!(counts.is_empty());
    }

    #[test]
    fn property_no_text_panics(text in any::<String>(), key in any::<String>()) {
        let scrubber = &SCRUBBERS[0];
        let mut counts = Counts::default();
        scrubber.scrub_field(&key, &text, &mut counts);
        scrubber.scrub_json_text(&text, &mut counts).ok();
    }
}

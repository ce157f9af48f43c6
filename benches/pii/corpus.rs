//! Texts with known answers: what is to be found, and what only looks like it.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A text.
pub(crate) struct Sample {
    /// Kind and shape; ` no ` stands in those of which nothing is to be found.
    pub(crate) row: &'static str,
    pub(crate) text: String,
    /// What is to be found.
    pub(crate) kind: Option<&'static str>,
    pub(crate) value: String,
}

type Make = fn(&mut StdRng) -> String;

/// Row, kind, what stands before and after, and the value.
type Row = (
    &'static str,
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
    Make,
);

const ANYWHERE: &[(&str, &str)] = &[
    ("", ""),
    ("saw ", " in request"),
    ("failed for ", "."),
    ("value=", ";"),
    ("[", "] retry"),
    ("\"", "\","),
];

const ROWS: &[Row] = &[
    ("email", Some("email"), ANYWHERE, email),
    ("email no address", None, ANYWHERE, no_email),
    ("phone +", Some("phone"), ANYWHERE, phone),
    (
        "phone beside a word",
        Some("phone"),
        &[("phone: ", ""), ("call ", " now"), ("mobile ", ".")],
        national_phone,
    ),
    (
        "phone no word",
        None,
        &[("order ", ""), ("at ", ""), ("ref ", " ok")],
        no_phone,
    ),
    ("card in groups", Some("card"), ANYWHERE, grouped_card),
    (
        "card beside a word",
        Some("card"),
        &[
            ("card ", " declined"),
            ("", " (visa)"),
            ("credit card number: ", ""),
        ],
        card,
    ),
    (
        "card no word",
        None,
        &[("order ", ""), ("job ", " done"), ("", "")],
        card,
    ),
    ("card no check digit", None, ANYWHERE, no_card),
    ("iban", Some("iban"), ANYWHERE, iban),
    ("iban no check digits", None, ANYWHERE, no_iban),
    ("national_id SSN", Some("national_id"), ANYWHERE, ssn),
    ("national_id NINO", Some("national_id"), ANYWHERE, nino),
    ("national_id DNI", Some("national_id"), ANYWHERE, dni),
    ("national_id CPF", Some("national_id"), ANYWHERE, cpf),
    (
        "national_id PESEL",
        Some("national_id"),
        &[("PESEL ", ""), ("pesel: ", ".")],
        pesel,
    ),
    (
        "national_id BSN",
        Some("national_id"),
        &[("BSN ", ""), ("bsn=", "&")],
        bsn,
    ),
    (
        "national_id Steuer-ID",
        Some("national_id"),
        &[("Steuer-ID ", ""), ("IdNr. ", ",")],
        steuer,
    ),
    ("national_id no such number", None, ANYWHERE, no_national),
    ("ip_address 4", Some("ip_address"), ANYWHERE, ip4),
    ("ip_address 6", Some("ip_address"), ANYWHERE, ip6),
    ("ip_address no public one", None, ANYWHERE, no_ip),
    ("mac_address", Some("mac_address"), ANYWHERE, mac),
    ("mac_address no such length", None, ANYWHERE, no_mac),
    ("token", Some("token"), ANYWHERE, token),
    ("token no vendor", None, ANYWHERE, no_token),
    ("jwt", Some("jwt"), ANYWHERE, jwt),
    ("jwt no parts", None, ANYWHERE, no_jwt),
    (
        "private_key",
        Some("private_key"),
        &[("", ""), ("loaded ", "")],
        pem,
    ),
    (
        "private_key no private one",
        None,
        &[("", ""), ("loaded ", "")],
        no_pem,
    ),
    (
        "authorization",
        Some("authorization"),
        &[
            ("Authorization: Bearer ", ""),
            ("authorization=Bearer ", ";"),
            ("sent Bearer ", " to api"),
        ],
        opaque,
    ),
    (
        "authorization no credentials",
        None,
        &[("", "")],
        no_authorization,
    ),
    (
        "credential",
        Some("credential"),
        &[
            ("password=", " host=db"),
            ("GET /cb?access_token=", "&x=1"),
            ("{\"api_key\":\"", "\"}"),
            ("postgres://app:", "@db:5432/shop"),
            ("client_secret: ", ""),
        ],
        opaque,
    ),
    ("credential no secret", None, &[("", "")], no_credential),
];

/// So many samples of each row.
pub(crate) fn all(samples: usize) -> impl Iterator<Item = Sample> {
    let mut random = StdRng::seed_from_u64(3);
    ROWS.iter()
        .flat_map(move |row| std::iter::repeat_n(row, samples))
        .map(move |(row, kind, around, make)| {
            let value = make(&mut random);
            let (before, after) = around[random.random_range(0..around.len())];
            Sample {
                row,
                text: format!("{before}{value}{after}"),
                kind: *kind,
                value,
            }
        })
}

fn pick<'a>(random: &mut StdRng, of: &[&'a str]) -> &'a str {
    of[random.random_range(0..of.len())]
}

fn digits(random: &mut StdRng, count: usize) -> String {
    (0..count)
        .map(|_| char::from(b'0' + random.random_range(0..10_u8)))
        .collect()
}

fn of(random: &mut StdRng, set: &[u8], count: usize) -> String {
    (0..count)
        .map(|_| char::from(set[random.random_range(0..set.len())]))
        .collect()
}

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &[u8] = b"0123456789abcdef";

fn numbers(text: &str) -> Vec<u32> {
    text.chars()
        .filter_map(|digit| digit.to_digit(10))
        .collect()
}

fn email(random: &mut StdRng) -> String {
    let local = pick(
        random,
        &[
            "alice",
            "bob.smith",
            "j.doe+news",
            "o'neil",
            "x_1",
            "Zoë",
            "info",
            "first-last",
        ],
    );
    let domain = pick(
        random,
        &[
            "example.com",
            "mail.example.co.uk",
            "163.com",
            "firma.de",
            "a-b.example.io",
        ],
    );
    format!("{local}{}@{domain}", random.random_range(0..100))
}

fn no_email(random: &mut StdRng) -> String {
    let number = random.random_range(0..30);
    match random.random_range(0..6) {
        0 => format!("lodash@4.{number}.21"),
        1 => format!("git@github.com:org/repo{number}.git"),
        2 => format!("root@host{number}"),
        3 => format!("icon{number}@2x.png"),
        4 => format!("com.example.Service{number}@1b2c3d"),
        _ => format!("react@18.{number}.0-rc.1"),
    }
}

fn phone(random: &mut StdRng) -> String {
    match random.random_range(0..6) {
        0 => format!(
            "+1 415 {}{} {}",
            random.random_range(2..9),
            digits(random, 2),
            digits(random, 4)
        ),
        1 => format!("+49 151 {}", random.random_range(20_000_000..69_999_999)),
        2 => format!("+44 7400 {}", random.random_range(100_000..999_999)),
        3 => format!("+33612{}", digits(random, 6)),
        4 => format!(
            "+34 6{} {} {}",
            digits(random, 2),
            digits(random, 3),
            digits(random, 3)
        ),
        _ => format!("+91 98{} {}", digits(random, 3), digits(random, 5)),
    }
}

fn national_phone(random: &mut StdRng) -> String {
    match random.random_range(0..3) {
        0 => format!(
            "(415) {}{}-{}",
            random.random_range(3..9),
            digits(random, 2),
            digits(random, 4)
        ),
        1 => format!("0151 {}", random.random_range(20_000_000..69_999_999)),
        _ => format!(
            "06 {} {} {} {}",
            digits(random, 2),
            digits(random, 2),
            digits(random, 2),
            digits(random, 2)
        ),
    }
}

fn no_phone(random: &mut StdRng) -> String {
    match random.random_range(0..4) {
        0 => digits(random, 10),
        1 => format!("2026-11-{} 16:29:02", random.random_range(10..30)),
        2 => format!("415-555-{}", digits(random, 4)),
        _ => format!("17{}", digits(random, 11)),
    }
}

fn with_luhn(mut text: String) -> String {
    let sum: u32 = numbers(&text)
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 if 2 * digit > 9 => 2 * digit - 9,
            0 => 2 * digit,
            _ => *digit,
        })
        .sum();
    text.push_str(&((10 - sum % 10) % 10).to_string());
    text
}

fn card(random: &mut StdRng) -> String {
    let (prefix, length) = [
        ("4", 16),
        ("53", 16),
        ("2230", 16),
        ("37", 15),
        ("6011", 16),
        ("3530", 16),
    ][random.random_range(0..6)];
    let body = digits(random, length - prefix.len() - 1);
    with_luhn(format!("{prefix}{body}"))
}

fn grouped(text: &str, separator: &str) -> String {
    let cuts: &[usize] = if text.len() == 15 {
        &[0, 4, 10, 15]
    } else {
        &[0, 4, 8, 12, 16]
    };
    let groups: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
    groups.join(separator)
}

fn grouped_card(random: &mut StdRng) -> String {
    let card = card(random);
    grouped(&card, pick(random, &[" ", "-"]))
}

fn no_card(random: &mut StdRng) -> String {
    let card = card(random);
    let (body, last) = card.split_at(card.len() - 1);
    let wrong = (last.parse::<u32>().unwrap() + random.random_range(1..10)) % 10;
    grouped(&format!("{body}{wrong}"), pick(random, &[" ", "-"]))
}

fn iban_of(country: &str, account: &str) -> String {
    let text = format!("{account}{country}00");
    let rest = text.chars().fold(0_u64, |rest, own| {
        let value = u64::from(own.to_digit(36).unwrap());
        if value < 10 {
            (rest * 10 + value) % 97
        } else {
            (rest * 100 + value) % 97
        }
    });
    format!("{country}{:02}{account}", 98 - rest)
}

fn iban(random: &mut StdRng) -> String {
    let iban = match random.random_range(0..3) {
        0 => iban_of("DE", &digits(random, 18)),
        1 => iban_of("NL", &format!("ABNA{}", digits(random, 10))),
        _ => iban_of("GB", &format!("WEST{}", digits(random, 14))),
    };
    if random.random() {
        iban
    } else {
        in_fours(&iban)
    }
}

fn in_fours(text: &str) -> String {
    let groups: Vec<&str> = text
        .as_bytes()
        .chunks(4)
        .map(|own| std::str::from_utf8(own).unwrap())
        .collect();
    groups.join(" ")
}

fn no_iban(random: &mut StdRng) -> String {
    let iban = iban(random);
    let (head, last) = iban.split_at(iban.len() - 1);
    format!(
        "{head}{}",
        (last.parse::<u32>().unwrap() + random.random_range(1..10)) % 10
    )
}

fn ssn(random: &mut StdRng) -> String {
    let area = random.random_range(1..666);
    format!(
        "{area:03}-{:02}-{:04}",
        random.random_range(1..100),
        random.random_range(1..10_000)
    )
}

fn nino(random: &mut StdRng) -> String {
    let letters = [
        of(random, b"ABCEHJLMPRSWXY", 1),
        of(random, b"ACEHJLMPRSWXYZ", 1),
    ]
    .concat();
    format!("{letters}{}{}", digits(random, 6), of(random, b"ABCD", 1))
}

fn dni(random: &mut StdRng) -> String {
    let number = random.random_range(10_000_000..99_999_999_usize);
    format!(
        "{number}{}",
        char::from(b"TRWAGMYFPDXBNJZSQVHLCKE"[number % 23])
    )
}

fn cpf(random: &mut StdRng) -> String {
    let mut body = numbers(&digits(random, 9));
    body[0] = (body[1] + 1) % 10;
    for length in [10, 11] {
        let sum: u32 = body
            .iter()
            .zip((2..=length).rev())
            .map(|(digit, weight)| digit * weight)
            .sum();
        body.push(sum * 10 % 11 % 10);
    }
    let text: String = body.iter().map(ToString::to_string).collect();
    format!(
        "{}.{}.{}-{}",
        &text[..3],
        &text[3..6],
        &text[6..9],
        &text[9..]
    )
}

fn pesel(random: &mut StdRng) -> String {
    let date = format!(
        "{:02}{:02}{:02}",
        random.random_range(0..100),
        random.random_range(1..13),
        random.random_range(1..29)
    );
    let body = format!("{date}{}", digits(random, 4));
    let sum: u32 = numbers(&body)
        .iter()
        .zip([1, 3, 7, 9, 1, 3, 7, 9, 1, 3])
        .map(|(digit, weight)| digit * weight)
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn bsn(random: &mut StdRng) -> String {
    loop {
        let body = digits(random, 8);
        let sum: u32 = numbers(&body)
            .iter()
            .zip((2..=9).rev())
            .map(|(digit, weight)| digit * weight)
            .sum();
        if sum > 0 && sum % 11 < 10 {
            return format!("{body}{}", sum % 11);
        }
    }
}

fn steuer(random: &mut StdRng) -> String {
    // Nine different digits, one of them twice.
    let mut body: Vec<u32> = (1..10).collect();
    for at in (1..body.len()).rev() {
        body.swap(at, random.random_range(0..=at));
    }
    let twice = body[random.random_range(0..body.len())];
    body.insert(random.random_range(0..=body.len()), twice);
    let mut product = 10;
    for digit in &body {
        let sum = (digit + product) % 10;
        product = 2 * if sum == 0 { 10 } else { sum } % 11;
    }
    let text: String = body.iter().map(ToString::to_string).collect();
    format!("{text}{}", (11 - product) % 10)
}

fn no_national(random: &mut StdRng) -> String {
    match random.random_range(0..6) {
        0 => format!(
            "{}-{}-{}",
            random.random_range(900..1_000),
            random.random_range(10..99),
            digits(random, 4)
        ),
        1 => format!("000-{}-{}", random.random_range(10..99), digits(random, 4)),
        2 => format!("GB{}A", digits(random, 6)),
        3 => digits(random, 9),
        4 => digits(random, 11),
        _ => format!("{}-{}", digits(random, 5), digits(random, 4)),
    }
}

fn ip4(random: &mut StdRng) -> String {
    let first = [8, 34, 52, 93, 142, 203][random.random_range(0..6)];
    let mut byte = || random.random_range(0..256);
    format!("{first}.{}.{}.{}", byte(), byte(), byte())
}

fn ip6(random: &mut StdRng) -> String {
    let mut group = || format!("{:x}", random.random_range(0x1000..0xffff));
    match group().len() % 2 {
        0 => format!("2001:db8:{}:{}::{}", group(), group(), group()),
        _ => format!(
            "2a00:{}:{}:{}:{}:{}:{}:1",
            group(),
            group(),
            group(),
            group(),
            group(),
            group()
        ),
    }
}

fn no_ip(random: &mut StdRng) -> String {
    let byte = random.random_range(0..256);
    match random.random_range(0..7) {
        0 => format!("10.0.{byte}.7"),
        1 => format!("192.168.1.{byte}"),
        2 => format!("v1.2.{byte}.4"),
        3 => format!("1.2.3.{byte}.5"),
        4 => format!("{}.1.2.3", 256 + byte),
        5 => format!("16:29:{}", random.random_range(10..60)),
        _ => format!("version 4.3.2.{byte}"),
    }
}

fn mac(random: &mut StdRng) -> String {
    let separator = pick(random, &[":", "-"]);
    let pairs: Vec<String> = (0..5).map(|_| of(random, HEX, 2)).collect();
    format!(
        "{}{separator}a{}",
        pairs.join(separator),
        of(random, HEX, 1)
    )
}

fn no_mac(random: &mut StdRng) -> String {
    let count = if random.random() { 8 } else { 20 };
    let pairs: Vec<String> = (0..count).map(|_| of(random, HEX, 2)).collect();
    pairs.join(":")
}

fn token(random: &mut StdRng) -> String {
    let (prefix, set, count) = [
        ("AKIA", &b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[..], 16),
        ("ghp_", ALPHANUMERIC, 36),
        ("glpat-", ALPHANUMERIC, 20),
        ("xoxb-123-456-", ALPHANUMERIC, 24),
        ("sk_live_", ALPHANUMERIC, 24),
        ("AIza0", ALPHANUMERIC, 34),
        ("sk-", ALPHANUMERIC, 48),
        ("sk-ant-api03-", ALPHANUMERIC, 60),
        ("npm_", ALPHANUMERIC, 36),
        ("pypi-AgEIcHlwaS5vcmc", ALPHANUMERIC, 60),
        ("SK", HEX, 32),
        ("hf_", ALPHANUMERIC, 34),
        ("dop_v1_", HEX, 64),
        ("hvs.", ALPHANUMERIC, 24),
    ][random.random_range(0..14)];
    format!("{prefix}{}", of(random, set, count))
}

fn no_token(random: &mut StdRng) -> String {
    let number = random.random_range(0..100);
    match random.random_range(0..6) {
        0 => format!("task-list-of-the-day-{number}"),
        1 => "sk-learn-pipeline-with-many-steps".to_owned(),
        2 => format!("AKIA{number}"),
        3 => format!("npm_config_registry_{number}"),
        4 => format!("key-value-store-{number}"),
        _ => format!("pk_{}", of(random, HEX, 20)),
    }
}

fn jwt(random: &mut StdRng) -> String {
    let (claims, signature) = (of(random, ALPHANUMERIC, 80), of(random, ALPHANUMERIC, 43));
    format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ{claims}.{signature}")
}

fn no_jwt(random: &mut StdRng) -> String {
    if random.random() {
        format!("eyJ{}", of(random, ALPHANUMERIC, 40))
    } else {
        format!("com.example.service.Handler{}", random.random_range(0..100))
    }
}

fn pem(random: &mut StdRng) -> String {
    let name = pick(
        random,
        &["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY"],
    );
    format!(
        "-----BEGIN {name}-----\n{}\n-----END {name}-----",
        of(random, ALPHANUMERIC, 64)
    )
}

fn no_pem(random: &mut StdRng) -> String {
    let name = pick(random, &["CERTIFICATE", "PUBLIC KEY"]);
    format!(
        "-----BEGIN {name}-----\n{}\n-----END {name}-----",
        of(random, ALPHANUMERIC, 64)
    )
}

fn opaque(random: &mut StdRng) -> String {
    format!(
        "{}7{}",
        of(random, ALPHANUMERIC, 12),
        of(random, ALPHANUMERIC, 12)
    )
}

fn no_authorization(random: &mut StdRng) -> String {
    pick(
        random,
        &[
            "authorization: denied",
            "bearer authentication failed",
            "basic authentication required",
            "no authorization header",
            "Authorization=none",
            "the bearer of bad news",
        ],
    )
    .to_owned()
}

fn no_credential(random: &mut StdRng) -> String {
    pick(
        random,
        &[
            "password: required",
            "invalid token: expected `;`",
            "secret not found",
            "max_tokens=100",
            "password=${PASSWORD}",
            "api_key=<redacted>",
            "https://example.com/path@2",
            "the key is missing",
            "token=null",
            "GET /codes?coder=1",
        ],
    )
    .to_owned()
}

//! Words that say what the number beside them is.

/// So many bytes before a number its word may stand.
const BEFORE: usize = 60;

/// So many bytes after a number its word may stand: `4111… (visa)`.
const AFTER: usize = 20;

/// Kinds of numbers that words name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pii) struct Context(u16);

impl Context {
    const NONE: Self = Self(0);
    pub(super) const PHONE: Self = Self(1);
    pub(super) const CARD: Self = Self(1 << 1);
    pub(super) const SSN: Self = Self(1 << 2);
    pub(super) const STEUER: Self = Self(1 << 3);
    pub(super) const INSEE: Self = Self(1 << 4);
    pub(super) const PESEL: Self = Self(1 << 5);
    pub(super) const BSN: Self = Self(1 << 6);
    pub(super) const AADHAAR: Self = Self(1 << 7);
    pub(super) const SIN: Self = Self(1 << 8);
    pub(super) const PERSONNUMMER: Self = Self(1 << 9);
    pub(super) const VERSION: Self = Self(1 << 10);
    pub(super) const IBAN: Self = Self(1 << 11);

    /// Whether it names one of these.
    pub(super) fn has(self, kinds: Self) -> bool {
        self.0 & kinds.0 != 0
    }

    /// Whether a version is named, and nothing else.
    pub(in crate::pii) fn only_version(self) -> Self {
        Self(self.0 & Self::VERSION.0)
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What words with dots between name.
    pub(in crate::pii) fn of_words(words: &str) -> Self {
        let named = WORDS
            .iter()
            .filter(|(word, _)| words.split('.').any(|own| own == *word));
        named.fold(Self::NONE, |all, (_, context)| all.with(*context))
    }
}

/// Words in lower case, with what they name.
pub(super) const WORDS: &[(&str, Context)] = &[
    ("phone", Context::PHONE),
    ("telephone", Context::PHONE),
    ("telefon", Context::PHONE),
    ("tel", Context::PHONE),
    ("mobile", Context::PHONE),
    ("mobil", Context::PHONE),
    ("cell", Context::PHONE),
    ("fax", Context::PHONE),
    ("msisdn", Context::PHONE),
    ("whatsapp", Context::PHONE),
    ("sms", Context::PHONE),
    ("dial", Context::PHONE),
    ("call", Context::PHONE),
    ("card", Context::CARD),
    ("cardnumber", Context::CARD),
    ("creditcard", Context::CARD),
    ("credit", Context::CARD),
    ("debit", Context::CARD),
    ("visa", Context::CARD),
    ("mastercard", Context::CARD),
    ("amex", Context::CARD),
    ("discover", Context::CARD),
    ("maestro", Context::CARD),
    ("jcb", Context::CARD),
    ("diners", Context::CARD),
    ("pan", Context::CARD),
    ("ssn", Context::SSN),
    ("social", Context::SSN),
    ("itin", Context::SSN),
    ("steuer", Context::STEUER),
    ("steuerid", Context::STEUER),
    ("idnr", Context::STEUER),
    ("tin", Context::STEUER),
    ("steueridentifikationsnummer", Context::STEUER),
    ("insee", Context::INSEE),
    ("nir", Context::INSEE),
    ("vitale", Context::INSEE),
    ("sécu", Context::INSEE),
    ("pesel", Context::PESEL),
    ("bsn", Context::BSN),
    ("burgerservicenummer", Context::BSN),
    ("aadhaar", Context::AADHAAR),
    ("aadhar", Context::AADHAAR),
    ("uidai", Context::AADHAAR),
    ("sin", Context::SIN),
    ("personnummer", Context::PERSONNUMMER),
    ("iban", Context::IBAN),
    ("version", Context::VERSION),
    ("ver", Context::VERSION),
    ("release", Context::VERSION),
    ("build", Context::VERSION),
];

/// The words of a text, with where they stand.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// What the key says.
    key: Context,
    /// All of it.
    all: Context,
    places: Vec<(usize, usize, Context)>,
    has_encoded_at: bool,
}

impl Marks {
    pub(super) fn new(key: Context) -> Self {
        Self {
            key,
            all: key,
            places: Vec::new(),
            has_encoded_at: false,
        }
    }

    pub(super) fn add(&mut self, start: usize, end: usize, context: Context) {
        self.all = self.all.with(context);
        self.places.push((start, end, context));
    }

    pub(super) fn add_encoded_at(&mut self) {
        self.has_encoded_at = true;
    }

    pub(super) fn has_encoded_at(&self) -> bool {
        self.has_encoded_at
    }

    /// Whether one of these is named anywhere.
    pub(super) fn has(&self, kinds: Context) -> bool {
        self.all.has(kinds)
    }

    /// Whether numbers other than telephone numbers are named.
    pub(super) fn has_numbers(&self) -> bool {
        let others = Context(!(Context::PHONE.0 | Context::VERSION.0 | Context::IBAN.0));
        self.all.has(others)
    }

    /// What is named near a candidate.
    pub(super) fn near(&self, start: usize, end: usize) -> Context {
        let places = self.places.iter().filter(|(from, to, context)| {
            let is_before = *to <= start && start - to <= BEFORE;
            let is_after = *from >= end && from - end <= AFTER && context.has(Context::CARD);
            is_before || is_after
        });
        places.fold(self.key, |all, (_, _, context)| all.with(*context))
    }

    /// Whether a word that names one of these ends right before a candidate, separators aside.
    pub(super) fn is_right_before(&self, start: usize, kinds: Context) -> bool {
        let mut places = self.places.iter();
        self.key.has(kinds)
            || places.any(|(_, to, context)| context.has(kinds) && *to <= start && start - to <= 3)
    }
}

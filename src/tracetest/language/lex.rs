//! From characters to tokens, each with its place.

use super::SyntaxError;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A word: a key, an operator, the name of a filter.
    Word(String),
    /// `attr:name`, `var:name`, `env:name`.
    Name(Prefix, String),
    /// A text in quotes, unescaped.
    Text(String),
    /// A number.
    Number(f64),
    /// A duration in nanoseconds.
    Duration(f64),
    /// Brackets, operators and separators.
    Symbol(&'static str),
    /// Behind the last one.
    End,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    Attribute,
    Variable,
    Environment,
}

const PREFIXES: [(&str, Prefix); 3] = [
    ("attr", Prefix::Attribute),
    ("var", Prefix::Variable),
    ("env", Prefix::Environment),
];

/// Longer ones first.
const SYMBOLS: [&str; 18] = [
    "!=", ">=", "<=", "=", ">", "<", "[", "]", "(", ")", ",", ":", "|", "+", "-", "*", "/", ".",
];

/// Units of durations, longer ones first.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 6e10),
    ("h", 3.6e12),
];

impl Token {
    /// For people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Name(prefix, name) => {
                let found = PREFIXES.iter().find(|(_, known)| known == prefix);
                let word = found.map_or("attr", |(word, _)| word);
                format!("`{word}:{name}`")
            }
            Self::Text(text) => format!("the text \"{text}\""),
            Self::Number(number) => format!("the number {number}"),
            Self::Duration(nanos) => format!("the duration {}", super::duration_text(*nanos)),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// The number of nanoseconds that a text such as `1.5s` says.
pub(super) fn duration(text: &str) -> Option<f64> {
    let (unit, nanos) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = text.strip_suffix(unit)?;
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    if number.is_empty() || !number.bytes().all(plain) {
        return None;
    }
    number.parse::<f64>().ok().map(|number| number * nanos)
}

/// The tokens of a text, the last one being [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, SyntaxError> {
    let characters: Vec<char> = text.chars().collect();
    let mut lexer = Lexer {
        characters: &characters,
        at: 0,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_space();
        let at = lexer.at;
        let token = lexer.next()?;
        let is_end = token == Token::End;
        tokens.push((at, token));
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    characters: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn skip_space(&mut self) {
        while self.peek(0).is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Result<Token, SyntaxError> {
        let Some(first) = self.peek(0) else {
            return Ok(Token::End);
        };
        if matches!(first, '"' | '\'') {
            return self.text(first);
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if first.is_alphabetic() || first == '_' {
            return self.word();
        }
        for symbol in SYMBOLS {
            let matches = |(ahead, wanted)| self.peek(ahead) == Some(wanted);
            if symbol.chars().enumerate().all(matches) {
                self.at += symbol.chars().count();
                return Ok(Token::Symbol(symbol));
            }
        }
        Err(SyntaxError::new(
            self.at,
            format!("`{first}` means nothing here"),
        ))
    }

    /// A text: a backslash takes the next character as it is, `\n` and `\t` excepted. Inside of `${…}` quotes are those of
    /// the expression.
    fn text(&mut self, quote: char) -> Result<Token, SyntaxError> {
        let begun = self.at;
        self.at += 1;
        let (mut text, mut depth) = (String::new(), 0_usize);
        loop {
            let Some(character) = self.peek(0) else {
                let message = format!("the text is not closed; end it with {quote}");
                return Err(SyntaxError::new(begun, message));
            };
            self.at += 1;
            match character {
                '\\' => {
                    let escaped = self.peek(0).unwrap_or('\\');
                    self.at += 1;
                    match escaped {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        '"' | '\'' | '\\' => text.push(escaped),
                        // Regular expressions are full of them.
                        other => text.extend(['\\', other]),
                    }
                    continue;
                }
                '{' if text.ends_with('$') => depth += 1,
                '}' if depth > 0 => depth -= 1,
                _ if character == quote && depth == 0 => return Ok(Token::Text(text)),
                _ => {}
            }
            text.push(character);
        }
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let begun = self.at;
        let text: String = self.take_while(|character| {
            character.is_ascii_alphanumeric() || matches!(character, '.' | 'µ' | '_')
        });
        if let Some(nanos) = duration(&text) {
            return Ok(Token::Duration(nanos));
        }
        text.parse().map(Token::Number).map_err(|_| {
            let message = format!(
                "`{text}` is neither a number nor a duration such as 500ms (ns, us, ms, s, m, h); texts stand in quotes"
            );
            SyntaxError::new(begun, message)
        })
    }

    fn word(&mut self) -> Result<Token, SyntaxError> {
        let begun = self.at;
        let word = self.name();
        let Some((_, prefix)) = PREFIXES.iter().find(|(known, _)| **known == word) else {
            return Ok(Token::Word(word));
        };
        if self.peek(0) != Some(':') {
            return Ok(Token::Word(word));
        }
        self.at += 1;
        let name = self.name();
        if name.is_empty() {
            let message = format!("`{word}:` wants a name directly behind it");
            return Err(SyntaxError::new(begun, message));
        }
        Ok(Token::Name(*prefix, name))
    }

    /// Letters, digits, `_`, `.` and `-`; the last two only inside.
    fn name(&mut self) -> String {
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let mut name = String::new();
        while let Some(character) = self.peek(0) {
            let is_inside =
                matches!(character, '.' | '-' | '/') && self.peek(1).is_some_and(is_part);
            if !is_part(character) && !is_inside {
                break;
            }
            name.push(character);
            self.at += 1;
        }
        name
    }

    fn take_while(&mut self, holds: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(character) = self.peek(0).filter(|character| holds(*character)) {
            taken.push(character);
            self.at += 1;
        }
        taken
    }
}

/// Reads tokens one after the other.
#[derive(Debug)]
pub(super) struct Tokens {
    tokens: Vec<(usize, Token)>,
    next: usize,
}

impl Tokens {
    pub(super) fn new(text: &str) -> Result<Self, SyntaxError> {
        Ok(Self {
            tokens: tokens(text)?,
            next: 0,
        })
    }

    /// The next token, which stays.
    pub(super) fn peek(&self) -> &Token {
        let found = self.tokens.get(self.next);
        found.map_or(&Token::End, |(_, token)| token)
    }

    /// Where the next token stands.
    pub(super) fn at(&self) -> usize {
        let found = self.tokens.get(self.next).or_else(|| self.tokens.last());
        found.map_or(0, |(at, _)| *at)
    }

    pub(super) fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    /// Takes a symbol if it is the next token.
    pub(super) fn skip(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        self.next += usize::from(is_next);
        is_next
    }

    /// Takes a symbol that must be the next token.
    pub(super) fn expect(&mut self, symbol: &str, why: &str) -> Result<(), SyntaxError> {
        if self.skip(symbol) {
            return Ok(());
        }
        let found = self.peek().describe();
        let message = format!("expected `{symbol}` {why}, found {found}");
        Err(SyntaxError::new(self.at(), message))
    }

    /// An error about the next token.
    pub(super) fn unexpected(&self, wanted: &str) -> SyntaxError {
        let found = self.peek().describe();
        SyntaxError::new(self.at(), format!("expected {wanted}, found {found}"))
    }
}

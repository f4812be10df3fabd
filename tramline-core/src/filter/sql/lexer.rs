//! An expression as tokens.

use super::ast::{Arithmetic, Comparison};
use super::number::Number;
use crate::filter::error::Fault;

/// A piece of the expression with its place, counted in characters.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Name(String),
    Text(String),
    Number(Number),
    Keyword(Keyword),
    Compare(Comparison),
    Arithmetic(Arithmetic),
    Open,
    Close,
    Comma,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    And,
    Between,
    Escape,
    Exists,
    False,
    In,
    Is,
    Like,
    Not,
    Null,
    Or,
    True,
}

impl Keyword {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_str() {
            "AND" => Self::And,
            "BETWEEN" => Self::Between,
            "ESCAPE" => Self::Escape,
            "EXISTS" => Self::Exists,
            "FALSE" => Self::False,
            "IN" => Self::In,
            "IS" => Self::Is,
            "LIKE" => Self::Like,
            "NOT" => Self::Not,
            "NULL" => Self::Null,
            "OR" => Self::Or,
            "TRUE" => Self::True,
            _ => return None,
        })
    }
}

/// Reads one token after the other, so that the first fault in the expression is the one reported.
#[derive(Debug)]
pub(super) struct Lexer {
    characters: Vec<char>,
    position: usize,
}

impl Lexer {
    pub(super) fn new(expression: &str) -> Self {
        Self { characters: expression.chars().collect(), position: 0 }
    }

    /// The next token; at the end and ever after, `End`.
    pub(super) fn next_token(&mut self) -> Result<Token, Fault> {
        self.take_while(char::is_whitespace);
        let start = self.position;
        let kind = match self.peek() {
            None => TokenKind::End,
            Some('\'') => TokenKind::Text(self.quoted('\'', "text")?),
            Some('"') => self.quoted_name('"')?,
            Some('[') => self.quoted_name(']')?,
            Some(first) if starts_name(first) => self.word()?,
            Some(first) if first.is_ascii_digit() => self.number()?,
            Some('.') if self.peek_after().is_some_and(|next| next.is_ascii_digit()) => {
                self.number()?
            }
            Some(first) => self.symbol(first)?,
        };
        Ok(Token { kind, start, end: self.position })
    }

    /// A part of the expression, for an error.
    pub(super) fn text(&self, start: usize, end: usize) -> String {
        self.characters[start..end].iter().collect()
    }

    fn word(&mut self) -> Result<TokenKind, Fault> {
        let word = self.take_while(continues_name);
        if let Some(keyword) = Keyword::from_word(&word) {
            return Ok(TokenKind::Keyword(keyword));
        }
        self.refuse_path()?;
        Ok(TokenKind::Name(word))
    }

    fn quoted_name(&mut self, close: char) -> Result<TokenKind, Fault> {
        let start = self.position;
        let name = self.quoted(close, "name")?;
        if name.is_empty() {
            // Most likely meant as an empty text.
            return Err(Fault::at(start, "empty name (text stands in single quotes)"));
        }
        self.refuse_path()?;
        Ok(TokenKind::Name(name))
    }

    fn refuse_path(&self) -> Result<(), Fault> {
        if self.peek() == Some('.') {
            let problem = "a name has no path (only top-level fields; quote a name with dots)";
            return Err(Fault::at(self.position, problem));
        }
        Ok(())
    }

    /// What stands until `close`; a doubled one stands for itself.
    fn quoted(&mut self, close: char, what: &str) -> Result<String, Fault> {
        let start = self.position;
        self.position += 1;
        let mut inside = String::new();
        while let Some(next) = self.peek() {
            self.position += 1;
            if next == close && !self.accept(close) {
                return Ok(inside);
            }
            inside.push(next);
        }
        Err(Fault::at(start, &format!("unterminated {what}")))
    }

    fn number(&mut self) -> Result<TokenKind, Fault> {
        let start = self.position;
        self.take_while(|c| c.is_ascii_digit());
        if self.accept('.') {
            self.digits()?;
        }
        if self.accept('e') || self.accept('E') {
            let _ = self.accept('+') || self.accept('-');
            self.digits()?;
        }
        if let Some(next) = self.peek().filter(|c| continues_name(*c) || *c == '.') {
            let found = format!("`{next}`");
            return Err(Fault::expected("the number to end", self.position, &found));
        }
        let number = Number::from_digits(&self.text(start, self.position));
        if !number.is_finite() {
            return Err(Fault::at(start, "number out of range"));
        }
        Ok(TokenKind::Number(number))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if self.take_while(|c| c.is_ascii_digit()).is_empty() {
            let found = self.peek().map_or("the end".to_owned(), |next| format!("`{next}`"));
            return Err(Fault::expected("a digit", self.position, &found));
        }
        Ok(())
    }

    fn symbol(&mut self, first: char) -> Result<TokenKind, Fault> {
        self.position += 1;
        Ok(match first {
            '(' => TokenKind::Open,
            ')' => TokenKind::Close,
            ',' => TokenKind::Comma,
            '+' => TokenKind::Arithmetic(Arithmetic::Add),
            '-' => TokenKind::Arithmetic(Arithmetic::Subtract),
            '*' => TokenKind::Arithmetic(Arithmetic::Multiply),
            '/' => TokenKind::Arithmetic(Arithmetic::Divide),
            '%' => TokenKind::Arithmetic(Arithmetic::Remainder),
            '=' => TokenKind::Compare(Comparison::Equal),
            '!' if self.accept('=') => TokenKind::Compare(Comparison::NotEqual),
            '<' if self.accept('>') => TokenKind::Compare(Comparison::NotEqual),
            '<' if self.accept('=') => TokenKind::Compare(Comparison::LessOrEqual),
            '<' => TokenKind::Compare(Comparison::Less),
            '>' if self.accept('=') => TokenKind::Compare(Comparison::GreaterOrEqual),
            '>' => TokenKind::Compare(Comparison::Greater),
            _ => {
                let problem = format!("unknown character `{}`", first.escape_debug());
                return Err(Fault::at(self.position - 1, &problem));
            }
        })
    }

    fn peek(&self) -> Option<char> {
        self.characters.get(self.position).copied()
    }

    fn peek_after(&self) -> Option<char> {
        self.characters.get(self.position + 1).copied()
    }

    fn accept(&mut self, wanted: char) -> bool {
        let accepted = self.peek() == Some(wanted);
        self.position += usize::from(accepted);
        accepted
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let rest = self.characters[self.position..].iter().copied();
        let taken = rest.take_while(|next| wanted(*next)).collect::<String>();
        self.position += taken.chars().count();
        taken
    }
}

fn starts_name(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn continues_name(character: char) -> bool {
    starts_name(character) || character.is_ascii_digit()
}

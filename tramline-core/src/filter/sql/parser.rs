//! From tokens to the tree.
//!
//! From the loosest to the tightest: OR, AND, NOT, comparisons, `+ -`, `* / %`, unary minus. One
//! function reads each. A parenthesis may hold a condition or an operand, which is known only
//! after it, so the functions return a [`Term`] and whoever needs one of the two asks for it.

use super::ast::{Arithmetic, Condition, Literal, Names, Operand};
use super::lexer::{Keyword, Lexer, Token, TokenKind};
use super::like::LikePattern;
use crate::filter::error::Fault;

const CHARACTERS_MAX: usize = 4096;
const DEPTH_MAX: usize = 64;
const ITEMS_MAX: usize = 1000;
const FOUND_CHARS_MAX: usize = 24;

pub(super) fn parse(expression: &str) -> Result<(Condition, Names), Fault> {
    if expression.chars().nth(CHARACTERS_MAX).is_some() {
        let problem = format!("longer than {CHARACTERS_MAX} characters");
        return Err(Fault::at(CHARACTERS_MAX, &problem));
    }
    let mut lexer = Lexer::new(expression);
    let token = lexer.next_token()?;
    let mut parser = Parser { lexer, token, names: Names::default(), depth: 0 };
    let term = parser.disjunction()?;
    if parser.token.kind != TokenKind::End {
        return Err(match term {
            Term::Condition(_) => parser.expected("AND, OR or the end"),
            Term::Operand(_) => parser.expected("a comparison"),
        });
    }
    let condition = parser.condition(term)?;
    Ok((condition, parser.names))
}

enum Term {
    Condition(Condition),
    Operand(Operand),
}

struct Parser {
    lexer: Lexer,
    token: Token,
    names: Names,
    depth: usize,
}

impl Parser {
    fn disjunction(&mut self) -> Result<Term, Fault> {
        let first = self.conjunction()?;
        if !self.is_at(Keyword::Or) {
            return Ok(first);
        }
        let mut any = vec![self.condition(first)?];
        while self.accept_keyword(Keyword::Or)? {
            let next = self.conjunction()?;
            any.push(self.condition(next)?);
        }
        Ok(Term::Condition(Condition::Any(any)))
    }

    fn conjunction(&mut self) -> Result<Term, Fault> {
        let first = self.negation()?;
        if !self.is_at(Keyword::And) {
            return Ok(first);
        }
        let mut all = vec![self.condition(first)?];
        while self.accept_keyword(Keyword::And)? {
            let next = self.negation()?;
            all.push(self.condition(next)?);
        }
        Ok(Term::Condition(Condition::All(all)))
    }

    fn negation(&mut self) -> Result<Term, Fault> {
        if !self.is_at(Keyword::Not) {
            return self.predicate();
        }
        let inner = self.nested(Self::negation)?;
        let inner = self.condition(inner)?;
        Ok(Term::Condition(Condition::Not(Box::new(inner))))
    }

    fn predicate(&mut self) -> Result<Term, Fault> {
        if self.accept_keyword(Keyword::Exists)? {
            return self.exists().map(Term::Condition);
        }
        let start = self.token.start;
        let term = self.sum()?;
        let compares = matches!(
            self.token.kind,
            TokenKind::Compare(_)
                | TokenKind::Keyword(
                    Keyword::Is | Keyword::Not | Keyword::In | Keyword::Like | Keyword::Between
                )
        );
        if !compares {
            return Ok(term);
        }
        let left = operand(term, start)?;
        self.comparison(left).map(Term::Condition)
    }

    fn comparison(&mut self, left: Operand) -> Result<Condition, Fault> {
        if let TokenKind::Compare(by) = self.token.kind {
            self.advance()?;
            let right = self.operand()?;
            return Ok(Condition::Compare { left, by, right });
        }
        if self.accept_keyword(Keyword::Is)? {
            let negated = self.accept_keyword(Keyword::Not)?;
            self.expect(&TokenKind::Keyword(Keyword::Null), "NULL")?;
            return Ok(Condition::IsNull { operand: left, negated });
        }
        let negated = self.accept_keyword(Keyword::Not)?;
        if self.accept_keyword(Keyword::In)? {
            let items = self.items()?;
            Ok(Condition::In { operand: left, items, negated })
        } else if self.accept_keyword(Keyword::Like)? {
            let pattern = self.like_pattern()?;
            Ok(Condition::Like { operand: left, pattern, negated })
        } else if self.accept_keyword(Keyword::Between)? {
            let low = self.operand()?;
            self.expect(&TokenKind::Keyword(Keyword::And), "AND")?;
            let high = self.operand()?;
            Ok(Condition::Between { operand: left, low, high, negated })
        } else {
            Err(self.expected("IN, LIKE or BETWEEN"))
        }
    }

    fn exists(&mut self) -> Result<Condition, Fault> {
        self.expect(&TokenKind::Open, "`(`")?;
        let TokenKind::Name(name) = &self.token.kind else {
            return Err(self.expected("a name"));
        };
        let operand = Operand::Name(self.names.add(name));
        self.advance()?;
        self.expect(&TokenKind::Close, "`)`")?;
        Ok(Condition::IsNull { operand, negated: true })
    }

    fn items(&mut self) -> Result<Vec<Operand>, Fault> {
        self.expect(&TokenKind::Open, "`(`")?;
        let mut items = vec![self.operand()?];
        while self.accept(&TokenKind::Comma)? {
            if items.len() == ITEMS_MAX {
                let problem = format!("more than {ITEMS_MAX} values in IN");
                return Err(Fault::at(self.token.start, &problem));
            }
            items.push(self.operand()?);
        }
        self.expect(&TokenKind::Close, "`,` or `)`")?;
        Ok(items)
    }

    fn like_pattern(&mut self) -> Result<LikePattern, Fault> {
        let start = self.token.start;
        let pattern = self.text("a pattern in quotes")?;
        let mut escape = None;
        if self.accept_keyword(Keyword::Escape)? {
            let start = self.token.start;
            let text = self.text("one character in quotes")?;
            let mut characters = text.chars();
            escape = characters.next();
            if escape.is_none() || characters.next().is_some() {
                return Err(Fault::at(start, "ESCAPE takes exactly one character"));
            }
        }
        LikePattern::parse(&pattern, escape).map_err(|problem| Fault::at(start, problem))
    }

    fn operand(&mut self) -> Result<Operand, Fault> {
        let start = self.token.start;
        operand(self.sum()?, start)
    }

    fn sum(&mut self) -> Result<Term, Fault> {
        self.chain(Arithmetic::is_sum, Self::product)
    }

    fn product(&mut self) -> Result<Term, Fault> {
        self.chain(Arithmetic::is_product, Self::unary)
    }

    fn chain(
        &mut self,
        belongs: fn(Arithmetic) -> bool,
        link: fn(&mut Self) -> Result<Term, Fault>,
    ) -> Result<Term, Fault> {
        let start = self.token.start;
        let first = link(self)?;
        let mut rest = Vec::new();
        while let TokenKind::Arithmetic(by) = self.token.kind
            && belongs(by)
        {
            self.advance()?;
            let start = self.token.start;
            rest.push((by, operand(link(self)?, start)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        let first = Box::new(operand(first, start)?);
        Ok(Term::Operand(Operand::Arithmetic { first, rest }))
    }

    fn unary(&mut self) -> Result<Term, Fault> {
        if self.token.kind != TokenKind::Arithmetic(Arithmetic::Subtract) {
            return self.primary();
        }
        let inner = self.nested(|parser| {
            let start = parser.token.start;
            operand(parser.unary()?, start)
        })?;
        Ok(Term::Operand(Operand::Negative(Box::new(inner))))
    }

    fn primary(&mut self) -> Result<Term, Fault> {
        let literal = match &mut self.token.kind {
            TokenKind::Open => {
                let inner = self.nested(Self::disjunction)?;
                self.expect(&TokenKind::Close, "`)`")?;
                return Ok(inner);
            }
            TokenKind::Name(name) => {
                let name = self.names.add(name);
                self.advance()?;
                return Ok(Term::Operand(Operand::Name(name)));
            }
            TokenKind::Text(text) => Literal::Text(std::mem::take(text)),
            TokenKind::Number(number) => Literal::Number(*number),
            TokenKind::Keyword(Keyword::True) => Literal::Bool(true),
            TokenKind::Keyword(Keyword::False) => Literal::Bool(false),
            TokenKind::Keyword(Keyword::Null) => Literal::Null,
            _ => return Err(self.expected("a value")),
        };
        self.advance()?;
        Ok(Term::Operand(Operand::Literal(literal)))
    }

    /// Passes the token that opens a level and reads what is inside.
    fn nested<T>(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.depth == DEPTH_MAX {
            let problem = format!("more than {DEPTH_MAX} levels of nesting");
            return Err(Fault::at(self.token.start, &problem));
        }
        self.depth += 1;
        self.advance()?;
        let result = inside(self)?;
        self.depth -= 1;
        Ok(result)
    }

    /// An operand is a condition if it can be a boolean; the current token is what follows it.
    fn condition(&self, term: Term) -> Result<Condition, Fault> {
        match term {
            Term::Condition(condition) => Ok(condition),
            Term::Operand(
                operand @ (Operand::Name(_) | Operand::Literal(Literal::Bool(_) | Literal::Null)),
            ) => Ok(Condition::Holds(operand)),
            Term::Operand(_) => Err(self.expected("a comparison")),
        }
    }

    fn text(&mut self, what: &str) -> Result<String, Fault> {
        let TokenKind::Text(text) = &mut self.token.kind else {
            return Err(self.expected(what));
        };
        let text = std::mem::take(text);
        self.advance()?;
        Ok(text)
    }

    fn is_at(&self, keyword: Keyword) -> bool {
        self.token.kind == TokenKind::Keyword(keyword)
    }

    fn accept_keyword(&mut self, keyword: Keyword) -> Result<bool, Fault> {
        self.accept(&TokenKind::Keyword(keyword))
    }

    fn accept(&mut self, kind: &TokenKind) -> Result<bool, Fault> {
        let accepted = self.token.kind == *kind;
        if accepted {
            self.advance()?;
        }
        Ok(accepted)
    }

    fn expect(&mut self, kind: &TokenKind, what: &str) -> Result<(), Fault> {
        if self.accept(kind)? { Ok(()) } else { Err(self.expected(what)) }
    }

    fn advance(&mut self) -> Result<(), Fault> {
        self.token = self.lexer.next_token()?;
        Ok(())
    }

    fn expected(&self, what: &str) -> Fault {
        let Token { kind, start, end } = &self.token;
        let found = match kind {
            TokenKind::End => "the end".to_owned(),
            _ if end - start > FOUND_CHARS_MAX => {
                format!("`{}…`", self.lexer.text(*start, start + FOUND_CHARS_MAX))
            }
            _ => format!("`{}`", self.lexer.text(*start, *end)),
        };
        Fault::expected(what, *start, &found)
    }
}

fn operand(term: Term, start: usize) -> Result<Operand, Fault> {
    match term {
        Term::Operand(operand) => Ok(operand),
        Term::Condition(_) => Err(Fault::expected("a value", start, "a condition")),
    }
}

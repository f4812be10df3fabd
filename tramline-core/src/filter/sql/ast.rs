//! An expression as a tree.
//!
//! Chains of AND, OR and arithmetic are lists, so that the depth of the tree is the nesting that
//! the parser bounds, however long the chains are.

use super::like::LikePattern;
use super::number::Number;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is true, false or unknown.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Compare {
        left: Operand,
        by: Comparison,
        right: Operand,
    },
    In {
        operand: Operand,
        items: Vec<Operand>,
        negated: bool,
    },
    Between {
        operand: Operand,
        low: Operand,
        high: Operand,
        negated: bool,
    },
    Like {
        operand: Operand,
        pattern: LikePattern,
        negated: bool,
    },
    IsNull {
        operand: Operand,
        negated: bool,
    },
    /// An operand that is a boolean by itself.
    Holds(Operand),
}

/// What has a value.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Name(NameIndex),
    Literal(Literal),
    Negative(Box<Operand>),
    Arithmetic { first: Box<Operand>, rest: Vec<(Arithmetic, Operand)> },
}

#[derive(Clone, Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(super) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Arithmetic {
    pub(super) fn is_sum(self) -> bool {
        matches!(self, Self::Add | Self::Subtract)
    }

    pub(super) fn is_product(self) -> bool {
        !self.is_sum()
    }
}

/// A name's place among the [`Names`] of its expression.
pub(super) type NameIndex = usize;

/// The names in an expression, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    in_order: Vec<Arc<str>>,
    indexes: BTreeMap<Arc<str>, NameIndex>,
}

impl Names {
    pub(super) fn add(&mut self, name: &str) -> NameIndex {
        if let Some(index) = self.index(name) {
            return index;
        }
        let (index, name) = (self.in_order.len(), Arc::<str>::from(name));
        self.in_order.push(Arc::clone(&name));
        self.indexes.insert(name, index);
        index
    }

    pub(super) fn name(&self, index: NameIndex) -> &str {
        &self.in_order[index]
    }

    pub(super) fn index(&self, name: &str) -> Option<NameIndex> {
        self.indexes.get(name).copied()
    }

    pub(super) fn count(&self) -> usize {
        self.in_order.len()
    }

    pub(super) fn sorted(&self) -> impl Iterator<Item = &str> {
        self.indexes.keys().map(|name| &**name)
    }
}

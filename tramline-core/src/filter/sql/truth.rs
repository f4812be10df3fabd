//! Three-valued logic.

/// The outcome of a condition. The order is that of SQL: AND is the least of its sides, OR the
/// greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    False,
    Unknown,
    True,
}

impl Truth {
    pub(super) fn negated(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }

    pub(super) fn negated_if(self, negated: bool) -> Self {
        if negated { self.negated() } else { self }
    }

    /// The greatest of all, without looking further than the first that is true.
    pub(super) fn any(all: impl IntoIterator<Item = Self>) -> Self {
        let mut greatest = Self::False;
        for truth in all {
            greatest = greatest.max(truth);
            if greatest == Self::True {
                break;
            }
        }
        greatest
    }

    /// The least of all, without looking further than the first that is false.
    pub(super) fn all(all: impl IntoIterator<Item = Self>) -> Self {
        Self::any(all.into_iter().map(Self::negated)).negated()
    }
}

impl From<bool> for Truth {
    fn from(bool: bool) -> Self {
        if bool { Self::True } else { Self::False }
    }
}

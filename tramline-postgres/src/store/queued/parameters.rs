//! What a queued statement is called with.

use super::parameter::Parameter;
use sqlx::{Encode, Postgres, Type};
use tramline_core::Failure;

/// The parameters of a queued statement, `$1` first: a tuple of up to 16 values, an array or slice of one
/// type, or a `Vec` of [`Parameter`]. Each value is one that `sqlx` can bind.
pub trait Parameters {
    /// Encodes them.
    ///
    /// # Errors
    /// As [`Parameter::new`].
    fn encoded(self) -> Result<Vec<Parameter>, Failure>;
}

impl Parameters for () {
    fn encoded(self) -> Result<Vec<Parameter>, Failure> {
        Ok(Vec::new())
    }
}

impl Parameters for Vec<Parameter> {
    fn encoded(self) -> Result<Vec<Parameter>, Failure> {
        Ok(self)
    }
}

impl<T> Parameters for &[T]
where
    for<'t, 'q> &'t T: Encode<'q, Postgres> + Type<Postgres>,
{
    fn encoded(self) -> Result<Vec<Parameter>, Failure> {
        self.iter().map(Parameter::new).collect()
    }
}

impl<T, const N: usize> Parameters for [T; N]
where
    T: for<'q> Encode<'q, Postgres> + Type<Postgres>,
{
    fn encoded(self) -> Result<Vec<Parameter>, Failure> {
        self.into_iter().map(Parameter::new).collect()
    }
}

macro_rules! tuples {
    ($($($value:ident)+;)+) => {$(
        impl<$($value),+> Parameters for ($($value,)+)
        where
            $($value: for<'q> Encode<'q, Postgres> + Type<Postgres>,)+
        {
            #[expect(non_snake_case, reason = "a value is called as its type is")]
            fn encoded(self) -> Result<Vec<Parameter>, Failure> {
                let ($($value,)+) = self;
                Ok(vec![$(Parameter::new($value)?),+])
            }
        }
    )+};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
    A B C D E F G H I J K L M;
    A B C D E F G H I J K L M N;
    A B C D E F G H I J K L M N O;
    A B C D E F G H I J K L M N O P;
}

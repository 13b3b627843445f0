//! Names that settings, records and tables give to the values of an enum.

use std::borrow::Cow;

use thiserror::Error;

/// The text is none of the names expected.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("no such {kind}, expected {expected}")]
pub struct UnknownName {
    kind: &'static str,
    expected: Cow<'static, str>,
}

impl UnknownName {
    pub(crate) fn new(kind: &'static str, expected: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, expected: expected.into() }
    }

    /// Expects one of `names`, as in "`a`, `b` or `c`".
    pub(crate) fn expecting(kind: &'static str, names: &[&str]) -> Self {
        let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        Self::new(kind, any_of(&quoted))
    }
}

/// `a, b or c`
fn any_of(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

/// Declares an enum of unit variants, each with its name: `ALL`, `name` and `Display`; and, if it is said
/// what the choice is called (`pub enum Cache: "cache"`), `FromStr`, whose error lists the names.
#[macro_export]
macro_rules! choices {
    (
        $(#[$about:meta])*
        pub enum $choice:ident $(: $kind:literal)? {
            $($(#[$about_variant:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $choice {
            $($(#[$about_variant])* $variant,)+
        }

        impl $choice {
            /// All of them.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// As settings, records and tables name it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $choice {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        $(impl std::str::FromStr for $choice {
            type Err = $crate::choice::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let named = Self::ALL.into_iter().find(|choice| choice.name() == text);
                named.ok_or_else(|| Self::Err::expecting($kind, &Self::ALL.map(Self::name)))
            }
        })?
    };
}

pub use choices;

use alloy_primitives::keccak256;
use std::fmt;

/// Which cases run.
pub(crate) enum Selection {
    All,
    /// One of so many, by the hash of the name.
    Sample(u64),
    /// Those whose name contains this.
    Named(String),
}

impl Selection {
    /// What `CITIUS_CASE` and `CITIUS_LONG` say; if nothing, a sample.
    pub(crate) fn from_environment(sampling: u64) -> Self {
        if let Ok(part) = std::env::var("CITIUS_CASE") {
            return Self::Named(part);
        }
        let is_long = std::env::var("CITIUS_LONG").is_ok_and(|value| !value.is_empty() && value != "0");
        if is_long || sampling == 1 { Self::All } else { Self::Sample(sampling) }
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Sample(every) => seed(name).is_multiple_of(*every),
            Self::Named(part) => name.contains(part.as_str()),
        }
    }

    pub(crate) fn is_sample(&self) -> bool {
        matches!(self, Self::Sample(_))
    }

    /// Whether every case of the archive is looked at.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self, Self::All)
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(f, "all cases"),
            Self::Sample(every) => write!(f, "a sample of one case in {every} (CITIUS_LONG=1 runs all)"),
            Self::Named(part) => write!(f, "cases named *{part}*"),
        }
    }
}

/// The seed of everything that is random about a case: its name.
pub(crate) fn seed(name: &str) -> u64 {
    keccak256(name).as_slice()[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

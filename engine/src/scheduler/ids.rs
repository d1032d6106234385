use std::fmt;

/// A location's dense number within one stream: interned by full key, so equal keys have equal ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocationId(pub(crate) u32);

/// An entry's place in the one global order of a stream: block begin steps, transactions, block end steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryIndex(pub u32);

/// How often an entry was begun: 0 for its first execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

/// A read's number within one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadId(pub(crate) u32);

impl fmt::Display for EntryIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

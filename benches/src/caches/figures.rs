use serde::Serialize;
use std::fmt;

/// What a trace came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheFigures {
    /// The trace.
    pub trace: String,
    /// Its reads.
    pub reads: usize,
    /// Its different keys.
    pub keys: usize,
    /// A row for each capacity.
    pub rows: Vec<CacheRow>,
}

/// Hits at one capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CacheRow {
    /// The capacity in percent of the keys.
    pub capacity_percent: usize,
    /// The capacity in keys.
    pub capacity: usize,
    /// Those of `quick_cache`, the policy in use.
    pub quick_cache_hits: u64,
    /// Those of an LRU.
    pub lru_hits: u64,
    /// Those of a cache that knows the future.
    pub best_hits: u64,
}

impl CacheFigures {
    /// The head of the table.
    pub const HEAD: &str = "| trace | reads | keys | capacity | quick_cache | LRU | best possible |\n\
                            | --- | ---: | ---: | ---: | ---: | ---: | ---: |";
}

impl fmt::Display for CacheFigures {
    /// A line of a Markdown table for each capacity.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, reads, keys, rows } = self;
        for row in rows {
            let CacheRow { capacity_percent, quick_cache_hits, lru_hits, best_hits, .. } = row;
            write!(f, "| {trace} | {reads} | {keys} | {capacity_percent} % |")?;
            for hits in [quick_cache_hits, lru_hits, best_hits] {
                write!(f, " {:.1} % |", *hits as f64 * 100.0 / (*reads).max(1) as f64)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

//! What a measuring command found: as JSON through serde, as a table for people.

mod cold_reads;
mod entry;
mod gains;
mod hash;
mod limits;
mod roots;
mod stream;
mod table;
mod text;
mod total;

pub use cold_reads::ColdReads;
pub use entry::{Entry, WorkloadLabel};
pub use gains::{Gains, GainsRow, markdown};
pub use hash::{Crossover, hash_text};
pub use limits::{BoundsTotal, LimitsTotal};
pub use roots::{RootEntry, RootsTotal};
pub use stream::StreamEntry;
pub use text::{Subject, text};
pub use total::{Sums, Total, Worst};

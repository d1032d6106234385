//! What a measuring command found: as JSON through serde, as a table for people.

mod entry;
mod limits;
mod stream;
mod table;
mod text;
mod total;

pub use entry::{Entry, WorkloadLabel};
pub use limits::{BoundsTotal, LimitsTotal};
pub use stream::StreamEntry;
pub use text::{Subject, text};
pub use total::{Sums, Total, Worst};

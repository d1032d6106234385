//! Parts of the engine, as far as they can be reached from outside.

mod schedules;
mod senders;

pub use schedules::{Scheduling, SchedulingBench, Shape};
pub use senders::SendersBench;

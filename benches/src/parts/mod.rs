//! Parts of the engine, as far as they can be reached from outside.
//!
//! | part | measured by |
//! |---|---|
//! | an entry's start, landing and commit | [`Shape::Nothing`], [`Shape::Independent`] |
//! | a read; what a committed version adds | [`Shape::ReadsUntouched`]; [`Shape::ReadsWritten`] |
//! | what an uncommitted version adds | [`Meeting::UncommittedReads`], against [`Meeting::UntouchedReads`] |
//! | a write's landing and commit | [`Shape::Writes`], against [`Shape::Nothing`] |
//! | an abort | [`Meeting::Aborts`], against [`Meeting::Pairs`] |
//! | a wake-up | [`WakeUpBench`] |
//! | the recovery of senders | [`SendersBench`] |

mod machine;
mod meetings;
mod schedules;
mod senders;
mod signs;
mod wake_up;

pub use meetings::{Meeting, MeetingBench};
pub use schedules::{Scheduling, SchedulingBench, Shape};
pub use senders::SendersBench;
pub use wake_up::WakeUpBench;

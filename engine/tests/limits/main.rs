//! What an engine does at its bounds: cancelled, out of memory, with a panic inside, on shared or too few workers,
//! on states that answer late, in part or not at all.

mod ahead;
mod cancellation;
#[path = "../native_cases/case.rs"]
#[expect(dead_code, reason = "another suite uses more of it")]
mod case;
#[path = "../native_cases/code.rs"]
#[expect(dead_code, reason = "another suite uses more of it")]
mod code;
mod commits;
mod guesses;
mod lent;
mod memory;
#[path = "../common/oracle.rs"]
mod oracle;
mod panics;
mod parking;
mod readers;
mod reads;
#[path = "../native_cases/schedule.rs"]
mod schedule;
mod sharing;
mod strategies;
mod support;
mod tickets;
#[path = "../common/told.rs"]
#[expect(dead_code, reason = "another suite uses more of it")]
mod told;
mod witnesses;

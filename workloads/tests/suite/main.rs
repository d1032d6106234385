//! Properties of every workload, checked on plain sequential revm.

mod common;
mod execution;
#[path = "../../../topology/tests/common/seeded.rs"]
mod seeded;
mod shape;
mod streams;

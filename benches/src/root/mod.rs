//! The state root of a mainnet-sized block over a large state, its bulk build, and how cost grows.

mod measure;
mod world;

pub use measure::{Growth, Report, Share, bulk, growth, report};
pub use world::{Shape, World};

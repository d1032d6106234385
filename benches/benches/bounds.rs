//! Bounds of perfect scheduling. They are computed, not compared, so this is no criterion bench: it ignores filters.

use citius_benches::{
    Size, banner,
    bounds::{BoundsBench, BoundsSummary},
};

fn main() {
    eprintln!("{}", banner());
    let size = Size::of_this_run();
    let mut benches = vec![BoundsBench::mainnet_like(size)];
    match BoundsBench::recorded(size).unwrap_or_else(|error| panic!("CITIUS_CORPUS: {error}")) {
        Some(recorded) => benches.push(recorded),
        None => eprintln!("SKIPPED: recorded blocks, since CITIUS_CORPUS is not set"),
    }
    for bench in benches {
        let limits = bench.run().unwrap_or_else(|wrong| panic!("{wrong}"));
        println!("bounds of {}, {} blocks", bench.name(), limits.len());
        if let Some(summary) = BoundsSummary::of(&limits) {
            print!("{summary}");
        }
    }
}

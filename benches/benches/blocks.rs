//! Whole blocks. Throughput is gas: criterion's elements are gas.

use citius_benches::{Size, banner, blocks};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn blocks(criterion: &mut Criterion) {
    eprintln!("{}", banner());
    let size = Size::of_this_run();
    let mut benches = blocks::generated(size);
    match blocks::recorded(size).unwrap_or_else(|error| panic!("CITIUS_CORPUS: {error}")) {
        Some(recorded) => benches.extend(recorded),
        None => eprintln!("SKIPPED: recorded blocks, since CITIUS_CORPUS is not set"),
    }
    for bench in benches {
        let gas = bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
        let mut group = criterion.benchmark_group(bench.name());
        group.throughput(Throughput::Elements(gas));
        for runner in blocks::Runner::ALL {
            group.bench_function(runner.name(), |bencher| bencher.iter(|| bench.run(runner)));
        }
    }
}

criterion_group!(benches, blocks);
criterion_main!(benches);

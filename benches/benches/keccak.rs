//! Keccak-256 of batches. Throughput is messages. First the ratios of samples taken in turns, which are what to quote.

use alloy_primitives::B256;
use citius_benches::{
    Size, banner,
    keccak::{KeccakBench, machine},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn keccak(criterion: &mut Criterion) {
    eprintln!("{}", banner());
    eprintln!("{}; ratios to `scalar`, which is keccak-asm", machine());
    let size = Size::of_this_run();
    let benches = KeccakBench::all(size);
    for bench in &benches {
        bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
        let repeat = if size == Size::Smoke { 1 } else { 21 };
        eprintln!("{}", bench.ratios(repeat).unwrap_or_else(|wrong| panic!("{wrong}")));
    }
    for bench in &benches {
        let mut group = criterion.benchmark_group(format!("keccak/{}", bench.name()));
        group.throughput(Throughput::Elements(bench.messages()));
        let mut digests = vec![B256::ZERO; bench.messages() as usize];
        for backend in bench.backends() {
            group.bench_function(backend.name(), |bencher| {
                bencher
                    .iter(|| bench.run(&**backend, &mut digests).unwrap_or_else(|error| panic!("{error}")));
            });
        }
    }
}

criterion_group!(benches, keccak);
criterion_main!(benches);

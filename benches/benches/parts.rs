//! Parts of the engine. Throughput is entries, or transactions.

use citius_benches::{
    Size, banner,
    parts::{Scheduling, SchedulingBench, SendersBench, Shape},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn schedules(criterion: &mut Criterion) {
    eprintln!("{}", banner());
    for shape in Shape::ALL {
        let mut group = criterion.benchmark_group(format!("schedule/{}", shape.name()));
        for scheduling in Scheduling::ALL {
            let bench = SchedulingBench::new(shape, scheduling, Size::of_this_run());
            bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
            group.throughput(Throughput::Elements(bench.entries()));
            group.bench_function(scheduling.name(), |bencher| bencher.iter(|| bench.run()));
        }
    }
}

fn senders(criterion: &mut Criterion) {
    let bench = SendersBench::new(Size::of_this_run());
    bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
    let mut group = criterion.benchmark_group("senders");
    group.throughput(Throughput::Elements(bench.transactions()));
    group.bench_function("recover", |bencher| bencher.iter(|| bench.run()));
}

criterion_group!(benches, schedules, senders);
criterion_main!(benches);

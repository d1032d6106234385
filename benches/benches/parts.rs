//! Parts of the engine. Throughput is entries or transactions; where entries meet, what they meet for.

use citius_benches::{
    Size, banner,
    parts::{Meeting, MeetingBench, Scheduling, SchedulingBench, SendersBench, Shape, WakeUpBench},
    threads_at_hand,
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

fn meetings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("meeting");
    for meeting in Meeting::ALL {
        match MeetingBench::new(meeting, threads_at_hand(), Size::of_this_run()) {
            Ok(bench) => {
                bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
                group.throughput(Throughput::Elements(bench.operations()));
                group.bench_function(meeting.name(), |bencher| bencher.iter(|| bench.run()));
            }
            Err(too_few) => eprintln!("SKIPPED: {too_few}"),
        }
    }
}

/// From the submission to a sleeping pool until the second entry began; the pool's falling asleep is not measured.
fn wake_up(criterion: &mut Criterion) {
    let bench = match WakeUpBench::new(threads_at_hand()) {
        Ok(bench) => bench,
        Err(too_few) => return eprintln!("SKIPPED: {too_few}"),
    };
    bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
    let run = || bench.run().unwrap_or_else(|wrong| panic!("{wrong}"));
    criterion.bench_function("wake-up", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| run()).sum());
    });
}

fn senders(criterion: &mut Criterion) {
    let bench = SendersBench::new(Size::of_this_run());
    bench.verify().unwrap_or_else(|wrong| panic!("{wrong}"));
    let mut group = criterion.benchmark_group("senders");
    group.throughput(Throughput::Elements(bench.transactions()));
    group.bench_function("recover", |bencher| bencher.iter(|| bench.run()));
}

criterion_group!(benches, schedules, meetings, wake_up, senders);
criterion_main!(benches);

//! Models under [loom](https://docs.rs/loom), which runs them once for every order in which their threads can take
//! locks and touch atomics, up to a number of preemptions:
//! `cargo nextest run -p citius-engine --features loom --lib models`.
//!
//! - [`chain`]: the multi-version memory ([`Memory`](super::memory::Memory), [`Cell`](super::cell::Cell)).
//! - [`entries`]: an entry's states, who may move it between them, who waits for whom.
//! - [`frontier`]: one thread in charge, no signal lost ([`Charge`](super::charge::Charge)).
//! - [`phases`]: tasks of one phase after another ([`Phases`](super::partitioned::phases::Phases)).
//! - [`whole`]: all of the optimistic strategy, as [`Optimistic`](super::Optimistic) puts it together.
//!
//! Limits: of the atomics, loom sees only those from [`sync`](crate::sync). The others (frontier, cursor, reset
//! stamps) act as one with the step before them. Sleeping and waking workers is not modelled.

mod chain;
mod entries;
mod frontier;
mod machine;
mod phases;
mod whole;

/// Runs a model with at most this many preemptions (so often a thread is stopped that could go on), or as many as
/// `LOOM_MAX_PREEMPTIONS` says. One more takes several times as long; what was broken on purpose failed with these.
fn model(preemptions_max: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions_max);
    builder.max_branches = 10_000;
    builder.check(model);
}

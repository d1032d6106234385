//! Models under [loom](https://docs.rs/loom), which runs them once for every order in which their threads can take
//! locks and touch atomics, up to a number of preemptions:
//! `cargo nextest run -p citius-engine --features loom --lib models`.
//!
//! - [`chain`]: the multi-version memory ([`Memory`](super::memory::Memory), [`Cell`](super::cell::Cell)).
//! - [`entries`]: an entry's states, who may move it between them, who waits for whom.
//! - [`frontier`]: one thread in charge, no signal lost ([`Charge`](super::charge::Charge)).
//! - [`whole`]: all of it, as [`Optimistic`](super::Optimistic) puts it together.
//!
//! Limits: of the atomics, loom sees only those from [`sync`](crate::sync). The others (frontier, cursor, reset
//! stamps) act as one with the step before them. Sleeping and waking workers is not modelled.

mod chain;
mod entries;
mod frontier;
mod machine;
mod whole;

/// Runs a model with at most this many preemptions: a thread that could go on is stopped so often, no more. More
/// take minutes, and a protocol that is broken shows it with two.
fn model(preemptions_max: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions_max);
    builder.max_branches = 100_000;
    builder.check(model);
}

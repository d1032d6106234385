use crate::scheduler::strategy::RunSettings;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// When to stop running ahead: where each entry needs what the one before wrote, every execution ahead of its turn
/// is thrown away, and holds up the turn.
///
/// Executions thrown away weigh more than commits take off. Once they weigh too much, entries run in their turn only,
/// for as many commits as it takes to be worth another try; each try in vain makes the next pause twice as long. One
/// worker has the turn then: two that took turns would only carry each other's data over. A try that is in vain right
/// after a pause is the last one, if the run may give up: what is left is executed serially (see [`rest`](super::rest)).
#[derive(Debug)]
pub(super) struct Caution {
    may_pause: bool,
    may_give_up: bool,
    /// So many executions thrown away are too many.
    gives_up_after: Option<u32>,
    aborts: AtomicU32,
    has_given_up: AtomicBool,
    weight: AtomicU32,
    /// Commits until running ahead is tried again; 0 while it goes on.
    pause_left: AtomicU32,
    next_pause: AtomicU32,
    /// A worker has the turn.
    turn: AtomicBool,
}

/// What an execution thrown away weighs, in commits.
const ABORT_WEIGHT: u32 = 6;
/// From this weight on there is a pause: after ten executions thrown away in a row.
const WEIGHT_MAX: u32 = 10 * ABORT_WEIGHT;
/// And from this on it is the last one, right after another.
const SECOND_WEIGHT_MAX: u32 = 5 * ABORT_WEIGHT;
/// The shortest and the longest pause, in commits.
const PAUSE_MIN: u32 = 16;
const PAUSE_MAX: u32 = 1 << 10;

impl Caution {
    pub(super) fn new(settings: &RunSettings) -> Self {
        let RunSettings { may_pause, may_give_up, fuzz, .. } = settings;
        let gives_up_after = fuzz.as_ref().filter(|_| *may_give_up).and_then(|fuzz| fuzz.gives_up_after());
        Self {
            may_pause: *may_pause,
            may_give_up: *may_give_up,
            gives_up_after,
            aborts: AtomicU32::new(0),
            has_given_up: AtomicBool::new(gives_up_after == Some(0)),
            weight: AtomicU32::new(0),
            pause_left: AtomicU32::new(0),
            next_pause: AtomicU32::new(PAUSE_MIN),
            turn: AtomicBool::new(false),
        }
    }

    /// Whether entries run in their turn only.
    pub(super) fn is_pausing(&self) -> bool {
        self.pause_left.load(Ordering::SeqCst) > 0
    }

    /// Whether nothing is executed ahead any more.
    pub(super) fn has_given_up(&self) -> bool {
        self.has_given_up.load(Ordering::SeqCst)
    }

    /// Takes the turn, if nobody has it.
    pub(super) fn take_turn(&self) -> bool {
        !self.turn.swap(true, Ordering::SeqCst)
    }

    /// Gives the turn back.
    pub(super) fn end_turn(&self) {
        self.turn.store(false, Ordering::SeqCst);
    }

    /// Whether a worker that comes now may begin something.
    pub(super) fn admits(&self) -> bool {
        !self.is_pausing() || !self.turn.load(Ordering::SeqCst)
    }

    /// An execution is thrown away. Called by any worker.
    pub(super) fn note_abort(&self) {
        // Relaxed here and below: these counts publish nothing, and need not be exact.
        if let Some(most) = self.gives_up_after
            && self.aborts.fetch_add(1, Ordering::Relaxed) + 1 >= most
        {
            self.has_given_up.store(true, Ordering::SeqCst);
        }
        let pause = self.next_pause.load(Ordering::Relaxed);
        let is_last_try = self.may_give_up && pause > PAUSE_MIN;
        let weight_max = if is_last_try { SECOND_WEIGHT_MAX } else { WEIGHT_MAX };
        if self.weight.fetch_add(ABORT_WEIGHT, Ordering::Relaxed) + ABORT_WEIGHT < weight_max {
            return;
        }
        self.weight.store(0, Ordering::Relaxed);
        if !self.may_pause || self.is_pausing() {
            return;
        }
        if is_last_try {
            self.has_given_up.store(true, Ordering::SeqCst);
            return;
        }
        self.next_pause.store((pause * 2).min(PAUSE_MAX), Ordering::Relaxed);
        self.pause_left.store(pause, Ordering::SeqCst);
    }

    /// An entry is committed. Called by the thread in charge of the frontier.
    pub(super) fn note_commit(&self) {
        let left = self.pause_left.load(Ordering::SeqCst);
        if left > 0 {
            self.pause_left.store(left - 1, Ordering::SeqCst);
            return;
        }
        let weight = self.weight.load(Ordering::Relaxed);
        self.weight.store(weight.saturating_sub(1), Ordering::Relaxed);
        if weight == 0 {
            // All has gone well for a while.
            let pause = self.next_pause.load(Ordering::Relaxed);
            self.next_pause.store(pause.saturating_sub(1).max(PAUSE_MIN), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkerPool;
    use std::num::NonZeroUsize;

    fn caution(may_give_up: bool) -> Caution {
        let pool = WorkerPool::unpinned(NonZeroUsize::MIN).unwrap();
        Caution::new(&RunSettings { may_give_up, ..RunSettings::new(pool) })
    }

    /// Throws executions away until there is a pause, and counts the commits until it is over.
    fn pause(caution: &Caution) -> u32 {
        let aborts = (1..100).find(|_| {
            caution.note_abort();
            caution.is_pausing()
        });
        assert!(aborts.is_some_and(|aborts| aborts <= WEIGHT_MAX / ABORT_WEIGHT));
        (1..10_000)
            .find(|_| {
                caution.note_commit();
                !caution.is_pausing()
            })
            .unwrap()
    }

    #[test]
    fn pauses_grow_while_every_try_is_in_vain() {
        let caution = caution(false);
        let pauses: Vec<u32> = (0..9).map(|_| pause(&caution)).collect();
        assert_eq!(pauses, [16, 32, 64, 128, 256, 512, 1024, 1024, 1024]);
    }

    #[test]
    fn success_shortens_the_next_pause() {
        let caution = caution(false);
        for _ in 0..5 {
            pause(&caution);
        }
        for _ in 0..2_000 {
            caution.note_commit();
        }
        assert_eq!(pause(&caution), PAUSE_MIN);
    }

    #[test]
    fn a_try_in_vain_right_after_a_pause_is_the_last() {
        let caution = caution(true);
        pause(&caution);
        for _ in 0..2_000 {
            caution.note_commit();
        }
        pause(&caution);
        assert!(!caution.has_given_up(), "all went well in between");
        let aborts = (1..100).find(|_| {
            caution.note_abort();
            caution.has_given_up()
        });
        assert_eq!(aborts, Some(SECOND_WEIGHT_MAX / ABORT_WEIGHT));
    }

    #[test]
    fn an_abort_now_and_then_is_no_reason_to_pause() {
        let caution = caution(false);
        for _ in 0..1_000 {
            caution.note_abort();
            assert!(!caution.is_pausing());
            for _ in 0..ABORT_WEIGHT {
                caution.note_commit();
            }
        }
    }
}

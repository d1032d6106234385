use super::ids::{EntryIndex, Incarnation};

/// Disturbs a schedule, for tests: delays, forced aborts, forced replays. The result must not change.
pub trait ScheduleFuzz: Send + Sync {
    /// Called by the worker that is about to execute; may block for a while.
    fn before_execute(&self, _entry: EntryIndex, _incarnation: Incarnation, _is_transaction: bool) {}

    /// Whether entries must run ahead whatever became of those before: so it is where one is held back until another
    /// begins. Else the scheduler pauses where running ahead is in vain.
    fn never_pauses(&self) -> bool {
        true
    }

    /// After how many executions thrown away the run is to give up running ahead, for good; after none before anything
    /// is executed. Asked where it may pause.
    fn gives_up_after(&self) -> Option<u32> {
        None
    }

    /// Called after every read of an execution; may block for a while.
    fn after_read(&self, _entry: EntryIndex) {}

    /// Whether to throw this execution's result away and run the entry again. Not asked of final executions.
    fn abort(&self, _entry: EntryIndex, _incarnation: Incarnation) -> bool {
        false
    }

    /// Whether the frontier should send this entry and everything executed behind it back to be run again.
    fn replay_suffix(&self, _frontier: EntryIndex, _incarnation: Incarnation) -> bool {
        false
    }
}

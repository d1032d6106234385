use citius_engine::BlockMetrics;
use serde::Serialize;

/// What cold reads made executions do: all zero where the state is in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ColdReads {
    /// Executions that were parked while a read was on its way, each counted once.
    pub parked: u64,
    /// Times that executions were parked.
    pub parks: u64,
    /// Reads that a thread waited for.
    pub reads_waited_for: u64,
    /// Keys of accounts and slots that were asked for ahead.
    pub keys_asked_ahead: u64,
    /// Those of them that were read.
    pub keys_ahead_useful: u64,
    /// Those that were not.
    pub keys_ahead_useless: u64,
}

impl ColdReads {
    /// Those of a block.
    #[must_use]
    pub fn of(metrics: &BlockMetrics) -> Self {
        Self {
            parked: metrics.parked,
            parks: metrics.parks,
            reads_waited_for: metrics.reads_waited_for,
            keys_asked_ahead: metrics.keys_asked_ahead,
            keys_ahead_useful: metrics.keys_ahead_useful,
            keys_ahead_useless: metrics.keys_ahead_useless,
        }
    }

    /// Adds those of another block.
    pub fn add(&mut self, other: &Self) {
        self.parked += other.parked;
        self.parks += other.parks;
        self.reads_waited_for += other.reads_waited_for;
        self.keys_asked_ahead += other.keys_asked_ahead;
        self.keys_ahead_useful += other.keys_ahead_useful;
        self.keys_ahead_useless += other.keys_ahead_useless;
    }

    /// A line of the total; none where there were no such reads.
    #[must_use]
    pub fn text(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        let Self { parked, parks, reads_waited_for, .. } = self;
        let Self { keys_asked_ahead, keys_ahead_useful, keys_ahead_useless, .. } = self;
        format!(
            "  cold     {parked} executions parked {parks} times, {reads_waited_for} reads waited for; {keys_asked_ahead} keys \
             asked ahead, {keys_ahead_useful} read, {keys_ahead_useless} not\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Entry, Subject, Total, entry::tests::entry, text},
        *,
    };
    use serde_json::json;

    fn cold(first: u64) -> ColdReads {
        ColdReads {
            parked: first,
            parks: first + 1,
            reads_waited_for: first + 2,
            keys_asked_ahead: first + 3,
            keys_ahead_useful: first + 4,
            keys_ahead_useless: first + 5,
        }
    }

    #[test]
    fn what_a_block_counted_is_in_its_entry_under_the_engines_names() {
        let metrics = BlockMetrics {
            parked: 1,
            parks: 2,
            reads_waited_for: 3,
            keys_asked_ahead: 4,
            keys_ahead_useful: 5,
            keys_ahead_useless: 6,
            ..BlockMetrics::default()
        };
        let entry = Entry { cold_reads: ColdReads::of(&metrics), ..entry("a", 1, 1, 1) };
        let json = serde_json::to_value(&entry).unwrap();
        let names = [
            "parked",
            "parks",
            "reads_waited_for",
            "keys_asked_ahead",
            "keys_ahead_useful",
            "keys_ahead_useless",
        ];
        assert_eq!(names.map(|name| &json[name]), [1, 2, 3, 4, 5, 6].map(|count| json!(count)).each_ref());
    }

    #[test]
    fn cold_reads_are_summed_up_in_one_line_where_there_were_any() {
        let of = |first| Entry { cold_reads: cold(first), ..entry("a", 1, 1, 1) };
        let refused = Entry { error: Some("no".to_owned()), ..of(1000) };
        let entries = [of(1), of(20), refused];
        let total = Total::of(&entries);
        assert_eq!(total.executed.cold_reads, ColdReads { parked: 21, ..total.executed.cold_reads });
        assert_eq!(total.all.cold_reads.keys_ahead_useless, 6 + 25 + 1005);
        let report = text(Subject::Block, &entries, &[], &total);
        let line = "\n  cold     21 executions parked 23 times, 25 reads waited for; 27 keys asked ahead, 29 read, 31 not\n";
        assert!(report.contains(line), "{report}");

        let warm = [entry("a", 1, 1, 1)];
        let report = text(Subject::Block, &warm, &[], &Total::of(&warm));
        assert!(!report.contains("cold"), "{report}");
    }
}

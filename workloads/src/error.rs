/// Why a workload cannot be generated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// A field of the spec has a value that cannot be right.
    #[error("workload field `{field}` is {value}: expected {expected}")]
    Field {
        /// The field's name, as in [`WorkloadSpec`](crate::WorkloadSpec).
        field: &'static str,
        /// What stands there.
        value: String,
        /// What should.
        expected: String,
    },
}

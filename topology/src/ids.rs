//! The numbers a machine is spoken of in, one newtype each, so that two cannot swap.

use serde::Serialize;
use std::fmt;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index! {
    /// A logical CPU (one SMT sibling) by the operating system's number: what threads are pinned to.
    CpuId
}
index! {
    /// A physical core by its place in the machine, from 0 without gaps. Not the kernel's `core_id`, which repeats
    /// from package to package.
    CoreId
}
index! {
    /// A NUMA node by the operating system's number, which may have gaps.
    NumaId
}
index! {
    /// A package (socket) by the operating system's number.
    PackageId
}
index! {
    /// A worker of the engine, from 0 without gaps.
    WorkerIndex
}

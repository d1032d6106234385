//! Why there is no device.

use citius_kernels::protocol::{ChannelError, Failure, LayoutError, Packet, RegionError};
use std::{io, path::PathBuf};
use thiserror::Error;

/// Why a host or its device could not be made ready.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The program could not be started; most often it is not there.
    #[error("cannot start {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The host was silent, broke off or talked nonsense.
    #[error("the device host does not answer")]
    Channel(#[from] ChannelError),
    /// The host said something that is no answer to what it was asked.
    #[error("the device host answered {found}: expected {expected}")]
    Answer {
        /// The packet.
        found: String,
        /// What would have been an answer.
        expected: &'static str,
    },
    /// The driver failed.
    #[error("the device failed: {reason}")]
    Device {
        /// What the host said.
        reason: String,
    },
    /// There is no such device, it cannot run the kernel, or the precompiled program is not what its manifest says.
    #[error("the device was refused: {reason}")]
    Refused {
        /// What the host said.
        reason: String,
    },
    /// The device computed a digest that is wrong.
    #[error("the device gives wrong digests (message {index} of its batch)")]
    Wrong {
        /// The message.
        index: usize,
    },
    /// The sizes asked for cannot be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// No shared memory.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The system gives no thread.
    #[error("cannot start a thread for the device")]
    Thread {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DeviceError {
    /// Whether another try would end the same.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Layout(_))
    }

    /// The error of an answer that is none.
    pub(super) fn answer(packet: Packet, expected: &'static str) -> Self {
        match packet {
            Packet::Failed { failure: Failure::Device, reason } => Self::Device { reason },
            Packet::Failed { failure: Failure::Refused, reason } => Self::Refused { reason },
            other => Self::Answer { found: format!("{other:?}").chars().take(200).collect(), expected },
        }
    }
}

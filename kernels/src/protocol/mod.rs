//! What `citius-hashing` and `citius-device-host` say to each other. It stands here because the host may import no
//! other room, and what is transferred is what the kernels take ([`crate::device`]).
//!
//! The parent starts the host with one end of a socket pair (`AF_UNIX`, `SOCK_SEQPACKET`) as its standard input. Over it
//! go small packets ([`Packet`]); with [`Packet::Open`] goes the descriptor of a sealed memory file ([`Region`]), which
//! both sides map and in which the payload stands:
//!
//! ```text
//! offset            bytes                  written by   content
//! 0                 4096                   parent       header: four u64, little-endian, then zeros
//!                                                         magic "CitiusDH", version 1, arena_bytes, messages_max
//! 4096              arena_bytes            parent       messages, each at a multiple of 8 bytes
//! + arena_bytes     messages_max * 8       parent       (first word, length in bytes) of each, two u32
//! + the above       messages_max * 32      host         digests
//! ```
//!
//! A conversation is: `List` → `Device`…, `ListEnd`; or `Open` → `Opened`, then any number of `Hash` → `Done`, one at a
//! time. `Failed` may answer anything. The parent leaves the file alone between `Hash` and its answer; if none comes in
//! time it kills the host and starts another with a file of its own.
//!
//! Neither side trusts the other: every packet and every number from the file is checked before use, the file can
//! neither shrink nor grow (`memfd_create(2)`, seals), and all access to it is by relaxed atomic loads and stores, so
//! that a peer that writes when it should not changes values and nothing else.

mod channel;
mod job;
mod layout;
mod packet;
mod region;

pub use channel::{Channel, ChannelError};
pub use job::{Job, JobError};
pub use layout::{ARENA_BYTES_MAX, Layout, LayoutError, MESSAGES_MAX};
pub use packet::{DeviceClass, DeviceInfo, Failure, PACKET_BYTES_MAX, Packet, PacketError, Program};
pub use region::{Region, RegionError};

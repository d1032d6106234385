//! How batches of messages are hashed: by which devices beside the processor, and how fast by each of them, side by side.

mod choice;
mod contest;
mod device_hasher;
mod devices;
mod expected;
mod load;

pub use choice::{DeviceChoice, DeviceChoiceError};
pub use contest::{BackendFailed, HashResult, WrongDigest, contest};
pub use device_hasher::{DeviceHasherError, DeviceSettings, device_hasher, tell_of_devices};
pub use devices::{MEASURING_DEADLINE, device_host, find_devices, start_device, wait_for_device};
pub use load::HashLoad;

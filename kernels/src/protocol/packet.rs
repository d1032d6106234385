//! The packets and their bytes: a kind, then the fields in order, numbers little-endian, texts and paths as a `u16`
//! length and so many bytes.

use crate::device::Kernel;
use std::{
    ffi::OsStr,
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The longest packet, in bytes.
pub const PACKET_BYTES_MAX: usize = 16 * 1024;

/// Texts of the host are cut here, so that every packet can be sent.
const TEXT_BYTES_MAX: usize = 2048;

/// One message over the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// To the host: name your devices.
    List,
    /// To the host, with the shared file: make this device ready.
    Open {
        /// [`DeviceInfo::id`].
        device: String,
        /// The kernel it is to run.
        kernel: Kernel,
        /// The kernel as the vendor's compiler made it; else it is built from source.
        program: Option<Program>,
    },
    /// To the host: hash what stands in the shared file.
    Hash {
        /// Repeated in the answer.
        sequence: u64,
        /// Messages, the first ones of the file's table.
        count: u64,
        /// Words of the arena in use.
        arena_words: u64,
    },
    /// From the host: one device.
    Device(DeviceInfo),
    /// From the host: that was the last one.
    ListEnd,
    /// From the host: the device is ready.
    Opened,
    /// From the host: the digests stand in the shared file.
    Done {
        /// The command's.
        sequence: u64,
        /// Time that the device and its driver took, in nanoseconds.
        device_ns: u64,
    },
    /// From the host: no.
    Failed {
        /// What kind of no.
        failure: Failure,
        /// Why, in words.
        reason: String,
    },
}

/// A precompiled program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file for the driver (`.aocx`, `.xclbin`).
    pub path: PathBuf,
    /// Its manifest (TOML), with the SHA-256 it must have.
    pub manifest_path: PathBuf,
}

/// Whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The device or its driver failed: another try may succeed.
    Device,
    /// There is no such device, it cannot run this kernel, or the program is not what its manifest says: another try
    /// would end the same.
    Refused,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceClass {
    /// A processor that a driver offers as a device.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// Anything else, FPGA cards for one.
    Accelerator,
}

/// A device as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What [`Packet::Open`] calls it: interface, name, and a number among those of one name. The same in every
    /// process while the machine and its drivers stay the same.
    pub id: String,
    /// The interface: `vulkan` or `opencl`.
    pub api: String,
    /// The device's name.
    pub name: String,
    /// The driver's name and version.
    pub driver: String,
    /// What it is.
    pub class: DeviceClass,
    /// The kernels it can run, the one to prefer first.
    pub kernels: Vec<Kernel>,
}

/// Bytes that are no packet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("packet of {bytes} bytes: {field}: expected {expected}")]
pub struct PacketError {
    /// The packet's length.
    pub bytes: usize,
    /// The field.
    pub field: &'static str,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for DeviceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Accelerator => "accelerator",
        })
    }
}

const LIST: u8 = 1;
const OPEN: u8 = 2;
const HASH: u8 = 3;
const DEVICE: u8 = 4;
const LIST_END: u8 = 5;
const OPENED: u8 = 6;
const DONE: u8 = 7;
const FAILED: u8 = 8;

impl Packet {
    /// The packet's bytes. Texts are cut at 2,048 bytes.
    ///
    /// # Errors
    ///
    /// [`PacketError`], if a path is longer than that: half a path would be another one.
    pub fn encode(&self) -> Result<Vec<u8>, PacketError> {
        let mut out = Vec::with_capacity(64);
        match self {
            Self::List => out.push(LIST),
            Self::Open { device, kernel, program } => {
                out.push(OPEN);
                put_text(&mut out, device);
                put_text(&mut out, kernel.name());
                out.push(u8::from(program.is_some()));
                for path in program.iter().flat_map(|program| [&program.path, &program.manifest_path]) {
                    put_path(&mut out, path)?;
                }
            }
            Self::Hash { sequence, count, arena_words } => {
                out.push(HASH);
                for number in [sequence, count, arena_words] {
                    out.extend(number.to_le_bytes());
                }
            }
            Self::Device(info) => {
                out.push(DEVICE);
                for text in [&info.id, &info.api, &info.name, &info.driver] {
                    put_text(&mut out, text);
                }
                out.push(info.class as u8);
                out.push(info.kernels.len() as u8);
                for kernel in &info.kernels {
                    put_text(&mut out, kernel.name());
                }
            }
            Self::ListEnd => out.push(LIST_END),
            Self::Opened => out.push(OPENED),
            Self::Done { sequence, device_ns } => {
                out.push(DONE);
                out.extend(sequence.to_le_bytes());
                out.extend(device_ns.to_le_bytes());
            }
            Self::Failed { failure, reason } => {
                out.push(FAILED);
                out.push(*failure as u8);
                put_text(&mut out, reason);
            }
        }
        Ok(out)
    }

    /// The packet of `bytes`.
    ///
    /// # Errors
    ///
    /// [`PacketError`], for an unknown kind, a field that ends too early or says nothing known, or bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        let mut fields = Fields { rest: bytes, bytes: bytes.len() };
        let packet = match fields.byte("kind")? {
            LIST => Self::List,
            OPEN => {
                let (device, kernel) = (fields.text("device")?, fields.kernel()?);
                let program = match fields.byte("has_program")? {
                    0 => None,
                    1 => Some(Program {
                        path: fields.path("program")?,
                        manifest_path: fields.path("manifest")?,
                    }),
                    _ => return Err(fields.wrong("has_program", "0 or 1")),
                };
                Self::Open { device, kernel, program }
            }
            HASH => Self::Hash {
                sequence: fields.number("sequence")?,
                count: fields.number("count")?,
                arena_words: fields.number("arena_words")?,
            },
            DEVICE => Self::Device(fields.device()?),
            LIST_END => Self::ListEnd,
            OPENED => Self::Opened,
            DONE => {
                Self::Done { sequence: fields.number("sequence")?, device_ns: fields.number("device_ns")? }
            }
            FAILED => {
                let failure = match fields.byte("failure")? {
                    0 => Failure::Device,
                    1 => Failure::Refused,
                    _ => return Err(fields.wrong("failure", "0 or 1")),
                };
                Self::Failed { failure, reason: fields.text("reason")? }
            }
            _ => return Err(fields.wrong("kind", "1 to 8")),
        };
        if fields.rest.is_empty() { Ok(packet) } else { Err(fields.wrong("end", "no more bytes")) }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let cut = text.floor_char_boundary(TEXT_BYTES_MAX);
    out.extend((cut as u16).to_le_bytes());
    out.extend(&text.as_bytes()[..cut]);
}

fn put_path(out: &mut Vec<u8>, path: &Path) -> Result<(), PacketError> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(PacketError { bytes: bytes.len(), field: "path", expected: "at most 2048 bytes" });
    }
    out.extend((bytes.len() as u16).to_le_bytes());
    out.extend(bytes);
    Ok(())
}

/// What is left of a packet.
struct Fields<'a> {
    rest: &'a [u8],
    bytes: usize,
}

impl<'a> Fields<'a> {
    fn wrong(&self, field: &'static str, expected: &'static str) -> PacketError {
        PacketError { bytes: self.bytes, field, expected }
    }

    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], PacketError> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.wrong(field, "more bytes"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], PacketError> {
        let taken = self.take(N, field)?;
        taken.try_into().map_err(|_| self.wrong(field, "more bytes"))
    }

    fn byte(&mut self, field: &'static str) -> Result<u8, PacketError> {
        Ok(self.array::<1>(field)?[0])
    }

    fn number(&mut self, field: &'static str) -> Result<u64, PacketError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    fn long(&mut self, field: &'static str) -> Result<&'a [u8], PacketError> {
        let length = u16::from_le_bytes(self.array(field)?);
        self.take(usize::from(length), field)
    }

    fn text(&mut self, field: &'static str) -> Result<String, PacketError> {
        let bytes = self.long(field)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.wrong(field, "UTF-8"))
    }

    fn path(&mut self, field: &'static str) -> Result<PathBuf, PacketError> {
        Ok(Path::new(OsStr::from_bytes(self.long(field)?)).to_owned())
    }

    fn kernel(&mut self) -> Result<Kernel, PacketError> {
        let name = self.text("kernel")?;
        Kernel::from_name(&name).ok_or_else(|| self.wrong("kernel", "the name of a kernel"))
    }

    fn device(&mut self) -> Result<DeviceInfo, PacketError> {
        let (id, api, name) = (self.text("id")?, self.text("api")?, self.text("name")?);
        let driver = self.text("driver")?;
        let class = match self.byte("class")? {
            0 => DeviceClass::Cpu,
            1 => DeviceClass::Gpu,
            2 => DeviceClass::Accelerator,
            _ => return Err(self.wrong("class", "0 to 2")),
        };
        let kernels_count = self.byte("kernels")?;
        let kernels = (0..kernels_count).map(|_| self.kernel()).collect::<Result<_, _>>()?;
        Ok(DeviceInfo { id, api, name, driver, class, kernels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Vec<Packet> {
        let program =
            Program { path: "a/keccak.aocx".into(), manifest_path: OsStr::from_bytes(b"\xff.toml").into() };
        let info = DeviceInfo {
            id: "opencl:1:card".into(),
            api: "opencl".into(),
            name: "card".into(),
            driver: "3.1 \u{e9}".into(),
            class: DeviceClass::Accelerator,
            kernels: vec![Kernel::Fpga, Kernel::Vec8],
        };
        let open =
            |program| Packet::Open { device: "vulkan:0:gpu".into(), kernel: Kernel::WgslInt64, program };
        vec![
            Packet::List,
            open(None),
            open(Some(program)),
            Packet::Hash { sequence: 1, count: u64::MAX, arena_words: 3 },
            Packet::Device(info),
            Packet::ListEnd,
            Packet::Opened,
            Packet::Done { sequence: 7, device_ns: 8 },
            Packet::Failed { failure: Failure::Refused, reason: "no".into() },
            Packet::Failed { failure: Failure::Device, reason: String::new() },
        ]
    }

    #[test]
    fn packets_read_back() {
        for packet in examples() {
            assert_eq!(Packet::decode(&packet.encode().unwrap()), Ok(packet));
        }
    }

    #[test]
    fn cut_packets_and_packets_with_more_are_refused_and_changed_ones_do_no_harm() {
        for packet in examples() {
            let bytes = packet.encode().unwrap();
            for length in 0..bytes.len() {
                assert!(Packet::decode(&bytes[..length]).is_err(), "{packet:?} cut at {length}");
            }
            let more = [bytes.clone(), vec![0]].concat();
            assert!(Packet::decode(&more).is_err(), "{packet:?} and a byte more");
            for index in 0..bytes.len() {
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[index] ^= 1 << bit;
                    assert_ne!(Packet::decode(&changed), Ok(packet.clone()), "bit {bit} of byte {index}");
                }
            }
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character_and_long_paths_refused() {
        let reason = "\u{e9}".repeat(3000);
        let bytes = Packet::Failed { failure: Failure::Device, reason }.encode().unwrap();
        let Ok(Packet::Failed { reason, .. }) = Packet::decode(&bytes) else { panic!() };
        assert_eq!(reason, "\u{e9}".repeat(1024));

        let path = PathBuf::from("x".repeat(3000));
        let program = Some(Program { path: path.clone(), manifest_path: path });
        let open = Packet::Open { device: String::new(), kernel: Kernel::Fpga, program };
        assert_eq!(open.encode().unwrap_err().field, "path");
    }
}

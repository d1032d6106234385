//! Where the device host is, and what devices it has.

use super::{DeviceError, DeviceInfo, process::HostProcess};
use citius_kernels::protocol::{ChannelError, Packet};
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Devices that a host may list.
const DEVICES_MAX: usize = 256;

/// The program `citius-device-host` and how it is to be started.
#[derive(Debug, Clone)]
pub struct DeviceHost {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl DeviceHost {
    /// The program at a path; whether it is there shows when it is started.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// Adds an argument behind `serve`.
    #[must_use]
    pub fn with_argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable of the host's environment, which is otherwise this process's: drivers read theirs there.
    #[must_use]
    pub fn with_environment(mut self, name: impl Into<OsString>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    pub(super) fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    /// The devices that the host finds, in a process of its own that ends before this returns. None is no error. It
    /// may take ten seconds where there are no drivers, so this is not for a thread that has something else to do.
    ///
    /// # Errors
    ///
    /// [`DeviceError`], if the program is absent, or crashes or is silent for `deadline`.
    pub fn list(&self, deadline: Duration) -> Result<Vec<DeviceInfo>, DeviceError> {
        let deadline = Instant::now() + deadline;
        let process = HostProcess::spawn(self)?;
        process.channel().send(&Packet::List, None)?;
        let mut devices = Vec::new();
        loop {
            match process.channel().receive(Some(deadline))?.0 {
                Packet::Device(device) if devices.len() < DEVICES_MAX => devices.push(device),
                Packet::ListEnd => return Ok(devices),
                other => return Err(DeviceError::answer(other, "devices")),
            }
            // One that lists for ever is as good as silent.
            if Instant::now() > deadline {
                return Err(ChannelError::Late.into());
            }
        }
    }
}

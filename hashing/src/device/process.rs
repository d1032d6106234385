//! A host's process.

use super::{DeviceError, DeviceHost};
use citius_kernels::protocol::Channel;
use std::{
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a killed host is waited for by who killed it; after that by a thread of its own. A driver may hold it in a
/// system call.
const END_DEADLINE: Duration = Duration::from_millis(200);

/// A running host and the channel to it. Killed and waited for when dropped.
#[derive(Debug)]
pub(super) struct HostProcess {
    /// There until it is dropped.
    child: Option<Child>,
    id: u32,
    channel: Channel,
}

impl HostProcess {
    pub(super) fn spawn(host: &DeviceHost) -> Result<Self, DeviceError> {
        let (channel, socket) = Channel::pair()?;
        let child = Command::new(host.program())
            .arg("serve")
            .args(host.arguments())
            .envs(host.environment().iter().map(|(name, value)| (name, value)))
            .stdin(socket)
            // Drivers print there what is not for us.
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| DeviceError::Spawn { program: host.program().to_owned(), source })?;
        Ok(Self { id: child.id(), child: Some(child), channel })
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Ends it, without waiting: in the middle of a system call that may take its time.
    pub(super) fn kill(&mut self) {
        // It fails only for a child that was waited for, which is what is wanted.
        let _ = self.child.as_mut().map(Child::kill);
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<String> {
        match self.child.as_mut()?.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        self.kill();
        let Some(mut child) = self.child.take() else { return };
        let deadline = Instant::now() + END_DEADLINE;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                // Without a thread it stays a zombie: there is nothing better to do.
                let _ = thread::Builder::new().name("device end".into()).spawn(move || child.wait());
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

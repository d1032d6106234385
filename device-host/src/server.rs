//! The host's side of the conversation.
//!
//! Two threads: one waits on the socket, one for the device. So a host whose parent dies ends at once, whatever its
//! driver does at that time.

use crate::{
    api::{Api, Device, OpenError, no_such_device},
    error_text::with_causes,
};
use citius_kernels::protocol::{Channel, ChannelError, Failure, Job, Packet, Region};
use rustix::process::{Signal, getpid, kill_process};
use std::{
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

/// Commands that may wait for the device. The parent sends one at a time.
const COMMANDS_WAITING_MAX: usize = 4;

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The channel broke, or what came over it was no packet.
    #[error("no conversation with a parent on the standard input")]
    Channel(#[from] ChannelError),
    /// The parent sends commands faster than it takes answers.
    #[error("more than {COMMANDS_WAITING_MAX} commands wait")]
    Flooded,
}

/// Answers the parent at the other end of `socket`, until that goes away: then the process is killed, since drivers
/// may hang in what they do at an orderly end.
///
/// # Errors
///
/// [`ServeError`], for a parent that does not keep to the protocol.
pub fn serve(apis: Vec<Box<dyn Api>>, socket: OwnedFd) -> Result<(), ServeError> {
    let channel = Arc::new(Channel::from_socket(socket));
    let (commands, waiting) = mpsc::sync_channel(COMMANDS_WAITING_MAX);
    let worker_channel = Arc::clone(&channel);
    thread::spawn(move || {
        let _end = KillOnPanic;
        let mut worker = Worker { apis, channel: worker_channel, opened: None };
        for (packet, file) in waiting {
            if worker.answer(packet, file).is_err() {
                kill_self();
            }
        }
    });
    loop {
        match channel.receive(None) {
            Ok(command) => commands.try_send(command).map_err(|_| ServeError::Flooded)?,
            Err(ChannelError::Closed) => kill_self(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends the process when a driver's binding panics in the worker: nobody would answer any more.
struct KillOnPanic;

impl Drop for KillOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            kill_self();
        }
    }
}

/// Ends the process without a word to the drivers.
fn kill_self() {
    let _ = kill_process(getpid(), Signal::KILL);
}

struct Worker {
    apis: Vec<Box<dyn Api>>,
    channel: Arc<Channel>,
    opened: Option<Opened>,
}

struct Opened {
    device: Box<dyn Device>,
    region: Region,
    /// The messages of the last command, as they were checked.
    table: Vec<(u32, u32)>,
}

impl Worker {
    fn answer(&mut self, packet: Packet, file: Option<OwnedFd>) -> Result<(), ChannelError> {
        let answer = match packet {
            Packet::List => {
                for device in self.apis.iter().flat_map(|api| api.list()) {
                    self.channel.send(&Packet::Device(device), None)?;
                }
                Packet::ListEnd
            }
            Packet::Open { device, kernel, program } => match file {
                None => refused("Open came without a file"),
                Some(file) => match Region::open(&file) {
                    Err(error) => refused(with_causes(&error)),
                    Ok(region) => {
                        let open = |api: &dyn Api| api.open(&device, kernel, program.as_ref());
                        let opened = self.apis.iter().find_map(|api| open(api.as_ref()));
                        match opened.unwrap_or_else(|| Err(no_such_device(&self.apis, &device))) {
                            Err(error) => failed(&error),
                            Ok(device) => {
                                self.opened = Some(Opened { device, region, table: Vec::new() });
                                Packet::Opened
                            }
                        }
                    }
                },
            },
            Packet::Hash { sequence, count, arena_words } => match &mut self.opened {
                None => refused("Hash came before Open"),
                Some(opened) => opened.hash(sequence, count, arena_words),
            },
            _ => refused("that packet is not for a host"),
        };
        self.channel.send(&answer, None)
    }
}

impl Opened {
    fn hash(&mut self, sequence: u64, count: u64, arena_words: u64) -> Packet {
        let job = match Job::check(&self.region, count, arena_words, &mut self.table) {
            Ok(job) => job,
            Err(error) => return refused(error.to_string()),
        };
        let start = Instant::now();
        match self.device.hash(&self.region, job, &self.table) {
            Ok(()) => {
                let device_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                Packet::Done { sequence, device_ns }
            }
            Err(error) => failed(&error),
        }
    }
}

fn refused(reason: impl Into<String>) -> Packet {
    Packet::Failed { failure: Failure::Refused, reason: reason.into() }
}

fn failed(error: &OpenError) -> Packet {
    Packet::Failed { failure: error.failure(), reason: with_causes(error) }
}

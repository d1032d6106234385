//! The socket between parent and host.

use super::packet::{PACKET_BYTES_MAX, Packet, PacketError};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, IoSlice, IoSliceMut},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg,
        socketpair,
    },
};
use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};
use thiserror::Error;

/// One end of the conversation. Never blocks for longer than it is told.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// Why no packet came or went.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The other side is gone.
    #[error("the other side closed the channel")]
    Closed,
    /// Nothing came in time.
    #[error("no packet within the deadline")]
    Late,
    /// What came, or was to go, is no packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// The system refused.
    #[error("{call} failed")]
    System {
        /// The call.
        call: &'static str,
        /// What it said.
        #[source]
        source: Errno,
    },
}

impl Channel {
    /// The parent's end, and what is to become the standard input of a host. Both close when a program is executed.
    ///
    /// # Errors
    ///
    /// [`ChannelError::System`].
    pub fn pair() -> Result<(Self, OwnedFd), ChannelError> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|source| ChannelError::System { call: "socketpair", source })?;
        Ok((Self { socket: ours }, theirs))
    }

    /// An end that was handed over.
    #[must_use]
    pub fn from_socket(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Sends a packet and perhaps a file. Does not wait: a peer that reads nothing is an error.
    ///
    /// # Errors
    ///
    /// [`ChannelError`].
    pub fn send(&self, packet: &Packet, file: Option<&OwnedFd>) -> Result<(), ChannelError> {
        let bytes = packet.encode()?;
        let files: Vec<_> = file.iter().map(|file| file.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            let has_room = control.push(SendAncillaryMessage::ScmRights(&files));
            assert!(has_room, "the space is made for one file");
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            match sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => return Err(ChannelError::Closed),
                Err(source) => return Err(ChannelError::System { call: "sendmsg", source }),
            }
        }
    }

    /// The next packet, and the file that came with it. Waits until `deadline`, or for ever.
    ///
    /// # Errors
    ///
    /// [`ChannelError`].
    pub fn receive(&self, deadline: Option<Instant>) -> Result<(Packet, Option<OwnedFd>), ChannelError> {
        self.wait(deadline)?;
        let mut bytes = [0; PACKET_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            match recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(deadline)?,
                Err(Errno::CONNRESET) => return Err(ChannelError::Closed),
                Err(source) => return Err(ChannelError::System { call: "recvmsg", source }),
            }
        };
        // More files than one do not fit the space: the system closes them.
        let file = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        });
        if received.bytes == 0 {
            return Err(ChannelError::Closed);
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            let error = PacketError { bytes: received.bytes, field: "length", expected: "a shorter packet" };
            return Err(error.into());
        }
        Ok((Packet::decode(&bytes[..received.bytes])?, file))
    }

    /// Until there is something to read, or the end of the conversation.
    fn wait(&self, deadline: Option<Instant>) -> Result<(), ChannelError> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left
                .map(|left| Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
            let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut polled, timeout.as_ref()) {
                Ok(0) => return Err(ChannelError::Late),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(source) => return Err(ChannelError::System { call: "poll", source }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Layout, Region};
    use std::time::Duration;

    fn ends() -> (Channel, Channel) {
        let (parent, host) = Channel::pair().unwrap();
        (parent, Channel::from_socket(host))
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    #[test]
    fn packets_and_files_arrive_in_order() {
        let (parent, host) = ends();
        let (_region, file) = Region::create(Layout::new(4096, 1).unwrap()).unwrap();
        parent.send(&Packet::List, None).unwrap();
        parent.send(&Packet::Opened, Some(&file)).unwrap();
        assert!(matches!(host.receive(None).unwrap(), (Packet::List, None)));
        let (packet, file) = host.receive(None).unwrap();
        assert_eq!(packet, Packet::Opened);
        Region::open(&file.unwrap()).unwrap();
    }

    #[test]
    fn silence_is_late_and_an_end_is_an_end() {
        let (parent, host) = ends();
        assert!(matches!(parent.receive(soon()), Err(ChannelError::Late)));
        host.send(&Packet::ListEnd, None).unwrap();
        drop(host);
        assert_eq!(parent.receive(soon()).unwrap().0, Packet::ListEnd, "what was said before is heard");
        assert!(matches!(parent.receive(soon()), Err(ChannelError::Closed)));
        assert!(matches!(parent.send(&Packet::List, None), Err(ChannelError::Closed)));
    }

    #[test]
    fn noise_is_an_error() {
        let (parent, host) = ends();
        for noise in [&[200_u8][..], &[0; PACKET_BYTES_MAX + 1]] {
            rustix::net::send(&host.socket, noise, SendFlags::empty()).unwrap();
            assert!(matches!(parent.receive(soon()), Err(ChannelError::Packet(_))));
        }
    }

    #[test]
    fn a_peer_that_never_reads_blocks_nobody() {
        let (parent, _host) = ends();
        let error = (0..100_000).find_map(|_| parent.send(&Packet::List, None).err()).unwrap();
        assert!(matches!(error, ChannelError::System { source: Errno::AGAIN, .. }), "{error}");
    }
}

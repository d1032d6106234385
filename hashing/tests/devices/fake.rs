//! A device that behaves as it is told.

use alloy_primitives::B256;
use citius_hashing::{Backend, BackendError, Calibration, Cost, keccak256};
use std::{
    ops::Range,
    sync::{Condvar, Mutex},
    thread,
    time::Duration,
};

/// What a fake device does with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Behaviour {
    #[default]
    Right,
    /// Says that it is not available.
    Gone,
    /// Says that it is, and takes no batch.
    Dead,
    Late,
    /// All digests are wrong.
    Lying,
    /// One digest is.
    LyingOnce,
    Slow,
    /// The first batch waits for [`FakeDevice::let_go`].
    Held,
}

#[derive(Debug, Default)]
pub(crate) struct FakeDevice {
    state: Mutex<(Behaviour, usize)>,
    changed: Condvar,
}

impl FakeDevice {
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.state.lock().unwrap().0 = behaviour;
        self.changed.notify_all();
    }

    pub(crate) fn let_go(&self) {
        self.behave(Behaviour::Right);
    }

    pub(crate) fn behaviour(&self) -> Behaviour {
        self.state.lock().unwrap().0
    }

    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().1
    }

    pub(crate) fn wait_until_called(&self) {
        let _called = self.changed.wait_while(self.state.lock().unwrap(), |(_, calls)| *calls == 0).unwrap();
    }
}

impl Backend for FakeDevice {
    fn name(&self) -> &str {
        "fake"
    }

    fn identity(&self) -> String {
        "fake 1".into()
    }

    fn is_available(&self) -> bool {
        self.behaviour() != Behaviour::Gone
    }

    fn hash_batch(
        &self,
        arena: &[u8],
        ranges: &[Range<usize>],
        digests: &mut [B256],
    ) -> Result<(), BackendError> {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        let (behaviour, call) = *state;
        let held =
            self.changed.wait_while(state, |(behaviour, _)| call == 1 && *behaviour == Behaviour::Held);
        drop(held);
        let backend = "fake".to_owned();
        match behaviour {
            Behaviour::Dead => {
                return Err(BackendError::Unavailable { backend, reason: "told so".into() });
            }
            Behaviour::Late => return Err(BackendError::Late { backend, deadline_ms: 1 }),
            Behaviour::Slow => thread::sleep(Duration::from_millis(50)),
            _ => {}
        }
        for (digest, range) in digests.iter_mut().zip(ranges) {
            *digest = keccak256(&arena[range.clone()]);
        }
        match behaviour {
            Behaviour::Lying => digests.iter_mut().for_each(|digest| digest[31] ^= 1),
            Behaviour::LyingOnce => digests[ranges.len() / 2][0] ^= 0x80,
            _ => {}
        }
        Ok(())
    }
}

/// Costs that are the same for all classes.
pub(crate) fn calibration(identity: &str, fixed_ns: f64, per_message_ns: f64) -> Calibration {
    let cost = Cost { fixed_ns, per_message_ns, per_byte_ns: 0.0 };
    Calibration { identity: identity.into(), costs: [cost; 4] }
}

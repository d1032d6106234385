//! The thread that keeps one device's host: starts it, buries it, starts it again.

use super::{
    DeviceError, DeviceEvent, DeviceHost, DeviceOptions, DeviceSpec,
    counters::{Counting, add},
    process::HostProcess,
    session::Session,
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// How often a host that has nothing to do is looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// A device, shared by its backend and its supervisor.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) host: DeviceHost,
    pub(super) spec: DeviceSpec,
    pub(super) options: DeviceOptions,
    pub(super) counters: Counting,
    pub(super) state: Mutex<State>,
    /// The state was changed by a batch or by the backend's end.
    pub(super) changed: Condvar,
    /// Whether the state is `Ready`, for asking without the lock, which a batch holds. Relaxed: who relies on it takes
    /// the lock.
    pub(super) is_ready: AtomicBool,
    /// Whether the backend is gone, for a start under way. Relaxed: it is looked at now and then.
    pub(super) is_ended: AtomicBool,
}

/// Where a device is.
#[derive(Debug)]
pub(super) enum State {
    /// Its host is being started, or the next start is waited for.
    Starting {
        /// Why the last host or start failed.
        reason: String,
    },
    /// It takes batches.
    Ready(Box<Session>),
    /// Its host was killed because of this error and is to be waited for.
    Failed { process: HostProcess, error: DeviceError },
    /// It is not used any more.
    Off {
        /// Why.
        reason: String,
    },
    /// The backend is gone.
    Ended,
}

impl Shared {
    /// Runs until the backend ends or the device is off.
    pub(super) fn supervise(&self) {
        let mut failures = Failures::default();
        loop {
            let started = Instant::now();
            let error = match Session::start(&self.host, &self.spec, &self.options, &self.is_ended) {
                Ok(session) => {
                    add(&self.counters.starts, 1);
                    let backend = self.name.clone();
                    self.tell(&DeviceEvent::Ready { backend, started_in: started.elapsed() });
                    match self.watch(session) {
                        Some(error) => error,
                        None => return,
                    }
                }
                Err(error) => {
                    add(&self.counters.starts_failed, 1);
                    error
                }
            };
            failures.wrong += u32::from(matches!(error, DeviceError::Wrong { .. }));
            let backend = self.name.clone();
            let is_off = error.is_final() || failures.wrong >= self.options.wrong_max.max(1);
            let reason = error.to_string();
            if is_off {
                // Told first: who sees the device off finds the reason in the log.
                self.tell(&DeviceEvent::Off { backend, error });
                let mut state = self.state.lock();
                if !matches!(*state, State::Ended) {
                    *state = State::Off { reason };
                }
                return;
            }
            let mut state = self.state.lock();
            if matches!(*state, State::Ended) {
                return;
            }
            *state = State::Starting { reason };
            drop(state);
            let retry_in = failures.pause(&self.options, started.elapsed());
            self.tell(&DeviceEvent::Restarting { backend, error, retry_in });
            if self.sleep(retry_in) {
                return;
            }
        }
    }

    /// Lets batches use the session until something fails; `None` if the backend ended. The host is gone afterwards.
    fn watch(&self, session: Session) -> Option<DeviceError> {
        let mut state = self.state.lock();
        if matches!(*state, State::Ended) {
            return None;
        }
        *state = State::Ready(Box::new(session));
        self.is_ready.store(true, Ordering::Relaxed);
        loop {
            self.changed.wait_for(&mut state, LOOK_PERIOD);
            match &mut *state {
                State::Ready(session) => {
                    let Some(status) = session.process.ended() else { continue };
                    let reason = format!("its host ended ({status})");
                    self.is_ready.store(false, Ordering::Relaxed);
                    *state = State::Starting { reason: reason.clone() };
                    return Some(DeviceError::Device { reason });
                }
                State::Failed { error, .. } => {
                    let starting = State::Starting { reason: error.to_string() };
                    let State::Failed { process, error } = std::mem::replace(&mut *state, starting) else {
                        unreachable!("matched above")
                    };
                    drop(state);
                    drop(process);
                    return Some(error);
                }
                State::Ended => return None,
                State::Starting { .. } | State::Off { .. } => {
                    unreachable!("only the supervisor sets these states")
                }
            }
        }
    }

    /// Marks the device as failed, for the supervisor to deal with, and ends its host without waiting for that.
    pub(super) fn fail(&self, mut state: MutexGuard<'_, State>, error: DeviceError) {
        self.is_ready.store(false, Ordering::Relaxed);
        let starting = State::Starting { reason: error.to_string() };
        if let State::Ready(session) = std::mem::replace(&mut *state, starting) {
            let mut process = session.process;
            process.kill();
            *state = State::Failed { process, error };
        }
        self.changed.notify_all();
    }

    pub(super) fn tell(&self, event: &DeviceEvent) {
        self.options.observer.tell(event);
    }

    /// Whether the backend ended meanwhile.
    fn sleep(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.state.lock();
        while !matches!(*state, State::Ended) {
            if self.changed.wait_until(&mut state, until).timed_out() {
                return matches!(*state, State::Ended);
            }
        }
        true
    }
}

/// What went wrong so far.
#[derive(Default)]
struct Failures {
    /// In a row.
    count: u32,
    /// Wrong digests, ever.
    wrong: u32,
}

impl Failures {
    /// The pause before the next start, after a host that ran for `lasted`.
    fn pause(&mut self, options: &DeviceOptions, lasted: Duration) -> Duration {
        if lasted > options.retry_max {
            self.count = 0;
        }
        let pause = options.retry_min.saturating_mul(1 << self.count.min(20)).min(options.retry_max);
        self.count += 1;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_a_long_life_starts_them_anew() {
        let seconds = Duration::from_secs;
        let options = DeviceOptions { retry_min: seconds(1), retry_max: seconds(5), ..Default::default() };
        let mut failures = Failures::default();
        let mut pauses = |lasted| failures.pause(&options, seconds(lasted)).as_secs();
        assert_eq!([0, 0, 0, 5, 6, 0].map(&mut pauses), [1, 2, 4, 5, 1, 2]);
        failures.count = u32::MAX - 1;
        assert_eq!(failures.pause(&options, seconds(0)), seconds(5));
    }
}

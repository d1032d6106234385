//! Answers that come later, all from one seed: by another thread, or where the thread that asked takes them.

use crate::fuzz::hash;
use citius_state::{Ticket, TicketIssuer};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Mutex,
        mpsc::{Sender, channel},
    },
    thread::ThreadId,
    time::{Duration, Instant},
};

/// Says of some questions that their answers are on their way.
#[derive(Debug)]
pub(crate) struct Late {
    seed: u64,
    percent: u64,
    asked: Mutex<HashMap<u64, Ticket>>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Another thread completes them, in another order.
    Elsewhere(Sender<(Instant, TicketIssuer)>),
    /// Each thread takes the answers to what it asked itself, as a store with a queue for each thread has it.
    Own(Mutex<HashMap<ThreadId, Vec<(Instant, TicketIssuer)>>>),
}

impl Late {
    pub(crate) fn new(seed: u64) -> Self {
        let dice = hash((seed, "late"));
        let way = if dice.is_multiple_of(2) { Way::Own(Mutex::default()) } else { Self::elsewhere() };
        Self { seed, percent: 20 + dice / 2 % 81, asked: Mutex::default(), way }
    }

    fn elsewhere() -> Way {
        let (sender, receiver) = channel::<(Instant, TicketIssuer)>();
        // Ends when nobody asks any more.
        std::thread::spawn(move || {
            let mut held = Vec::new();
            loop {
                let now = Instant::now();
                held.retain_mut(|(due, _): &mut (Instant, _)| *due > now);
                let next = held.iter().map(|(due, _)| *due).min();
                let wait = next.map_or(Duration::from_secs(60), |next| next - now);
                match receiver.recv_timeout(wait) {
                    Ok(late) => held.push(late),
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                    // Issuers that are dropped complete their tickets.
                    Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Way::Elsewhere(sender)
    }

    /// Whether the answer is there.
    pub(crate) fn ask(&self, key: impl Hash) -> Result<(), Ticket> {
        let key = hash((self.seed, key));
        let mut asked = self.asked.lock().unwrap();
        if let Some(ticket) = asked.get(&key) {
            return if ticket.is_complete() { Ok(()) } else { Err(ticket.clone()) };
        }
        let (ticket, issuer) = Ticket::issue();
        if key % 100 >= self.percent {
            drop(issuer);
            asked.insert(key, ticket);
            return Ok(());
        }
        asked.insert(key, ticket.clone());
        let due = Instant::now() + Duration::from_micros(key / 100 % 300);
        match &self.way {
            Way::Elsewhere(sender) => sender.send((due, issuer)).unwrap(),
            Way::Own(own) => {
                let mut own = own.lock().unwrap();
                own.entry(std::thread::current().id()).or_default().push((due, issuer));
            }
        }
        Err(ticket)
    }

    /// As [`StateReader::progress`](citius_state::StateReader::progress).
    pub(crate) fn progress(&self, wait: Option<Duration>) -> bool {
        let Way::Own(own) = &self.way else { return false };
        let thread = std::thread::current().id();
        let until = Instant::now() + wait.unwrap_or_default();
        loop {
            let now = Instant::now();
            let (done, left) = {
                let mut own = own.lock().unwrap();
                let own = own.entry(thread).or_default();
                let done: Vec<_> = own.extract_if(.., |(due, _)| *due <= now).collect();
                (done, own.iter().map(|(due, _)| *due).min())
            };
            let is_done = !done.is_empty();
            drop(done);
            match left {
                Some(due) if !is_done && now < until => std::thread::sleep(due.min(until) - now),
                left => return left.is_some(),
            }
        }
    }
}

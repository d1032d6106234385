//! What a reader asked of a store.

use crate::{
    ReadError, StateKey, Ticket, TicketIssuer,
    cold::{ColdError, walk::Answer},
};
use alloy_primitives::map::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;
use std::{fmt, hash::BuildHasher, sync::Arc};

/// Parts, so that threads seldom want the same.
const PARTS: usize = 16;

/// Answers of a store for which something was read, kept as long as the reader: it is read no more, however little memory there is for
/// pages.
#[derive(Default)]
pub(super) struct Asked {
    parts: [Mutex<HashMap<StateKey, State>>; PARTS],
    hasher: DefaultHashBuilder,
}

#[derive(Debug)]
enum State {
    Asked(Ticket),
    Answered(Result<Answer, Arc<ColdError>>),
}

impl Asked {
    fn part(&self, key: StateKey) -> &Mutex<HashMap<StateKey, State>> {
        &self.parts[self.hasher.hash_one(key) as usize % PARTS]
    }

    /// The answer, or a ticket if there is none yet; nothing if nobody asked.
    pub(super) fn answer(&self, key: StateKey) -> Option<Result<Answer, ReadError>> {
        match self.part(key).lock().get(&key)? {
            State::Asked(ticket) => Some(Err(ReadError::Pending { key, ticket: ticket.clone() })),
            State::Answered(Ok(answer)) => Some(Ok(answer.clone())),
            State::Answered(Err(error)) => {
                let source: Arc<dyn std::error::Error + Send + Sync> = Arc::clone(error) as _;
                Some(Err(ReadError::Store { key, source }))
            }
        }
    }

    /// Takes note that it is asked for, if nobody has.
    pub(super) fn begin(&self, key: StateKey) -> Option<TicketIssuer> {
        let mut part = self.part(key).lock();
        if part.contains_key(&key) {
            return None;
        }
        let (ticket, issuer) = Ticket::issue();
        part.insert(key, State::Asked(ticket));
        Some(issuer)
    }

    /// Takes note of the answer. Before its ticket is completed.
    pub(super) fn end(&self, key: StateKey, answer: Result<Answer, ColdError>) {
        self.part(key).lock().insert(key, State::Answered(answer.map_err(Arc::new)));
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}

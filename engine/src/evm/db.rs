use super::{
    codes::Codes,
    observation::{AccountObservation, EvmObservation, Observed},
    stream::EvmStream,
    value::{EvmKey, EvmValue},
};
use crate::scheduler::{Interrupt, LocationId, ReadId, View};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use revm::{
    Database,
    bytecode::Bytecode,
    database_interface::DBErrorMarker,
    state::{AccountId, AccountInfo},
};
use std::{fmt, sync::Arc};

/// revm's database over a scheduler's view.
///
/// An account's `account_id` is its place in `observed`, so that revm hands it back with every slot it reads.
pub(crate) struct EvmDb<W> {
    pub(crate) view: W,
    pub(crate) stream: Option<Arc<EvmStream>>,
    /// The block whose entry is executed, for `BLOCKHASH`.
    pub(crate) segment: u32,
    pub(crate) observed: Observed,
    /// The views' reads of the observed accounts.
    pub(crate) reads: Vec<ReadId>,
    codes: Codes,
}

/// Why the view gave no value.
#[derive(Debug, Clone)]
pub(crate) struct Interrupted(pub(crate) Interrupt<EvmStream>);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Interrupted {}
impl DBErrorMarker for Interrupted {}

impl From<Interrupt<EvmStream>> for Interrupted {
    fn from(interrupt: Interrupt<EvmStream>) -> Self {
        Self(interrupt)
    }
}

impl<W: View<EvmStream>> EvmDb<W> {
    pub(crate) fn new(view: W) -> Self {
        Self {
            view,
            stream: None,
            segment: 0,
            observed: Observed::default(),
            reads: Vec::new(),
            codes: Codes::new(),
        }
    }

    /// Turns the database to a stream.
    pub(crate) fn rebind(&mut self, stream: Arc<EvmStream>) {
        self.unbind();
        self.stream = Some(stream);
    }

    /// Forgets the stream and its code.
    pub(crate) fn unbind(&mut self) {
        self.stream = None;
        self.codes.clear();
    }

    /// Clears what the last execution learnt.
    pub(crate) fn begin(&mut self, segment: u32) {
        self.segment = segment;
        self.observed.clear();
        self.reads.clear();
    }

    /// The location of an account that this execution loaded.
    pub(crate) fn location(&self, id: usize) -> LocationId {
        self.view.location(self.reads[id])
    }

    /// Tells the view what was learnt of the accounts.
    pub(crate) fn report_observations(&mut self) {
        if !W::OBSERVES {
            return;
        }
        for (tracked, read) in self.observed.accounts().iter_mut().zip(&self.reads) {
            let observation = std::mem::replace(&mut tracked.observation, AccountObservation::NOTHING);
            if observation != AccountObservation::NOTHING {
                self.view.observe(*read, EvmObservation::Account(observation));
            }
        }
    }

    pub(crate) fn stream(&self) -> &Arc<EvmStream> {
        let Some(stream) = &self.stream else { panic!("a database is bound to a stream while it executes") };
        stream
    }

    /// What the stream answers, in the end.
    fn wait_for<T>(
        &mut self,
        question: impl Fn(&EvmStream) -> Result<T, Interrupt<EvmStream>>,
    ) -> Result<T, Interrupted> {
        loop {
            match question(self.stream()) {
                Err(Interrupt::Pending(ticket)) => self.view.wait(&ticket)?,
                answer => return Ok(answer?),
            }
        }
    }

    fn read_slot(&mut self, account: LocationId, slot: U256) -> Result<U256, Interrupted> {
        let (read, value) =
            self.view.read(EvmKey::Slot(account, slot), Some(account)).map_err(Interrupted)?;
        let EvmValue::Slot(value) = value else { unreachable!("a slot's location holds a slot") };
        if W::OBSERVES {
            self.view.observe(read, EvmObservation::Slot(value));
        }
        Ok(value)
    }
}

impl<W: View<EvmStream>> Database for EvmDb<W> {
    type Error = Interrupted;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Interrupted> {
        let (read, value) = self.view.read(EvmKey::Account(address), None).map_err(Interrupted)?;
        let value = value.into_account();
        let id = self.observed.push(address, value.as_ref().map(|value| value.account));
        self.reads.push(read);
        Ok(value.map(|value| AccountInfo {
            balance: value.account.balance,
            nonce: value.account.nonce,
            code_hash: value.account.code_hash,
            account_id: AccountId::new(id),
            code: if value.account.code_hash == KECCAK256_EMPTY {
                Some(self.codes.empty())
            } else {
                value.code
            },
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Interrupted> {
        if let Some(code) = self.codes.get(&code_hash) {
            return Ok(code);
        }
        let code = self.wait_for(|stream| stream.code(code_hash))?;
        Ok(self.codes.add(code_hash, &code))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Interrupted> {
        // Asked without an id, of an account that did not exist when it was loaded.
        let place = self.observed.place_of(address);
        self.read_slot(self.location(place), slot)
    }

    fn storage_by_account_id(
        &mut self,
        _address: Address,
        id: AccountId,
        slot: U256,
    ) -> Result<U256, Interrupted> {
        self.read_slot(self.location(id.get()), slot)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Interrupted> {
        let segment = self.segment;
        self.wait_for(|stream| stream.block_hash(segment, number))
    }
}

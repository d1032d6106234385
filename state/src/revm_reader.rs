use crate::{Account, ReadError, StateKey, StateReader};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, map::B256Map};
use parking_lot::RwLock;
use revm::{DatabaseRef, bytecode::Bytecode};
use std::sync::Arc;

/// Makes a [`StateReader`] of any revm [`DatabaseRef`].
///
/// Databases that hand code out with the account (as `CacheDB` does) are served too: such code is remembered by
/// its hash.
#[derive(Debug)]
pub struct RevmReader<D> {
    database: D,
    codes: RwLock<B256Map<Bytecode>>,
}

impl<D: DatabaseRef> RevmReader<D> {
    /// Wraps a database.
    pub fn new(database: D) -> Self {
        Self { database, codes: RwLock::default() }
    }

    /// The database inside.
    pub fn into_inner(self) -> D {
        self.database
    }
}

fn store_error<E: std::error::Error + Send + Sync + 'static>(key: StateKey) -> impl FnOnce(E) -> ReadError {
    move |source| ReadError::Store { key, source: Arc::new(source) }
}

impl<D: DatabaseRef + Send + Sync> StateReader for RevmReader<D> {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        let info = self.database.basic_ref(address).map_err(store_error(StateKey::Account(address)))?;
        Ok(info.map(|info| {
            // revm lets a database say "no code" with the zero hash as well.
            let code_hash = if info.code_hash.is_zero() { KECCAK256_EMPTY } else { info.code_hash };
            if code_hash != KECCAK256_EMPTY
                && let Some(code) = info.code
            {
                self.codes.write().entry(code_hash).or_insert(code);
            }
            Account { balance: info.balance, nonce: info.nonce, code_hash }
        }))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.database.storage_ref(address, slot).map_err(store_error(StateKey::Storage(address, slot)))
    }

    fn code(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        if let Some(code) = self.codes.read().get(&code_hash) {
            return Ok(code.clone());
        }
        self.database.code_by_hash_ref(code_hash).map_err(store_error(StateKey::Code(code_hash)))
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        self.database.block_hash_ref(number).map_err(store_error(StateKey::BlockHash(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revm::{
        database::{CacheDB, EmptyDB},
        state::AccountInfo,
    };

    #[test]
    fn a_cache_db_is_a_reader() {
        let address = Address::repeat_byte(7);
        let code = Bytecode::new_raw(vec![0x60, 0x00].into());
        let mut database = CacheDB::new(EmptyDB::default());
        database.insert_account_info(address, AccountInfo::from_bytecode(code.clone()));
        database.insert_account_storage(address, U256::from(1), U256::from(2)).unwrap();
        let reader = RevmReader::new(database);

        let account = reader.account(address).unwrap().unwrap();
        assert_eq!(account.code_hash, code.hash_slow());
        assert_eq!(reader.code(account.code_hash).unwrap(), code);
        assert_eq!(reader.storage(address, U256::from(1)), Ok(U256::from(2)));
        assert_eq!(reader.account(Address::ZERO), Ok(None));
    }
}

use alloy_primitives::map::HashMap;
use parking_lot::Mutex;
use std::{hash::Hash, sync::Arc};

/// Answers of a reader, each asked for once: whoever wants one that somebody is asking for waits for it, and only for it.
/// Nobody waits in here for one that is on its way: that is an error, and not remembered.
#[derive(Debug)]
pub(crate) struct Asked<K, V>(Mutex<HashMap<K, Arc<Mutex<Option<V>>>>>);

impl<K, V> Default for Asked<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Asked<K, V> {
    /// The known answer, else what `ask` gives. An error is not remembered: the next one asks again.
    pub(crate) fn get_or_ask<E>(&self, key: K, ask: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let answer = Arc::clone(self.0.lock().entry(key).or_default());
        let mut answer = answer.lock();
        if let Some(value) = &*answer {
            return Ok(value.clone());
        }
        let value = ask()?;
        *answer = Some(value.clone());
        Ok(value)
    }
}

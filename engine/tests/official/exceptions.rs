use serde::Deserialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// The committed list of cases that differ for a reason.
#[derive(Debug, Deserialize)]
pub(crate) struct Exceptions {
    #[serde(default, rename = "exception")]
    list: Vec<Exception>,
    #[serde(default, rename = "slow")]
    slow: Vec<Slow>,
    #[serde(default, rename = "network")]
    networks: Vec<Network>,
}

/// Which tests of an archive: some hold several kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tests {
    /// Block tests.
    Blocks,
    /// State tests or transaction tests.
    Others,
}

/// A network of block tests that the engine has no rules for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    name: String,
    /// Why it has none.
    reason: String,
    /// How many tests are of this network.
    #[serde(skip)]
    matched: AtomicU64,
}

/// Cases that take long: no sample has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slow {
    /// Parts of a case's name, all of which it contains.
    names: Vec<String>,
    /// Why it takes long.
    reason: String,
}

/// Cases that are known to fail, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// The archive's file name up to its first dot.
    archive: String,
    /// It is one of the archive's block tests.
    #[serde(default)]
    blocks: bool,
    /// Parts of a case's name, all of which it contains.
    names: Vec<String>,
    /// Parts of a case's name that it must not contain.
    #[serde(default)]
    unless: Vec<String>,
    /// Why it fails.
    pub(crate) reason: String,
    /// How many cases matched.
    #[serde(skip)]
    matched: AtomicU64,
}

impl Exceptions {
    /// The list for some tests of one archive.
    pub(crate) fn of_archive(path: &std::path::Path, tests: Tests) -> Self {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let archive = file.split('.').next().unwrap_or_default();
        let mut exceptions: Self =
            toml::from_str(include_str!("exceptions.toml")).expect("the list of exceptions is well-formed");
        let are_blocks = tests == Tests::Blocks;
        exceptions.list.retain(|exception| exception.archive == archive && exception.blocks == are_blocks);
        exceptions.networks.retain(|_| are_blocks);
        exceptions
    }

    /// The exception that a case is, if it is one.
    pub(crate) fn find(&self, case: &str) -> Option<&Exception> {
        let exception = self.list.iter().find(|exception| {
            exception.names.iter().all(|part| case.contains(part.as_str()))
                && !exception.unless.iter().any(|part| case.contains(part.as_str()))
        })?;
        exception.matched.fetch_add(1, Ordering::Relaxed);
        Some(exception)
    }

    /// Why the engine cannot take a network's blocks, if it cannot.
    pub(crate) fn unsupported(&self, network: &str) -> Option<&str> {
        let network = self.networks.iter().find(|listed| listed.name == network)?;
        network.matched.fetch_add(1, Ordering::Relaxed);
        Some(&network.reason)
    }

    /// Why a case takes long, if it does.
    pub(crate) fn slow(&self, case: &str) -> Option<&str> {
        let slow =
            self.slow.iter().find(|slow| slow.names.iter().all(|part| case.contains(part.as_str())))?;
        Some(&slow.reason)
    }

    /// What is listed, and matched no case at all.
    pub(crate) fn unmatched(&self) -> impl Iterator<Item = String> + '_ {
        let is_unmatched = |matched: &AtomicU64| matched.load(Ordering::Relaxed) == 0;
        let exceptions = self.list.iter().filter(move |exception| is_unmatched(&exception.matched));
        let networks = self.networks.iter().filter(move |network| is_unmatched(&network.matched));
        exceptions
            .map(|exception| format!("stale exception: {:?} matches no case", exception.names))
            .chain(networks.map(|network| format!("stale network: no test is of {}", network.name)))
    }
}

//! Which chain's rules hold: a name, or a geth genesis file.

use citius_engine::chain::{ChainSpec, Genesis, GenesisError};
use std::{fs, io, path::PathBuf};

/// Why no chain was found.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The argument names no chain known, and no file can be read at that path.
    #[error("chain `{argument}`: neither mainnet, sepolia or hoodi nor a genesis file that can be read")]
    Unknown {
        /// The argument.
        argument: String,
        /// What the system said of the file.
        #[source]
        source: io::Error,
    },
    /// The file is no genesis file.
    #[error("{path}: no genesis file that can be used")]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: GenesisError,
    },
}

/// The rules of `mainnet`, `sepolia`, `hoodi`, or of a geth genesis file.
///
/// # Errors
///
/// [`ChainError`] if the argument is none of these.
pub fn from_argument(argument: &str) -> Result<ChainSpec, ChainError> {
    match argument {
        "mainnet" => Ok(ChainSpec::mainnet()),
        "sepolia" => Ok(ChainSpec::sepolia()),
        "hoodi" => Ok(ChainSpec::hoodi()),
        path => {
            let json = fs::read_to_string(path)
                .map_err(|source| ChainError::Unknown { argument: path.to_owned(), source })?;
            match Genesis::from_json(&json) {
                Ok(genesis) => Ok(genesis.chain),
                Err(source) => Err(ChainError::Genesis { path: path.into(), source }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_give_chains() {
        assert_eq!(from_argument("mainnet").unwrap().chain_id(), 1);
        assert_eq!(from_argument("hoodi").unwrap().chain_id(), 560_048);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genesis.json");
        fs::write(
            &path,
            r#"{"config": {"chainId": 77}, "gasLimit": "0x1", "difficulty": "0x0", "alloc": {}}"#,
        )
        .unwrap();
        assert_eq!(from_argument(path.to_str().unwrap()).unwrap().chain_id(), 77);
    }

    #[test]
    fn other_arguments_are_refused() {
        assert!(matches!(from_argument("mainnet2"), Err(ChainError::Unknown { .. })));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genesis.json");
        fs::write(&path, "[]").unwrap();
        assert!(matches!(from_argument(path.to_str().unwrap()), Err(ChainError::Genesis { .. })));
    }
}

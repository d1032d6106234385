//! Headers of a witness: no more is read of them than what links them ([Yellow Paper, section 4.4.3][yp]).
//!
//! [yp]: https://ethereum.github.io/yellowpaper/paper.pdf

use super::error::SsmtError;
use crate::trie::rlp;
use alloy_primitives::{B256, Bytes};
use citius_hashing::keccak256;

/// Places of fields in a header.
const PARENT_HASH: usize = 0;
const STATE_ROOT: usize = 3;
const NUMBER: usize = 8;

struct Header {
    /// Its place among those given.
    index: usize,
    number: u64,
    hash: B256,
    parent_hash: B256,
    state_root: B256,
}

/// Numbers and hashes of headers, given in any order, of which each is the next one's parent and the last has this
/// state root.
///
/// # Errors
///
/// [`SsmtError::BadHeader`].
pub(crate) fn linked_headers(headers: &[Bytes], root: B256) -> Result<Vec<(u64, B256)>, SsmtError> {
    let mut parsed = Vec::with_capacity(headers.len());
    for (index, header) in headers.iter().enumerate() {
        let reason = "it is no RLP list that begins with the fields of a header";
        parsed.push(parse(index, header).ok_or(SsmtError::BadHeader { index, reason })?);
    }
    parsed.sort_unstable_by_key(|header| header.number);
    for pair in parsed.windows(2) {
        if pair[0].number.checked_add(1) != Some(pair[1].number) || pair[1].parent_hash != pair[0].hash {
            let reason = "the header before it is not its parent";
            return Err(SsmtError::BadHeader { index: pair[1].index, reason });
        }
    }
    if let Some(last) = parsed.last()
        && last.state_root != root
    {
        let reason = "its state root is not that of the state before the block";
        return Err(SsmtError::BadHeader { index: last.index, reason });
    }
    Ok(parsed.into_iter().map(|header| (header.number, header.hash)).collect())
}

fn parse(index: usize, bytes: &[u8]) -> Option<Header> {
    let header = rlp::header(bytes).filter(|header| header.is_list && header.total() == bytes.len())?;
    let mut rest = &bytes[header.len..];
    let mut fields: [&[u8]; NUMBER + 1] = [&[]; NUMBER + 1];
    for field in &mut fields {
        let (item, payload, behind) = rlp::split(rest)?;
        if item.is_list {
            return None;
        }
        (*field, rest) = (payload, behind);
    }
    let hash = |at: usize| B256::try_from(fields[at]).ok();
    let digits = fields[NUMBER];
    if digits.len() > 8 || digits.first() == Some(&0) {
        return None;
    }
    Some(Header {
        index,
        number: digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit)),
        hash: keccak256(bytes),
        parent_hash: hash(PARENT_HASH)?,
        state_root: hash(STATE_ROOT)?,
    })
}

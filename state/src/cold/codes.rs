//! Codes on pages: short ones among the records, long ones on pages of their own.

use super::{
    error::ColdError,
    page::{BODY_BYTES, Page, PageKind, PageNumber},
    record::{REFERENCE_BYTES, Reader, Record, write_reference},
    tree::{Leaf, Pages, Updater},
};
use alloy_primitives::{B256, Bytes};
use revm::bytecode::Bytecode;

/// Bytes of a code up to which it lies in its record.
const INLINE_MAX: usize = 512;
/// Bytes of a code at most: its pages' numbers are in one record.
const BYTES_MAX: usize = 700 * BODY_BYTES;

/// Code out of its bytes. Some that begin as a delegation does are none (they are older than [EIP-7702]), and some as nothing does that
/// is known today (older than [EIP-3541]).
///
/// [EIP-7702]: https://eips.ethereum.org/EIPS/eip-7702
/// [EIP-3541]: https://eips.ethereum.org/EIPS/eip-3541
pub(crate) fn bytecode(bytes: Bytes) -> Bytecode {
    Bytecode::new_raw_checked(bytes.clone()).unwrap_or_else(|_| Bytecode::new_legacy(bytes))
}

/// A code by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodeRecord {
    pub(crate) key: B256,
    pub(crate) place: CodePlace,
}

/// Where a code is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CodePlace {
    Here(Bytes),
    /// So many bytes, on these pages.
    Pages(u32, Vec<PageNumber>),
}

/// A code that comes to those that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewCode {
    pub(crate) key: B256,
    pub(crate) bytes: Bytes,
}

impl Record for CodeRecord {
    const KIND: PageKind = PageKind::Codes;

    fn key(&self) -> &B256 {
        &self.key
    }

    fn bytes(&self) -> usize {
        match &self.place {
            CodePlace::Here(bytes) => 1 + bytes.len(),
            CodePlace::Pages(_, pages) => 5 + pages.len() * REFERENCE_BYTES,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match &self.place {
            CodePlace::Here(bytes) => {
                out.push(0);
                out.extend_from_slice(bytes);
            }
            CodePlace::Pages(len, pages) => {
                out.push(1);
                out.extend_from_slice(&len.to_le_bytes());
                pages.iter().for_each(|page| write_reference(out, *page));
            }
        }
    }

    fn read(key: B256, bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let place = match from.byte()? {
            0 => CodePlace::Here(Bytes::copy_from_slice(from.0)),
            1 => {
                let len = u32::from_le_bytes(from.take(4)?.try_into().ok()?);
                let count = (len as usize).div_ceil(BODY_BYTES);
                if from.0.len() != count * REFERENCE_BYTES {
                    return None;
                }
                CodePlace::Pages(len, (0..count).map(|_| from.reference()).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(Self { key, place })
    }

    /// Codes are in no trie of Ethereum's: the root that their pages have only tells whether they are all there. Wherever they lie,
    /// since they may move.
    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key[..]);
    }
}

impl Leaf for CodeRecord {
    type Change = NewCode;

    fn key_of(change: &NewCode) -> &B256 {
        &change.key
    }

    fn change<P: Pages>(
        updater: &mut Updater<'_, P>,
        old: Option<Self>,
        NewCode { key, bytes }: NewCode,
    ) -> Result<Option<Self>, ColdError> {
        if old.is_some() {
            return Ok(old);
        }
        if bytes.len() <= INLINE_MAX {
            return Ok(Some(Self { key, place: CodePlace::Here(bytes) }));
        }
        if bytes.len() > BYTES_MAX {
            let (bytes, most) = (bytes.len() as u64, BYTES_MAX as u64);
            return Err(ColdError::TooLarge { what: "code", bytes, most });
        }
        let mut pages = Vec::new();
        for part in bytes.chunks(BODY_BYTES) {
            let mut page = Page::new(PageKind::Code);
            page.body_mut()[..part.len()].copy_from_slice(part);
            pages.push(updater.pages.write(page)?);
        }
        Ok(Some(Self { key, place: CodePlace::Pages(bytes.len() as u32, pages) }))
    }
}

impl CodeRecord {
    /// The code.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`], and what the pages say.
    pub(crate) fn bytes<P: Pages>(self, pages: &mut P) -> Result<Bytes, ColdError> {
        match self.place {
            CodePlace::Here(bytes) => Ok(bytes),
            CodePlace::Pages(len, numbers) => {
                let mut bytes = Vec::with_capacity(numbers.len() * BODY_BYTES);
                for (page, number) in pages.read(&numbers)?.iter().zip(&numbers) {
                    if page.kind() != PageKind::Code {
                        return Err(ColdError::content(*number, "it holds no code"));
                    }
                    bytes.extend_from_slice(page.body());
                }
                bytes.truncate(len as usize);
                Ok(bytes.into())
            }
        }
    }
}

//! What everything is found from: two pages that are written in turns, so that one of them is always whole.

use super::{
    bulk::ImportProgress,
    error::{ColdError, PageDamage},
    journal::Position,
    page::{PAGE_VERSION, Page, PageKind, PageNumber},
    record::{Reader, Tree, write_reference},
};
use alloy_primitives::B256;

/// A checkpoint: the state after a block, on pages, and where the journal goes on from there.
///
/// ```text
/// seed u64 | block u64 | hash | root | journal segment, page, sequence, chain u64 | map of pages in use | accounts | codes |
/// import
/// import     0 u8, or 1 u8 | source [32] | cursor u64 | accounts u64 | slots u64
/// ```
///
/// A tree is one byte that says whether it has anything, then page and root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// Counts checkpoints, from 1 on.
    pub(crate) checkpoint: u64,
    /// The seed of the journal's checksums.
    pub(crate) seed: u64,
    /// The block's number, hash and state root.
    pub(crate) block: u64,
    pub(crate) hash: B256,
    pub(crate) root: B256,
    /// The first record of the journal that is not in the pages.
    pub(crate) journal: Position,
    /// The first page of the map of those in use.
    pub(crate) map: PageNumber,
    pub(crate) accounts: Option<Tree>,
    pub(crate) codes: Option<Tree>,
    /// How far an import has come that is not done: the pages hold no block's state.
    pub(crate) import: Option<ImportProgress>,
}

impl Superblock {
    /// Where it is written.
    pub(crate) fn place(&self) -> PageNumber {
        PageNumber(self.checkpoint % 2)
    }

    /// As a page, without checksum.
    pub(crate) fn page(&self) -> Page {
        let mut page = Page::new(PageKind::Super);
        let mut body = Vec::new();
        body.extend_from_slice(&self.seed.to_le_bytes());
        body.extend_from_slice(&self.block.to_le_bytes());
        body.extend_from_slice(&self.hash[..]);
        body.extend_from_slice(&self.root[..]);
        let Position { segment, page: at, sequence, chain } = self.journal;
        for number in [segment, at, sequence, chain] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        write_reference(&mut body, self.map);
        for tree in [self.accounts, self.codes] {
            body.push(u8::from(tree.is_some()));
            if let Some(Tree { page, root }) = tree {
                write_reference(&mut body, page);
                body.extend_from_slice(&root[..]);
            }
        }
        body.push(u8::from(self.import.is_some()));
        if let Some(ImportProgress { source, cursor, accounts, slots }) = self.import {
            body.extend_from_slice(&source[..]);
            for number in [cursor, accounts, slots] {
                body.extend_from_slice(&number.to_le_bytes());
            }
        }
        page.body_mut()[..body.len()].copy_from_slice(&body);
        page
    }

    fn parse(page: &Page) -> Option<Self> {
        let mut from = Reader(page.body());
        let mut number = || -> Option<u64> { Some(u64::from_le_bytes(from.take(8)?.try_into().ok()?)) };
        let (seed, block) = (number()?, number()?);
        let (hash, root) = (from.hash()?, from.hash()?);
        let mut number = || -> Option<u64> { Some(u64::from_le_bytes(from.take(8)?.try_into().ok()?)) };
        let journal = Position { segment: number()?, page: number()?, sequence: number()?, chain: number()? };
        let map = from.reference()?;
        let mut tree = || -> Option<Option<Tree>> {
            match from.byte()? {
                0 => Some(None),
                1 => Some(Some(Tree { page: from.reference()?, root: from.hash()? })),
                _ => None,
            }
        };
        let (accounts, codes) = (tree()?, tree()?);
        let import = match from.byte()? {
            0 => None,
            1 => {
                let source = from.hash()?;
                let mut number =
                    || -> Option<u64> { Some(u64::from_le_bytes(from.take(8)?.try_into().ok()?)) };
                Some(ImportProgress { source, cursor: number()?, accounts: number()?, slots: number()? })
            }
            _ => return None,
        };
        let checkpoint = page.checkpoint();
        Some(Self { checkpoint, seed, block, hash, root, journal, map, accounts, codes, import })
    }

    /// The newer of two that is whole, and the other one if it is the one before.
    ///
    /// # Errors
    ///
    /// [`ColdError::Superblocks`] if none is; [`ColdError::Version`] if one is of a newer form than is known.
    pub(crate) fn newest(pages: [Result<Page, PageDamage>; 2]) -> Result<(Self, Option<Self>), ColdError> {
        let parsed = pages.map(|page| {
            let page = page?;
            if page.kind() != PageKind::Super {
                return Err(PageDamage::Content("it is no superblock"));
            }
            Self::parse(&page).ok_or(PageDamage::Content("its parts do not fit together"))
        });
        for one in &parsed {
            if let Err(PageDamage::Version { found, .. }) = one
                && *found > PAGE_VERSION
            {
                let (found, known) = (u32::from(*found), u32::from(PAGE_VERSION));
                return Err(ColdError::Version { what: "store", found, known });
            }
        }
        match parsed {
            [Ok(one), Ok(other)] => {
                let (newer, older) =
                    if one.checkpoint > other.checkpoint { (one, other) } else { (other, one) };
                Ok((newer, (older.checkpoint + 1 == newer.checkpoint).then_some(older)))
            }
            [Ok(only), Err(_)] | [Err(_), Ok(only)] => Ok((only, None)),
            [Err(first), Err(second)] => Err(ColdError::Superblocks { first, second }),
        }
    }
}

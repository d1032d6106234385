//! The way to what is looked for, page by page, so that whoever walks it may read a page at once or wait for it.

use super::{
    codes::{CodePlace, CodeRecord},
    error::ColdError,
    items::{Items, Lookup},
    page::{Page, PageKind, PageNumber},
    record::{AccountRecord, Record, Slot, Storage, Tree},
    superblock::Superblock,
};
use crate::Account;
use alloy_primitives::{B256, Bytes, U256};

/// Pages on the way to a slot: one for each nibble of two keys, at most.
const PAGES_MAX: u8 = 130;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sought {
    /// By the hash of its address.
    Account(B256),
    /// The storage of an account, by the same.
    Storage(B256),
    /// By the hashes of address and key.
    Slot(B256, B256),
    /// By its hash.
    Code(B256),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With its storage root.
    Account(Option<(Account, B256)>),
    Storage(Box<Storage>),
    /// Zero if there is none.
    Slot(U256),
    Code(Option<Bytes>),
}

/// A way that is being walked.
#[derive(Debug)]
pub(crate) struct Walk {
    sought: Sought,
    stage: Stage,
    /// The checkpoint that it is in: no page of it is from a later one.
    checkpoint: u64,
    /// Pages on the way, but for parts of a code.
    pages: u8,
}

#[derive(Debug)]
enum Stage {
    Accounts(PageNumber),
    Slots(PageNumber),
    Codes(PageNumber),
    /// A code on pages of its own: its bytes so far, how many there are, and the pages that are left, the next one last.
    Parts(Vec<u8>, usize, Vec<PageNumber>),
    Done(Answer),
}

impl Walk {
    /// Begins in the pages that a superblock leads to.
    pub(crate) fn new(superblock: &Superblock, sought: Sought) -> Self {
        let start = |tree: Option<Tree>, stage: fn(PageNumber) -> Stage, none: Answer| {
            tree.map_or(Stage::Done(none), |tree| stage(tree.page))
        };
        let stage = match sought {
            Sought::Account(_) => start(superblock.accounts, Stage::Accounts, Answer::Account(None)),
            Sought::Storage(_) => {
                start(superblock.accounts, Stage::Accounts, Answer::Storage(Box::new(Storage::Empty)))
            }
            Sought::Slot(..) => start(superblock.accounts, Stage::Accounts, Answer::Slot(U256::ZERO)),
            Sought::Code(_) => start(superblock.codes, Stage::Codes, Answer::Code(None)),
        };
        Self { sought, stage, checkpoint: superblock.checkpoint, pages: 0 }
    }

    /// The account whose slot it looks for, while it looks for the account.
    pub(crate) fn account(&self) -> Option<B256> {
        match (self.sought, &self.stage) {
            (Sought::Slot(account, _), Stage::Accounts(_)) => Some(account),
            _ => None,
        }
    }

    /// The page that it goes on with, if that is one of slots.
    pub(crate) fn slots_page(&self) -> Option<PageNumber> {
        match self.stage {
            Stage::Slots(page) => Some(page),
            _ => None,
        }
    }

    /// Goes on with the first page of the account's slots, which is known.
    pub(crate) fn skip_to(&mut self, slots: PageNumber) {
        self.stage = Stage::Slots(slots);
    }

    /// The checkpoint that it is in.
    pub(crate) fn checkpoint(&self) -> u64 {
        self.checkpoint
    }

    /// Whether the next page is one of a code's parts.
    pub(crate) fn is_in_parts(&self) -> bool {
        matches!(self.stage, Stage::Parts(..))
    }

    /// The page that it goes on with; none if it is at its end.
    pub(crate) fn next(&self) -> Option<PageNumber> {
        match &self.stage {
            Stage::Accounts(number) | Stage::Slots(number) | Stage::Codes(number) => Some(*number),
            Stage::Parts(.., left) => left.last().copied(),
            Stage::Done(_) => None,
        }
    }

    /// Pages that it needs besides the next one, as far as that is known.
    pub(crate) fn ahead(&self) -> &[PageNumber] {
        match &self.stage {
            Stage::Parts(.., left) => left.split_last().map_or(&[], |(_, rest)| rest),
            _ => &[],
        }
    }

    /// Goes on with the page that it asked for.
    ///
    /// # Errors
    ///
    /// [`ColdError::Damaged`] if the page is none that could be there; [`ColdError::Blinded`].
    pub(crate) fn give(&mut self, page: &Page) -> Result<(), ColdError> {
        let (sought, Some(number)) = (self.sought, self.next()) else { return Ok(()) };
        if !matches!(self.stage, Stage::Parts(..)) {
            self.pages += 1;
        }
        check_step(page, number, self.checkpoint, self.pages)?;
        self.stage = match (sought, &mut self.stage) {
            (Sought::Account(key), Stage::Accounts(_)) => {
                match lookup::<AccountRecord>(page, number, &key)? {
                    Lookup::Page(below) => Stage::Accounts(below),
                    Lookup::Absent => Stage::Done(Answer::Account(None)),
                    Lookup::Record(record) => {
                        Stage::Done(Answer::Account(Some((record.account, record.storage.root()))))
                    }
                }
            }
            (Sought::Storage(key), Stage::Accounts(_)) => {
                match lookup::<AccountRecord>(page, number, &key)? {
                    Lookup::Page(below) => Stage::Accounts(below),
                    Lookup::Absent => Stage::Done(Answer::Storage(Box::new(Storage::Empty))),
                    Lookup::Record(record) => Stage::Done(Answer::Storage(Box::new(record.storage))),
                }
            }
            (Sought::Slot(account, key), Stage::Accounts(_)) => {
                match lookup::<AccountRecord>(page, number, &account)? {
                    Lookup::Page(below) => Stage::Accounts(below),
                    Lookup::Absent => Stage::Done(Answer::Slot(U256::ZERO)),
                    Lookup::Record(record) => in_storage(&record, &key)?,
                }
            }
            (Sought::Slot(_, key), Stage::Slots(_)) => match lookup::<Slot>(page, number, &key)? {
                Lookup::Page(below) => Stage::Slots(below),
                Lookup::Absent => Stage::Done(Answer::Slot(U256::ZERO)),
                Lookup::Record(slot) => Stage::Done(Answer::Slot(slot.value)),
            },
            (Sought::Code(hash), Stage::Codes(_)) => match lookup::<CodeRecord>(page, number, &hash)? {
                Lookup::Page(below) => Stage::Codes(below),
                Lookup::Absent => Stage::Done(Answer::Code(None)),
                Lookup::Record(record) => match record.place {
                    CodePlace::Here(bytes) => Stage::Done(Answer::Code(Some(bytes))),
                    CodePlace::Pages(len, mut pages) => {
                        pages.reverse();
                        Stage::Parts(Vec::with_capacity(len as usize), len as usize, pages)
                    }
                },
            },
            (Sought::Code(_), Stage::Parts(bytes, len, left)) => {
                if page.kind() != PageKind::Code {
                    return Err(ColdError::content(number, "it holds no code"));
                }
                bytes.extend_from_slice(page.body());
                left.pop();
                if !left.is_empty() {
                    return Ok(());
                }
                bytes.truncate(*len);
                Stage::Done(Answer::Code(Some(std::mem::take(bytes).into())))
            }
            _ => unreachable!("a way stays in the trees of what is looked for"),
        };
        Ok(())
    }

    /// What was found, once it needs no page any more.
    pub(crate) fn into_answer(self) -> Option<Answer> {
        match self.stage {
            Stage::Done(answer) => Some(answer),
            _ => None,
        }
    }
}

/// Whether a page can be on a way in a checkpoint, as the one with this number, from 1 on.
pub(crate) fn check_step(
    page: &Page,
    number: PageNumber,
    checkpoint: u64,
    pages: u8,
) -> Result<(), ColdError> {
    if page.checkpoint() > checkpoint {
        return Err(ColdError::content(number, "it is from a later checkpoint"));
    }
    if pages > PAGES_MAX {
        return Err(ColdError::content(number, "the way to it has more pages than a key has nibbles"));
    }
    Ok(())
}

/// What a page has for a key.
pub(crate) fn lookup<R: Record>(page: &Page, number: PageNumber, key: &B256) -> Result<Lookup<R>, ColdError> {
    Items::open(page, number, R::KIND)?.find(key)
}

fn in_storage(record: &AccountRecord, key: &B256) -> Result<Stage, ColdError> {
    Ok(match &record.storage {
        Storage::Empty => Stage::Done(Answer::Slot(U256::ZERO)),
        Storage::Inline(_, slots) => {
            let at = slots.binary_search_by_key(key, |slot| slot.key);
            Stage::Done(Answer::Slot(at.map_or(U256::ZERO, |at| slots[at].value)))
        }
        Storage::Pages(tree) => Stage::Slots(tree.page),
        Storage::Blinded(_) => return Err(ColdError::Blinded { key: record.key, nibbles: 64 }),
    })
}

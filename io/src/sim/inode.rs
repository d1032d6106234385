//! A simulated file: what reads see, what is durable, and what stands between the two.

use super::{
    pages::{Page, Pages},
    rng::Rng,
};
use crate::PAGE_BYTES;
use std::{ops::Range, sync::Arc};

/// Bytes that a drive writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// A file, under whatever name.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What reads see.
    pub(super) live: Pages,
    pub(super) live_bytes: u64,
    /// What a power cut leaves at least.
    durable: Pages,
    durable_bytes: u64,
    /// What has changed since, oldest first.
    changes: Vec<Change>,
    /// Where the next append goes.
    pub(super) append_end: u64,
    /// Pages from the first that space is reserved for. Giving space back does not end that.
    pub(super) reserved_pages: u64,
}

/// A change that is not durable.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) id: u64,
    pub(super) first_page: u64,
    pub(super) content: Content,
    /// Whether reads see it; if not it is in flight.
    pub(super) is_live: bool,
}

/// What a change makes of its pages.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Pages(Vec<Arc<Page>>),
    Zeros {
        pages: u64,
    },
    /// Nothing but that the file reaches that far.
    Reserved {
        pages: u64,
    },
}

impl Content {
    /// Pages that it is about.
    pub(super) fn pages(&self) -> u64 {
        match self {
            Self::Pages(pages) => pages.len() as u64,
            Self::Zeros { pages } | Self::Reserved { pages } => *pages,
        }
    }

    /// Pages whose content changes. Reserved ones may be too many to look at.
    fn written(&self) -> u64 {
        if matches!(self, Self::Reserved { .. }) { 0 } else { self.pages() }
    }

    /// What the page at `index` of those written becomes.
    fn page(&self, index: u64) -> Option<&Arc<Page>> {
        match self {
            Self::Pages(pages) => pages.get(index as usize),
            Self::Zeros { .. } | Self::Reserved { .. } => None,
        }
    }
}

impl Change {
    /// The numbers of the pages whose content changes.
    fn written(&self) -> Range<u64> {
        self.first_page..self.first_page + self.content.written()
    }

    /// Where the file ends at least when the change is made. Zeros make no file longer.
    fn end_bytes(&self) -> u64 {
        match self.content {
            Content::Zeros { .. } => 0,
            _ => (self.first_page + self.content.pages()) * PAGE_BYTES as u64,
        }
    }
}

impl Inode {
    /// Notes a change that is in flight: from now on a power cut may leave it, or a part.
    pub(super) fn note(&mut self, change: Change) {
        self.append_end = self.append_end.max(change.end_bytes());
        self.changes.push(change);
    }

    /// Pages that it takes of the disk's space.
    pub(super) fn allocated(&self) -> u64 {
        self.live.count().max(self.reserved_pages)
    }

    /// The change with this number, if it is not durable yet.
    pub(super) fn change(&mut self, id: u64) -> Option<&mut Change> {
        // It is among the last: those before it were noted earlier and are mostly complete.
        self.changes.iter_mut().rev().find(|change| change.id == id)
    }

    /// Takes back a change of which nothing took place.
    pub(super) fn withdraw(&mut self, id: u64) {
        self.changes.retain(|change| change.id != id);
    }

    /// Lets reads see a change.
    pub(super) fn apply(&mut self, id: u64) {
        let Some(change) = self.changes.iter_mut().rev().find(|change| change.id == id) else { return };
        change.is_live = true;
        for index in 0..change.content.written() {
            self.live.set(change.first_page + index, change.content.page(index).cloned());
        }
        self.live_bytes = self.live_bytes.max(change.end_bytes());
    }

    /// Makes durable what reads see, as whole pages: what of a page an earlier, failed sync had dropped is written
    /// with what has changed in it since.
    pub(super) fn sync(&mut self) {
        for change in self.changes.iter().filter(|change| change.is_live) {
            for page in change.written() {
                self.durable.set(page, self.live.get(page).cloned());
            }
        }
        self.durable_bytes = self.live_bytes;
        self.changes.retain(|change| !change.is_live);
    }

    /// A sync that fails. Some sectors become durable, none of the others ever will: the kernel takes their pages for
    /// clean. Reads see the new content still (ext4, XFS) or the old one (Btrfs).
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        let (lost, kept) = std::mem::take(&mut self.changes).into_iter().partition(|change| change.is_live);
        self.changes = kept;
        let lost: Vec<Change> = lost;
        settle(&mut self.durable, &mut self.durable_bytes, &lost, rng);
        if rng.below(2) == 0 {
            for change in &lost {
                for page in change.written() {
                    self.live.set(page, self.durable.get(page).cloned());
                }
            }
        }
    }

    /// The file after a power cut.
    pub(super) fn after_cut(&self, rng: &mut Rng) -> Self {
        let (mut pages, mut bytes) = (self.durable.clone(), self.durable_bytes);
        settle(&mut pages, &mut bytes, &self.changes, rng);
        Self {
            live: pages.clone(),
            live_bytes: bytes,
            durable: pages,
            durable_bytes: bytes,
            changes: Vec::new(),
            append_end: bytes,
            reserved_pages: 0,
        }
    }

    /// Turns a bit over, for good.
    pub(super) fn flip_bit(&mut self, bit: u64) {
        let page = bit / 8 / PAGE_BYTES as u64;
        let within = (bit / 8) as usize % PAGE_BYTES;
        for pages in [&mut self.live, &mut self.durable] {
            let mut content = pages.get(page).map_or([0; PAGE_BYTES], |content| **content);
            content[within] ^= 1 << (bit % 8);
            pages.set(page, Some(Arc::new(content)));
        }
    }
}

/// Lets any part of `changes` become durable, by chance: each sector of each change or not, and any of the lengths
/// that the file had meanwhile.
fn settle(pages: &mut Pages, bytes: &mut u64, changes: &[Change], rng: &mut Rng) {
    if changes.is_empty() {
        return;
    }
    let odds = rng.odds();
    for change in changes {
        for index in 0..change.content.written() {
            let content = change.content.page(index);
            let survivors = (0..PAGE_BYTES / SECTOR_BYTES)
                .fold(0_u8, |mask, sector| mask | u8::from(rng.below(256) < odds) << sector);
            let page = change.first_page + index;
            let content = match survivors {
                0 => continue,
                u8::MAX => content.cloned(),
                _ => Some(torn(pages.get(page), content, survivors)),
            };
            pages.set(page, content);
        }
    }
    // A length is written apart from the content, before it or behind.
    let longest = *bytes;
    let ends = changes.iter().map(Change::end_bytes).filter(|end| *end > longest);
    let candidates: Vec<u64> = std::iter::once(longest).chain(ends).collect();
    *bytes = match odds {
        0 => longest,
        256 => candidates.iter().copied().max().unwrap_or(longest),
        _ => candidates[rng.below(candidates.len() as u64) as usize],
    };
    for change in changes {
        for page in change.written() {
            if page * PAGE_BYTES as u64 >= *bytes {
                pages.set(page, None);
            }
        }
    }
}

/// The old page with the sectors of the new one that survived.
fn torn(old: Option<&Arc<Page>>, new: Option<&Arc<Page>>, survivors: u8) -> Arc<Page> {
    let mut page = old.map_or([0; PAGE_BYTES], |old| **old);
    for (sector, bytes) in page.chunks_exact_mut(SECTOR_BYTES).enumerate() {
        if survivors >> sector & 1 == 1 {
            let from = sector * SECTOR_BYTES;
            match new {
                Some(new) => bytes.copy_from_slice(&new[from..from + SECTOR_BYTES]),
                None => bytes.fill(0),
            }
        }
    }
    Arc::new(page)
}

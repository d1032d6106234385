//! Pages by number, which copies share.

use crate::PAGE_BYTES;
use std::sync::Arc;

/// The content of a page.
pub(super) type Page = [u8; PAGE_BYTES];

/// Bits of a page's number that one level of the tree decides.
const BITS: u32 = 4;
const FANOUT: usize = 1 << BITS;

/// A map from page numbers to pages. A clone costs one counter, a change after it the nodes on the way to the page
/// (Driscoll and others, "Making data structures persistent", 1989). Pages that are not there are zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    root: Option<Node>,
    /// Inner nodes on the way from the root to a page: numbers below `FANOUT` to the power of it fit.
    levels: u32,
    count: u64,
}

#[derive(Clone, Debug)]
enum Node {
    Inner(Arc<[Option<Node>; FANOUT]>),
    Page(Arc<Page>),
}

impl Pages {
    /// Pages that are there.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn get(&self, page: u64) -> Option<&Arc<Page>> {
        if !self.fits(page) {
            return None;
        }
        let mut node = self.root.as_ref()?;
        for level in (0..self.levels).rev() {
            let Node::Inner(children) = node else { return None };
            node = children[place(page, level)].as_ref()?;
        }
        match node {
            Node::Page(content) => Some(content),
            Node::Inner(_) => None,
        }
    }

    /// Sets a page, or takes it away.
    pub(super) fn set(&mut self, page: u64, content: Option<Arc<Page>>) {
        if content.is_none() && self.get(page).is_none() {
            return;
        }
        while !self.fits(page) {
            if let Some(root) = self.root.take() {
                let mut children = [const { None }; FANOUT];
                children[0] = Some(root);
                self.root = Some(Node::Inner(Arc::new(children)));
            }
            self.levels += 1;
        }
        let is_there = content.is_some();
        let was_there = set(&mut self.root, self.levels, page, content);
        self.count = self.count + u64::from(is_there) - u64::from(was_there);
    }

    fn fits(&self, page: u64) -> bool {
        page.checked_shr(BITS * self.levels).unwrap_or(0) == 0
    }
}

fn place(page: u64, level: u32) -> usize {
    (page >> (BITS * level)) as usize % FANOUT
}

/// Whether there was a page.
fn set(node: &mut Option<Node>, levels: u32, page: u64, content: Option<Arc<Page>>) -> bool {
    let Some(level) = levels.checked_sub(1) else {
        let was_there = node.is_some();
        *node = content.map(Node::Page);
        return was_there;
    };
    let inner = node.get_or_insert_with(|| Node::Inner(Arc::new([const { None }; FANOUT])));
    match inner {
        Node::Inner(children) => set(&mut Arc::make_mut(children)[place(page, level)], level, page, content),
        // Pages stand below all levels.
        Node::Page(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn pages_are_a_map_and_clones_do_not_change(
            steps in prop::collection::vec((0_u64..1 << 52, any::<bool>(), 0_u32..52, any::<Option<u8>>()), 1..60)
        ) {
            let mut pages = Pages::default();
            let mut map = BTreeMap::new();
            let mut kept = Vec::new();
            for (number, is_kept, shift, content) in steps {
                let number = number >> shift;
                match content {
                    Some(byte) => map.insert(number, byte),
                    None => map.remove(&number),
                };
                pages.set(number, content.map(|byte| Arc::new([byte; PAGE_BYTES])));
                if is_kept {
                    kept.push((pages.clone(), map.clone()));
                }
            }
            kept.push((pages, map));
            let numbers: Vec<u64> = kept.iter().flat_map(|(_, map)| map.keys().copied()).collect();
            for (pages, map) in &kept {
                prop_assert_eq!(pages.count(), map.len() as u64);
                for number in &numbers {
                    prop_assert_eq!(pages.get(*number).map(|page| page[0]), map.get(number).copied());
                }
            }
        }
    }
}

use super::{
    ids::{LocationId, ReadId},
    vm::{Vm, Writes},
};
use hashbrown::HashMap;
use smallvec::SmallVec;

/// What the earlier steps of an execution wrote: its later steps see it, nobody else does before it lands.
///
/// Writes to one location become one, so that an entry of many steps lands each location once.
#[derive(Debug)]
pub(crate) struct OwnWrites<V: Vm> {
    /// Place of a location's write.
    places: HashMap<LocationId, usize, foldhash::fast::RandomState>,
    /// In the order of the steps that wrote first. `None` where a later step reset the parent.
    writes: Vec<(LocationId, Option<V::Write>)>,
    /// What takes effect after all of them, one a location.
    late: Writes<V>,
    /// Locations whose children were reset.
    resets: SmallVec<[LocationId; 2]>,
    /// Reads of the step at hand that saw writes of earlier steps, with what stood there before them.
    shadowed: Vec<(ReadId, V::Value)>,
}

/// How the execution's own writes look upon a location.
pub(crate) enum Own<'a, V: Vm> {
    /// They say nothing of it.
    Untouched,
    /// They say all of it: what stood there before the execution does not count.
    Decided(V::Value),
    /// They change what stood there before.
    Changed(Changes<'a, V>),
}

/// Writes to one location, in order.
pub(crate) struct Changes<'a, V: Vm> {
    write: Option<&'a V::Write>,
    late: Option<&'a V::Write>,
}

impl<'a, V: Vm> Changes<'a, V> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a V::Write> + Clone + use<'a, V> {
        self.write.into_iter().chain(self.late)
    }

    fn is_empty(&self) -> bool {
        self.write.is_none() && self.late.is_none()
    }
}

impl<V: Vm> OwnWrites<V> {
    pub(crate) fn new() -> Self {
        Self {
            places: HashMap::default(),
            writes: Vec::new(),
            late: Vec::new(),
            resets: SmallVec::new(),
            shadowed: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        // Also what a step left that came to nothing.
        self.resets.clear();
        self.shadowed.clear();
        if !self.is_empty() {
            self.places.clear();
            self.writes.clear();
            self.late.clear();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.late.is_empty()
    }

    /// What the execution itself did to a location so far.
    pub(crate) fn of(&self, key: &V::Key, location: LocationId, parent: Option<LocationId>) -> Own<'_, V> {
        let write = self.places.get(&location).and_then(|place| self.writes[*place].1.as_ref());
        let is_reset = self.has_reset(parent);
        let late = self.late.iter().find(|(id, _)| *id == location).map(|(_, write)| write);
        let changes = Changes { write, late };
        if is_reset || write.is_some_and(V::is_absolute) {
            let mut value = V::value_after_reset(key);
            changes.iter().for_each(|write| V::apply(&mut value, write));
            return Own::Decided(value);
        }
        if changes.is_empty() { Own::Untouched } else { Own::Changed(changes) }
    }

    /// Remembers that a read saw own writes over `start`.
    pub(crate) fn shadow(&mut self, read: ReadId, start: V::Value) {
        self.shadowed.push((read, start));
    }

    /// What stood at the location of a read before the execution, if its own writes hide that.
    pub(crate) fn start_of(&self, read: ReadId) -> Option<&V::Value> {
        self.shadowed.iter().rev().find(|(shadowed, _)| *shadowed == read).map(|(_, start)| start)
    }

    /// Whether the children of this parent were reset.
    pub(crate) fn has_reset(&self, parent: Option<LocationId>) -> bool {
        parent.is_some_and(|parent| self.resets.contains(&parent))
    }

    /// Notes which parents a step resets. [`OwnWrites::add`] follows.
    pub(crate) fn note_resets(&mut self, writes: &Writes<V>) {
        for (location, _) in writes.iter().filter(|(_, write)| V::resets_children(write)) {
            if !self.resets.contains(location) {
                self.resets.push(*location);
            }
        }
    }

    /// Adds what a step wrote. `parent_of` gives a location's parent.
    pub(crate) fn add(
        &mut self,
        writes: &mut Writes<V>,
        late_writes: &mut Writes<V>,
        parent_of: impl Fn(LocationId) -> Option<LocationId>,
    ) {
        for (location, write) in writes.drain(..) {
            if V::resets_children(&write) {
                self.forget_children(location, &parent_of);
            }
            self.settle_late(location);
            self.push(location, write);
        }
        for (location, write) in late_writes.drain(..) {
            match self.late.iter_mut().find(|(id, _)| *id == location) {
                Some((_, first)) => V::merge(first, write),
                None => self.late.push((location, write)),
            }
        }
        self.shadowed.clear();
    }

    fn push(&mut self, location: LocationId, write: V::Write) {
        let place = *self.places.entry(location).or_insert(self.writes.len());
        match self.writes.get_mut(place) {
            Some((_, Some(first))) => V::merge(first, write),
            Some((_, none)) => *none = Some(write),
            None => self.writes.push((location, Some(write))),
        }
    }

    /// What was written late stands before what is written now.
    fn settle_late(&mut self, location: LocationId) {
        if let Some(place) = self.late.iter().position(|(id, _)| *id == location) {
            let (_, write) = self.late.swap_remove(place);
            self.push(location, write);
        }
    }

    /// Forgets what was written to the location's children.
    fn forget_children(
        &mut self,
        location: LocationId,
        parent_of: impl Fn(LocationId) -> Option<LocationId>,
    ) {
        for (child, write) in &mut self.writes {
            if parent_of(*child) == Some(location) {
                *write = None;
                // A later write stands behind the reset.
                self.places.remove(child);
            }
        }
    }

    /// Moves all writes out, in an order in which they can land.
    pub(crate) fn take(&mut self, writes: &mut Writes<V>, late_writes: &mut Writes<V>) {
        let landing = self.writes.drain(..).filter_map(|(location, write)| Some((location, write?)));
        writes.extend(landing);
        late_writes.append(&mut self.late);
        self.places.clear();
        self.resets.clear();
        self.shadowed.clear();
    }
}

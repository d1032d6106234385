use super::vm::Vm;
use std::convert::Infallible;

/// What an entry is going to do, known before it is executed, and before the state is: a list of writes (*parts*), each
/// of which needs to look at nothing but the location it is made to.
///
/// Parts of different entries at different locations can be made in any order. So the locations of a segment can be
/// divided among threads, each of which makes all parts at its own, in the order of the entries, and need not know what
/// the others do. This is the *piece-wise* execution of deterministic databases (Faleiro, Abadi and Hellerstein, "High
/// performance transactions via early write visibility", VLDB 2017), with pieces of one write.
///
/// The plan holds as long as every part finds a value that it can go on from. An entry of which one does not is
/// executed instead.
pub trait Plan<V: Vm>: Send + Sync {
    /// Number of parts.
    fn parts(&self) -> u32;

    /// Where a part writes. A location without parent.
    fn key(&self, part: u32) -> V::Key;

    /// Whether the part may be made to a location that holds this value before the segment. If not the entry is executed
    /// in its turn; all others stay planned.
    fn suits(&self, part: u32, value: &V::Value) -> bool;

    /// Makes the part's write. `false` if the value does not permit that: then nothing of the segment is as planned.
    fn act(&self, part: u32, value: &mut V::Value) -> bool;

    /// The entry's result, if all parts were made.
    fn output(&self) -> V::Output;
}

/// For machines that plan nothing.
impl<V: Vm> Plan<V> for Infallible {
    fn parts(&self) -> u32 {
        match *self {}
    }

    fn key(&self, _part: u32) -> V::Key {
        match *self {}
    }

    fn suits(&self, _part: u32, _value: &V::Value) -> bool {
        match *self {}
    }

    fn act(&self, _part: u32, _value: &mut V::Value) -> bool {
        match *self {}
    }

    fn output(&self) -> V::Output {
        match *self {}
    }
}

use super::{BlockFigures, Contest, Contestants, Shape, Threads, World, Writes};
use crate::WrongAnswer;

/// Least and most blocks that are timed at a point.
const BLOCKS: (usize, usize) = (4, 40);
/// Writes after which there is nothing to be learnt from more blocks.
const WRITES_ENOUGH: usize = 100_000;

/// What blocks of `writes` cost on states of `leaves`. Points with more writes than leaves are left out.
///
/// # Errors
///
/// [`WrongAnswer`] if roots differ.
pub fn growth(
    leaves: &[usize],
    writes: &[usize],
    threads: &Threads,
    rebuilds: bool,
) -> Result<Vec<BlockFigures>, WrongAnswer> {
    let mut points = Vec::new();
    for leaves in leaves {
        let world = World::new(Shape::of_leaves(*leaves));
        let mut contest = Contest::new(&world, Contestants::Few, threads, rebuilds)?;
        for writes in writes.iter().filter(|writes| *writes <= leaves) {
            let blocks = (WRITES_ENOUGH / writes).clamp(BLOCKS.0, BLOCKS.1);
            points.push(contest.run(Writes::of(*writes), blocks)?);
        }
    }
    Ok(points)
}

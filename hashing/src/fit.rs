//! Least squares with coefficients that cannot be negative.

/// Coefficients to be found: of few enough that every choice of those that are zero can be tried.
const TERMS: usize = 3;

/// A measurement: the terms, and what their weighted sum came to.
pub(crate) type Sample = ([f64; TERMS], f64);

/// The coefficients, none negative, that fit the samples best by the sum of squares of *relative* errors: times range
/// over five orders of magnitude, and the shortest are to be as right as the longest. The results of samples are
/// positive.
///
/// Every subset of coefficients is solved for with the others zero, and the best solution without a negative one is
/// taken. (At the optimum those that are not zero solve the unconstrained problem of their subset: Lawson and Hanson,
/// "Solving Least Squares Problems", chapter 23.)
pub(crate) fn fit(samples: &[Sample]) -> [f64; TERMS] {
    let relative: Vec<[f64; TERMS]> =
        samples.iter().map(|(terms, result)| terms.map(|term| term / result)).collect();
    let error = |coefficients: &[f64; TERMS]| -> f64 {
        let miss = |row: &[f64; TERMS]| {
            1.0 - row.iter().zip(coefficients).map(|(term, coefficient)| term * coefficient).sum::<f64>()
        };
        relative.iter().map(|row| miss(row).powi(2)).sum()
    };
    let mut best = [0.0; TERMS];
    for subset in 1..1_u32 << TERMS {
        let used: Vec<usize> = (0..TERMS).filter(|term| subset & 1 << term != 0).collect();
        let Some(solution) = solve(&relative, &used) else { continue };
        if solution.iter().all(|coefficient| *coefficient >= 0.0) && error(&solution) < error(&best) {
            best = solution;
        }
    }
    best
}

/// Solves the normal equations for the coefficients in `used` by elimination; `None` if they have no one solution.
fn solve(rows: &[[f64; TERMS]], used: &[usize]) -> Option<[f64; TERMS]> {
    // Columns are scaled to length one, so that pivots can be compared.
    let length = |term: &usize| rows.iter().map(|row| row[*term].powi(2)).sum::<f64>().sqrt();
    let scales: Vec<f64> = used.iter().map(length).collect();
    if scales.contains(&0.0) {
        return None;
    }
    let size = used.len();
    let column = |index: usize, row: &[f64; TERMS]| row[used[index]] / scales[index];
    let mut matrix = vec![vec![0.0; size + 1]; size];
    for (index, equation) in matrix.iter_mut().enumerate() {
        for (other, value) in equation[..size].iter_mut().enumerate() {
            *value = rows.iter().map(|row| column(index, row) * column(other, row)).sum();
        }
        equation[size] = rows.iter().map(|row| column(index, row)).sum();
    }
    for pivot in 0..size {
        // Symmetric and not negative: the pivots need no exchange.
        if matrix[pivot][pivot] < 1e-12 {
            return None;
        }
        let equation = matrix[pivot].clone();
        for (index, other) in matrix.iter_mut().enumerate() {
            if index != pivot {
                let factor = other[pivot] / equation[pivot];
                other.iter_mut().zip(&equation).for_each(|(value, known)| *value -= factor * known);
            }
        }
    }
    let mut solution = [0.0; TERMS];
    for (index, equation) in matrix.iter().enumerate() {
        solution[used[index]] = equation[size] / equation[index] / scales[index];
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: impl Fn(f64, f64) -> f64) -> Vec<Sample> {
        let counts = [1.0, 64.0, 1024.0, 16384.0];
        let lengths = [8.0, 135.0];
        let all = counts.into_iter().flat_map(|count| lengths.map(|length| (count, count * length)));
        all.map(|(count, bytes)| ([1.0, count, bytes], of(count, bytes))).collect()
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() <= 1e-6 * right.abs().max(1e-3)
    }

    #[test]
    fn exact_costs_are_found_again() {
        for costs in [[5_000.0, 12.0, 0.1], [0.0, 30.0, 0.0], [200.0, 0.0, 2.0], [1.0, 1.0, 1.0]] {
            let found = fit(&samples(|count, bytes| costs[0] + costs[1] * count + costs[2] * bytes));
            assert!(costs.iter().zip(found).all(|(cost, found)| close(found, *cost)), "{costs:?}: {found:?}");
        }
    }

    /// More bytes took less time: no reason to expect that of still more.
    #[test]
    fn no_coefficient_is_negative() {
        let found = fit(&samples(|count, bytes| 1_000.0 + 50.0 * count - 0.1 * bytes));
        assert!(found.iter().all(|coefficient| *coefficient >= 0.0), "{found:?}");
        assert!(found[1] > 30.0 && found[2] == 0.0, "{found:?}");
    }

    #[test]
    fn short_batches_weigh_as_much_as_long_ones() {
        // The long ones are a tenth slower than the rest says: the fixed cost is found all the same.
        let found = fit(&samples(|count, _| {
            let time = 1_000.0 + 20.0 * count;
            if count > 2_000.0 { 1.1 * time } else { time }
        }));
        assert!((900.0..1_100.0).contains(&found[0]) && (19.0..22.0).contains(&found[1]), "{found:?}");
    }

    #[test]
    fn terms_that_are_always_zero_cost_nothing() {
        assert_eq!(fit(&[([1.0, 0.0, 0.0], 7.0), ([1.0, 0.0, 0.0], 7.0)]), [7.0, 0.0, 0.0]);
        assert_eq!(fit(&[]), [0.0; 3]);
    }
}

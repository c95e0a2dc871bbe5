//! In which order targets are tried.

use std::time::Duration;

use super::Strategy;

/// What a choice goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) weight: f64,
    pub(super) rtt: Option<Duration>,
    pub(super) failed: bool,
}

/// Returns the targets that have not failed, the best first. `next` is whose turn it is.
pub(super) fn order(strategy: Strategy, all: &[Standing], next: &mut usize) -> Vec<usize> {
    let available = |range: std::ops::Range<usize>| {
        range.filter(|&index| all.get(index).is_some_and(|target| !target.failed))
    };
    match strategy {
        Strategy::RoundRobin => {
            let start = (*next).min(all.len());
            let order: Vec<_> = available(start..all.len())
                .chain(available(0..start))
                .collect();
            if let Some(first) = order.first() {
                *next = (first + 1) % all.len();
            }
            order
        }
        Strategy::Weighted => shuffled(available(0..all.len()).collect(), all),
        Strategy::LeastLatency => {
            let mut order: Vec<_> = available(0..all.len()).collect();
            order.sort_by_key(|&index| all.get(index).and_then(|target| target.rtt));
            order
        }
    }
}

/// Draws one target after the other in proportion to the weights.
fn shuffled(mut left: Vec<usize>, all: &[Standing]) -> Vec<usize> {
    let weight = |index: &usize| all.get(*index).map_or(0.0, |target| target.weight);
    let even = left.iter().all(|index| weight(index) <= 0.0);
    if even {
        fastrand::shuffle(&mut left);
        return left;
    }
    left.retain(|index| weight(index) > 0.0);
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let total: f64 = left.iter().map(weight).sum();
        let mut point = fastrand::f64() * total;
        let drawn = left.iter().position(|index| {
            point -= weight(index);
            point < 0.0
        });
        // Rounding, or a sum that is infinite, may leave the point behind the last one.
        order.push(left.remove(drawn.unwrap_or(left.len() - 1)));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets<const N: usize>(weights: [f64; N]) -> Vec<Standing> {
        let all = weights.map(|weight| Standing {
            weight,
            rtt: None,
            failed: false,
        });
        all.to_vec()
    }

    #[test]
    fn turns_begin_with_the_first_and_pass_over_those_that_failed() {
        let mut all = targets([1.0; 3]);
        let mut next = 0;
        let mut turn = |all: &[Standing]| order(Strategy::RoundRobin, all, &mut next);
        assert_eq!(turn(&all), [0, 1, 2]);
        assert_eq!(turn(&all), [1, 2, 0]);
        all[2].failed = true;
        assert_eq!(turn(&all), [0, 1]);
        all[2].failed = false;
        assert_eq!(turn(&all), [1, 2, 0]);
        assert_eq!(turn(&all), [2, 0, 1]);
        assert_eq!(turn(&all), [0, 1, 2]);
        for target in &mut all {
            target.failed = true;
        }
        assert!(turn(&all).is_empty());
    }

    #[test]
    fn draws_follow_the_weights() {
        let all = targets([3.0, 1.0, 0.0]);
        let draw = || order(Strategy::Weighted, &all, &mut 0);
        let first = (0..4000).filter(|_| draw()[0] == 0).count();
        // 3000 expected, with a deviation of 27.
        assert!((2700..3300).contains(&first), "{first} of 4000");
        assert!((0..100).all(|_| !draw().contains(&2)));
        assert_eq!(draw().len(), 2);

        let none = targets([0.0; 2]);
        let first = (0..1000).filter(|_| order(Strategy::Weighted, &none, &mut 0)[0] == 0);
        let first = first.count();
        // 500 expected, with a deviation of 16.
        assert!((300..700).contains(&first), "{first} of 1000");
        let huge = targets([f64::MAX, f64::INFINITY]);
        assert_eq!(order(Strategy::Weighted, &huge, &mut 0).len(), 2);
    }

    #[test]
    fn the_shortest_way_goes_first_and_the_unknown_before_it() {
        let mut all = targets([1.0; 4]);
        let times = [Some(30), Some(10), None, Some(10)];
        for (target, time) in all.iter_mut().zip(times) {
            target.rtt = time.map(Duration::from_millis);
        }
        assert_eq!(order(Strategy::LeastLatency, &all, &mut 0), [2, 1, 3, 0]);
    }
}

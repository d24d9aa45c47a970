//! Binary search that begins at one end: what is asked for is nearly always near it, however long the list is.

use std::collections::VecDeque;

/// How many items from the front hold; those that hold come first.
pub fn from_front<T>(items: &VecDeque<T>, holds: impl Fn(&T) -> bool) -> usize {
    let len = items.len();
    let (mut known, mut step) = (0, 1);
    while known + step <= len && holds(&items[known + step - 1]) {
        known += step;
        step *= 2;
    }
    between(items, known, (known + step - 1).min(len), holds)
}

/// The same, sought from the back.
pub fn from_back<T>(items: &VecDeque<T>, holds: impl Fn(&T) -> bool) -> usize {
    let (mut known, mut step) = (items.len(), 1);
    while known >= step && !holds(&items[known - step]) {
        known -= step;
        step *= 2;
    }
    between(items, (known + 1).saturating_sub(step), known, holds)
}

/// The same, where it is known to lie between two places, both included.
fn between<T>(items: &VecDeque<T>, mut from: usize, mut to: usize, holds: impl Fn(&T) -> bool) -> usize {
    while from < to {
        let middle = from + (to - from) / 2;
        match holds(&items[middle]) {
            true => from = middle + 1,
            false => to = middle,
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_find_what_a_search_of_everything_finds() {
        for len in 0..40 {
            for shift in [0, 7] {
                // Turned around inside, as a ring is after a while.
                let mut items: VecDeque<usize> = (0..shift).collect();
                items.reserve_exact(len);
                items.extend(0..len);
                items.drain(..shift);
                for holding in 0..=len + 1 {
                    let holds = |item: &usize| *item < holding;
                    let expected = items.partition_point(holds);
                    assert_eq!(from_front(&items, holds), expected, "{len} {shift} {holding}");
                    assert_eq!(from_back(&items, holds), expected, "{len} {shift} {holding}");
                }
            }
        }
    }
}

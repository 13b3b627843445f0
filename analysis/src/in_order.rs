//! Things in the order in which they first appear: names, groups by name, and errors of what is done in parallel.

use rayon::prelude::*;

/// Distinct texts.
pub fn distinct<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for text in texts {
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    }
    distinct
}

/// Items by key.
pub fn grouped<T: Clone, K: PartialEq>(items: &[T], key: impl Fn(&T) -> K) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for item in items {
        let key = key(item);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(item.clone()),
            None => groups.push((key, vec![item.clone()])),
        }
    }
    groups
}

/// What each item gives, asked in parallel. Of several errors it is that of the first item, whichever thread was
/// first: the same input gets the same words.
pub fn try_map<'a, T: Sync, R: Send, E: Send>(
    items: &'a [T],
    of: impl Fn(&'a T) -> Result<R, E> + Sync + Send,
) -> Result<Vec<R>, E> {
    items.par_iter().map(of).collect::<Vec<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_errors_in_parallel_the_first_in_order_is_told() {
        let items: Vec<u64> = (0..64).collect();
        for _ in 0..20 {
            let of = |&item: &u64| {
                // the later, the sooner
                std::thread::sleep(std::time::Duration::from_micros(64 - item));
                if item < 3 { Ok(item) } else { Err(item) }
            };
            assert_eq!(try_map(&items, of), Err(3));
        }
        assert_eq!(try_map(&items, |&item| Ok::<_, ()>(item)).as_ref(), Ok(&items));
    }
}

//! The kernel's list format, `0-3,8,10-11`.

/// Numbers of a list above which it is taken for nonsense: the kernel's own `NR_CPUS` ends far below.
const NUMBERS_MAX: usize = 1 << 16;

/// The numbers of `text`, ascending and once each; `None` if it is no list. An empty text is an empty list.
pub fn parse(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || (last - first) as usize >= NUMBERS_MAX || numbers.len() >= NUMBERS_MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}

/// `numbers` (ascending) as a list, runs joined.
pub fn format(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let parts: Vec<String> = runs
        .into_iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse("\n"), Some(vec![]));
        assert_eq!(parse("5,1,1-2"), Some(vec![1, 2, 5]));
    }

    #[test]
    fn nonsense_is_no_list() {
        for text in ["a", "3-1", "1-", "-1", "0-4294967295", "1;2"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn runs_are_joined() {
        assert_eq!(format([0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(format([]), "");
    }
}

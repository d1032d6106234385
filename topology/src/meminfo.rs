//! `/proc/meminfo`.

/// `MemTotal` in bytes; the file counts in KiB and writes `kB` (proc(5)).
pub(crate) fn total_bytes(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mem_total_is_read_in_bytes() {
        let text = "MemTotal:       24684092 kB\nMemFree:        24432852 kB\n";
        assert_eq!(total_bytes(text), Some(24_684_092 * 1024));
    }

    #[test]
    fn nonsense_has_no_total() {
        for text in ["", "MemFree: 1 kB", "MemTotal: many kB", "MemTotal: 18446744073709551615 kB"] {
            assert_eq!(total_bytes(text), None, "{text}");
        }
    }
}

//! When a new frozen version of shared state takes force.

/// First record at which a version takes force.
const FIRST: u64 = 256;
/// From here on versions are this many records apart.
const PERIOD: u64 = 65_536;

/// Whether a version takes force after so many records since the shard's first:
/// 256, 512, 1,024 … 65,536, then every 65,536.
///
/// Early versions double, because the first hundreds of records teach the most; later ones follow drift.
#[must_use]
pub fn version_due(records_since_start: u64) -> bool {
    if records_since_start < PERIOD {
        records_since_start >= FIRST && records_since_start.is_power_of_two()
    } else {
        records_since_start.is_multiple_of(PERIOD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_double_and_then_are_evenly_spaced() {
        let due: Vec<u64> = (0..=200_000).filter(|&records| version_due(records)).collect();
        assert_eq!(due, [256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 196_608]);
    }
}

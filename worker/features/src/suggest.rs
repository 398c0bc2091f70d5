//! "Did you mean …?"

/// The candidate with the fewest edits from `name`, if it is near enough to be a slip: at most a third of its letters,
/// at least one. The first of equals.
#[must_use]
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, _)| (1..=most).contains(edits))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours between two texts (optimal string alignment), by rows.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let substituted = above[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = substituted.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_another_word_is_not() {
        let declared = ["value", "merchant", "hour.sin"];
        assert_eq!(closest("merchnt", declared), Some("merchant"));
        assert_eq!(closest("Value", declared), Some("value"));
        assert_eq!(closest("hour.sine", declared), Some("hour.sin"));
        assert_eq!(closest("temperature", declared), None);
        assert_eq!(closest("valeu", declared), Some("value"));
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}

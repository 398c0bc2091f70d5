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

/// Insertions, deletions and substitutions between two texts (Levenshtein 1966), by rows.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in to.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
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
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}

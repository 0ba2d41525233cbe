//! "Did you mean": the known name nearest to one that is not known.

/// Names longer than this are not compared: no key is, and the work grows with the length.
const LENGTH_MAX: usize = 64;

/// The candidate with the fewest edits to `name`, unless it would take more than a third of the
/// name's length. The first of equals wins.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() > LENGTH_MAX {
        return None;
    }
    let limit = (name.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        // Most candidates are out by their length alone; hostile names cost little.
        if candidate.len().abs_diff(name.len()) > 2 * limit {
            continue;
        }
        let edits = distance(name, candidate);
        if edits <= limit && best.is_none_or(|(fewest, _)| edits < fewest) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The number of insertions, deletions, substitutions and swaps of neighbours between two words
/// (optimal string alignment), ignoring case and the choice of separator.
fn distance(left: &str, right: &str) -> usize {
    let fold = |text: &str| -> Vec<char> {
        text.chars()
            .map(|c| if matches!(c, '_' | '-') { '.' } else { c.to_ascii_lowercase() })
            .collect()
    };
    let (left, right) = (fold(left), fold(right));
    let width = right.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut above: Vec<usize> = (0..width).collect();
    for (row, &a) in left.iter().enumerate() {
        let mut current = vec![row + 1; width];
        for (column, &b) in right.iter().enumerate() {
            let substitute = above[column] + usize::from(a != b);
            let mut edits = substitute.min(above[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && a == right[column - 1] && left[row - 1] == b;
            if swapped {
                edits = edits.min(before[column - 1] + 1);
            }
            current[column + 1] = edits;
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        let check = |left, right, expect| assert_eq!(distance(left, right), expect);
        check("", "abc", 3);
        check("abc", "abc", 0);
        check("abc", "acb", 1);
        check("retension", "retention", 1);
        check("topics-auto_create", "topics.auto.create", 0);
        check("kitten", "sitting", 3);
    }

    #[test]
    fn nearest_gives_up_when_nothing_is_near() {
        let names = ["topics.retention", "topics.partitions", "log.level"];
        let check = |name, expect| assert_eq!(nearest(name, names), expect, "{name}");
        check("topics.retension", Some("topics.retention"));
        check("topic.partition", Some("topics.partitions"));
        check("loglevel", Some("log.level"));
        check("something.else.entirely", None);
        check("", None);
    }
}

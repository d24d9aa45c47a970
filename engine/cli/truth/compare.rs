//! Expected against found.

use std::collections::BTreeMap;

use super::{Firing, RULES};

/// What became of one firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Found,
    /// It is there, and says something else: each fact with what was expected and what was found.
    Differs(Vec<(&'static str, String, String)>),
    /// It should be there, and is not.
    Missing,
    /// It is there, and should not be.
    Extra,
}

/// One firing and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The firing: as it was found, or as it was expected where it is missing.
    pub firing: Firing,
    /// What became of it.
    pub verdict: Verdict,
}

/// Everything expected and everything found, side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The firings of the rules that the truth speaks of, rule by rule.
    pub rows: Vec<Row>,
    /// Incidents of rules that it does not speak of.
    pub unlisted: BTreeMap<String, u64>,
}

impl Report {
    /// Whether all that is expected was found as it is, and nothing else.
    pub fn agrees(&self) -> bool {
        self.rows.iter().all(|row| row.verdict == Verdict::Found)
    }

    /// How many rows have a verdict like this.
    pub fn count(&self, like: impl Fn(&Verdict) -> bool) -> usize {
        self.rows.iter().filter(|row| like(&row.verdict)).count()
    }
}

/// Puts expected and found firings side by side. Two of the same identity are two: one may be missing, or extra.
pub fn compare(expected: Vec<Firing>, mut found: Vec<Firing>, unlisted: BTreeMap<String, u64>) -> Report {
    let mut rows = Vec::new();
    for firing in expected {
        let same = |other: &Firing| other.rule == firing.rule && other.identity == firing.identity;
        let row = match found.iter().position(same) {
            None => Row { firing, verdict: Verdict::Missing },
            Some(at) => {
                let other = found.remove(at);
                let differences = differences(&firing, &other);
                let verdict =
                    if differences.is_empty() { Verdict::Found } else { Verdict::Differs(differences) };
                Row { firing: other, verdict }
            }
        };
        rows.push(row);
    }
    rows.extend(found.into_iter().map(|firing| Row { firing, verdict: Verdict::Extra }));
    rows.sort_by_key(|row| RULES.iter().position(|(_, id)| *id == row.firing.rule));
    Report { rows, unlisted }
}

fn differences(expected: &Firing, found: &Firing) -> Vec<(&'static str, String, String)> {
    let fact = |firing: &Firing, name: &str| firing.facts.get(name).cloned().unwrap_or_default();
    expected
        .facts
        .keys()
        .map(|name| (*name, fact(expected, name), fact(found, name)))
        .filter(|(_, expected, found)| expected != found)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firing(letter: &str, host: &str, at: &str) -> Firing {
        Firing::new(letter, &[host], &[("at", at.to_owned())])
    }

    fn check(expected: Vec<Firing>, found: Vec<Firing>, verdicts: &[Verdict]) {
        let report = compare(expected, found, BTreeMap::new());
        let told: Vec<Verdict> = report.rows.iter().map(|row| row.verdict.clone()).collect();
        assert_eq!(told, verdicts);
        assert_eq!(report.agrees(), verdicts.iter().all(|verdict| *verdict == Verdict::Found));
    }

    #[test]
    fn the_same_agrees_whatever_the_order_and_the_case() {
        let found = vec![firing("A", "B", "1"), firing("A", "a", "2")];
        check(vec![firing("A", "A", "2"), firing("A", "b", "1")], found, &[Verdict::Found, Verdict::Found]);
    }

    #[test]
    fn missing_extra_and_different_firings_are_told_apart() {
        let expected = vec![firing("A", "a", "1"), firing("C", "a", "1"), firing("A", "c", "1")];
        let found =
            vec![firing("A", "a", "2"), firing("C", "b", "1"), firing("A", "c", "1"), firing("A", "c", "1")];
        let differs = Verdict::Differs(vec![("at", "1".to_owned(), "2".to_owned())]);
        check(expected, found, &[differs, Verdict::Found, Verdict::Extra, Verdict::Missing, Verdict::Extra]);
    }
}

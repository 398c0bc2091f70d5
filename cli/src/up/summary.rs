//! What a run came to, as a table and as JSON.

use std::fmt::Write as _;

use faultline_worker::outcome::Tally;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::scenario::judge::Verdict;
use crate::text::{duration, grouped, rounded};

/// What a run came to.
#[derive(Debug, Clone)]
pub(super) struct Summary {
    /// Records written into the source, or read where nothing is fed.
    pub(super) events: u64,
    /// Those of them that this command has not written.
    pub(super) from_others: u64,
    pub(super) outcomes: Tally,
    /// Incidents opened.
    pub(super) incidents: u64,
    /// Against what was planted.
    pub(super) verdict: Option<Verdict>,
    pub(super) p95_ms: Option<f64>,
    pub(super) seconds: f64,
    /// From the start to the first incident on the screen.
    pub(super) first_incident_seconds: Option<f64>,
    pub(super) bad_rows: u64,
    pub(super) bad_alerts: u64,
}

impl Summary {
    /// Whether the run is a success. `exact`: every record fed must have exactly one outcome.
    pub(super) fn check(&self, exact: bool) -> Result<(), Failure> {
        let ended = self.outcomes.records();
        if exact && ended != self.events {
            let (sent, ended) = (grouped(self.events), grouped(ended));
            return Err(Failure::Failed(format!(
                "{sent} records were written and {ended} have an outcome: records were lost or counted twice"
            )));
        }
        if self.bad_rows > 0 {
            return Err(Failure::Failed(format!(
                "{} rows of the file are no events; they are named above",
                grouped(self.bad_rows)
            )));
        }
        if self.bad_alerts > 0 {
            return Err(Failure::Failed(format!(
                "{} records of the alerts topic are no alerts",
                grouped(self.bad_alerts)
            )));
        }
        Ok(())
    }

    /// The last line of `--output json`.
    pub(super) fn json(&self) -> Value {
        let outcomes = &self.outcomes;
        let planted: Option<Map<String, Value>> = self.verdict.as_ref().map(|verdict| {
            let tallies = verdict.planted.iter();
            tallies
                .map(|(kind, tally)| (kind.name().to_owned(), json!({"planted": tally.planted, "found": tally.found})))
                .collect()
        });
        let [warning, major, critical] = outcomes.by_severity;
        json!({
            "type": "summary",
            "events": self.events,
            "fromOthers": self.from_others,
            "outcomes": {
                "scored": outcomes.scored,
                "deadLettered": outcomes.dead_lettered,
                "late": outcomes.late,
                "duplicate": outcomes.duplicate,
                "filtered": outcomes.filtered,
                "skipped": outcomes.skipped,
            },
            "anomalies": outcomes.anomalies,
            // Events at or above each severity.
            "severities": {"warning": warning + major + critical, "major": major + critical, "critical": critical},
            "alerts": outcomes.alerts,
            "planted": planted,
            "incidents": self.incidents,
            "falseIncidents": self.verdict.as_ref().map(|verdict| verdict.false_incidents),
            "p95Ms": self.p95_ms,
            "seconds": (self.seconds * 1000.0).round() / 1000.0,
            "eventsPerSecond": (self.outcomes.records() as f64 / self.seconds).round(),
            "firstIncidentSeconds": self.first_incident_seconds.map(|seconds| (seconds * 1000.0).round() / 1000.0),
            "badRows": self.bad_rows,
        })
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let rate = rounded(self.outcomes.records() as f64 / self.seconds);
        let _ = write!(text, "\n{} events in {}, {rate} a second", grouped(self.events), duration(self.seconds));
        if let Some(p95_ms) = self.p95_ms {
            let _ = write!(text, ", 95 % of them within {p95_ms:.0} ms");
        }
        if self.from_others > 0 {
            let _ = write!(text, "\n{} of them written by others", grouped(self.from_others));
        }
        let _ = writeln!(text, "\n{}", self.outcomes_line());
        let incidents = grouped(self.incidents);
        let _ = match &self.verdict {
            Some(verdict) => {
                writeln!(text, "{incidents} incidents, {} of them false", grouped(verdict.false_incidents))
            }
            None => writeln!(text, "{incidents} incidents"),
        };
        if let Some(verdict) = self.verdict.as_ref().filter(|verdict| !verdict.planted.is_empty()) {
            let _ = writeln!(text, "\n{:<14}{:>8}{:>8}", "planted", "", "found");
            for (kind, tally) in &verdict.planted {
                let share = format!("{:.0} %", 100.0 * tally.share());
                let _ = writeln!(text, "{:<14}{:>8}{:>8}{share:>8}", kind.name(), tally.planted, tally.found);
            }
        }
        text
    }

    /// `scored 2,998,500 · duplicate 1,500`: only what happened.
    fn outcomes_line(&self) -> String {
        let outcomes = &self.outcomes;
        let named = [
            ("scored", outcomes.scored),
            ("dead-lettered", outcomes.dead_lettered),
            ("late", outcomes.late),
            ("duplicate", outcomes.duplicate),
            ("filtered", outcomes.filtered),
            ("skipped", outcomes.skipped),
        ];
        let seen = named.iter().filter(|(name, count)| *count > 0 || *name == "scored");
        let parts: Vec<String> = seen.map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
        parts.join(" · ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::judge::Tally as Found;
    use crate::scenario::truth::Kind;

    fn summary() -> Summary {
        Summary {
            events: 1_000,
            from_others: 0,
            outcomes: Tally { scored: 990, duplicate: 8, late: 2, ..Tally::default() },
            incidents: 3,
            verdict: Some(Verdict {
                planted: vec![(Kind::Spike6, Found { planted: 2, found: 1 })],
                incidents: 3,
                false_incidents: 2,
            }),
            p95_ms: Some(34.0),
            seconds: 0.5,
            first_incident_seconds: Some(0.1),
            bad_rows: 0,
            bad_alerts: 0,
        }
    }

    #[test]
    fn it_is_one_object_for_programs() {
        let json = summary().json();
        assert_eq!(json["type"], "summary");
        assert_eq!(json["outcomes"]["duplicate"], 8);
        assert_eq!(json["planted"], json!({"spike6": {"planted": 2, "found": 1}}));
        assert_eq!(
            (&json["falseIncidents"], &json["p95Ms"], &json["eventsPerSecond"]),
            (&json!(2), &json!(34.0), &json!(2000.0))
        );
        let unjudged = Summary { verdict: None, ..summary() }.json();
        assert_eq!((&unjudged["planted"], &unjudged["falseIncidents"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn it_is_a_table_for_people() {
        let text = summary().text();
        for line in [
            "1,000 events in 0.5 s, 2,000 a second, 95 % of them within 34 ms",
            "scored 990 · late 2 · duplicate 8",
            "3 incidents, 2 of them false",
            "spike6               2       1    50 %",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!text.contains("others"), "{text}");
        let shared = Summary { from_others: 1, ..summary() }.text();
        assert!(shared.lines().any(|found| found == "1 of them written by others"), "{shared}");
    }

    #[test]
    fn a_record_without_an_outcome_is_a_failure() {
        assert_eq!(summary().check(true), Ok(()));
        let lost = Summary { events: 1_001, ..summary() };
        assert!(matches!(lost.check(true), Err(Failure::Failed(text)) if text.contains("1,001")));
        assert_eq!(lost.check(false), Ok(()));
        let twice = Summary { events: 999, ..summary() };
        assert!(twice.check(true).is_err());
        assert!(Summary { bad_rows: 1, ..summary() }.check(true).is_err());
    }
}

//! Incidents: one alert when something begins, one when it grows, one when it is over.

use faultline_worker::outputs::Topic;
use serde_json::Value;

use super::support::{KEYED, Run, SEVERITIES, START, payment, rules};

fn states(run: &Run) -> Vec<(String, String)> {
    let text = |alert: &Value, member: &str| alert[member].as_str().unwrap().to_owned();
    run.payloads(Topic::Alerts).iter().map(|alert| (text(alert, "key"), text(alert, "state"))).collect()
}

fn expected(states: &[(&str, &str)]) -> Vec<(String, String)> {
    states.iter().map(|(key, state)| ((*key).to_owned(), (*state).to_owned())).collect()
}

#[test]
fn an_incident_opens_escalates_and_closes() {
    let mut run = Run::new(&rules(KEYED, SEVERITIES));
    run.take(&payment("u", 0, 1));
    run.take(&payment("u", 10, 500));
    run.take(&payment("u", 20, 600));
    run.take(&payment("u", 30, 5000));
    run.take(&payment("u", 40, 6000));
    run.take(&payment("u", 50, 500));
    assert_eq!(states(&run), expected(&[("u", "opened"), ("u", "escalated")]));
    // The last anomaly at 50, quiet until 650, the watermark is 30 s behind: not yet at 680, but at 681.
    run.take(&payment("v", 680, 1));
    assert_eq!(states(&run).len(), 2);
    run.take(&payment("v", 681, 1));
    assert_eq!(states(&run)[2..], expected(&[("u", "closed")]));
    let alerts = run.payloads(Topic::Alerts);
    assert!(alerts.iter().all(|alert| alert["incidentId"] == alerts[0]["incidentId"]));
    assert!(alerts[0]["alertId"] != alerts[1]["alertId"] && alerts[1]["alertId"] != alerts[2]["alertId"]);
    let closed = &alerts[2];
    assert_eq!(
        (closed["events"].as_u64(), closed["peak"].as_f64(), closed["severity"].as_str()),
        (Some(5), Some(6.0), Some("critical"))
    );
    assert_eq!(
        (closed["openedAt"].as_str(), closed["timestamp"].as_str()),
        (Some("2026-11-01T02:00:10.000Z"), Some("2026-11-01T02:10:50.000Z"))
    );
    assert_eq!(closed["closeReason"], "quiet");
    assert_eq!(closed["summary"], "over: u: 5 anomalies from 02:00 to 02:00 UTC, at most critical.");
    assert_eq!((alerts[0]["severity"].as_str(), alerts[1]["severity"].as_str()), (Some("warning"), Some("critical")));
    // A new incident of the same key is another one.
    run.take(&payment("u", 690, 500));
    let again = run.payloads(Topic::Alerts);
    assert_eq!(again[3]["state"], "opened");
    assert_ne!(again[3]["incidentId"], again[0]["incidentId"]);
    assert_eq!((run.tally().alerts, run.tally().anomalies), (4, 6));
}

#[test]
fn an_incident_closes_while_the_partition_is_idle() {
    let mut run = Run::new(&rules(KEYED, SEVERITIES));
    run.take(&payment("u", 0, 500));
    run.idle(START + 3600);
    run.idle(START + 3600 + 630);
    assert_eq!(states(&run).len(), 1, "the horizon stands at the end, not beyond it");
    run.idle(START + 3600 + 631);
    assert_eq!(states(&run), expected(&[("u", "opened"), ("u", "closed")]));
    assert_eq!(run.written(Topic::Alerts)[1].offset, 1, "the shard's next offset");
    run.idle(START + 9000);
    assert_eq!(states(&run).len(), 2);
}

#[test]
fn timers_go_off_by_time_and_then_by_key() {
    let mut run = Run::new(&rules(KEYED, SEVERITIES));
    for (user, after) in [("c", 0), ("a", 0), ("b", 0), ("d", -5), ("a", 20)] {
        run.take(&payment(user, after, 500));
    }
    run.take(&payment("z", 2000, 1));
    let closed: Vec<String> =
        states(&run).into_iter().filter(|(_, state)| state == "closed").map(|(key, _)| key).collect();
    assert_eq!(closed, ["d", "b", "c", "a"]);
}

#[test]
fn an_anomaly_after_the_quiet_period_never_joins_the_old_incident() {
    let mut run = Run::new(&rules(KEYED, SEVERITIES));
    run.take(&payment("u", 0, 500));
    run.take(&payment("u", 700, 500));
    assert_eq!(states(&run), expected(&[("u", "opened"), ("u", "closed"), ("u", "opened")]));
}

#[test]
fn muted_anomalies_are_recorded_and_not_alerted() {
    let rest = SEVERITIES.replace(
        "decision: {",
        "decision: {mute: [{name: small, when: \"features.value < 700 && key == 'u'\"}, {name: night, schedule: {daysOfMonth: [1], at: \"03:10\", timeZone: Europe/Berlin}, duration: 10m}], ",
    );
    let mut run = Run::new(&rules(KEYED, &rest));
    for (user, after, value) in [
        ("u", 0, 500),
        ("u", 1, 800),
        ("v", 2, 500),
        ("w", 599, 5000),
        ("x", 600, 5000),
        ("x", 1199, 5000),
        ("x", 1200, 5000),
    ] {
        run.take(&payment(user, after, value));
    }
    let muted: Vec<bool> =
        run.payloads(Topic::Results).iter().map(|result| result["muted"].as_bool().unwrap()).collect();
    assert_eq!(muted, [true, false, false, false, true, true, false]);
    assert!(run.payloads(Topic::Results).iter().all(|result| !result["severity"].is_null()));
    let opened: Vec<(String, String)> = states(&run).into_iter().filter(|(_, state)| state == "opened").collect();
    assert_eq!(opened, expected(&[("u", "opened"), ("v", "opened"), ("w", "opened"), ("x", "opened")]));
}

#[test]
fn old_events_are_marked_and_not_alerted() {
    let rest = SEVERITIES.replace("deadLetter:", "alerts: {maxEventAge: 1h}, deadLetter:");
    let mut run = Run::new(&rules(KEYED, &rest));
    run.tick(START + 3601);
    run.take(&payment("u", 0, 5000));
    run.take(&payment("u", 1, 5000));
    let muted: Vec<bool> =
        run.payloads(Topic::Results).iter().map(|result| result["muted"].as_bool().unwrap()).collect();
    assert_eq!(muted, [true, false]);
    let alerts = run.payloads(Topic::Alerts);
    assert_eq!((alerts.len(), alerts[0]["openedAt"].as_str()), (1, Some("2026-11-01T02:00:01.000Z")));
}

#[test]
fn new_keys_can_be_silent() {
    let text = |new_keys: &str| {
        format!(
            r#"
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {{name: p}}
spec:
  kafka: {{bootstrapServers: "localhost:9092"}}
  source: {{topic: t, key: user, timestamp: {{path: at, unit: seconds}}, fields: [{{name: value, path: value, type: number}}]}}
  features: [{{name: value, field: value}}]
  models: [{{name: m, modelRef: {{name: m}}}}]
  decision: {{newKeys: {new_keys}, severities: {{warning: {{oneIn: 1000}}}}}}
  outputs: {{results: {{topic: r, mode: all}}}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {{name: m}}
spec: {{inputs: [value], detector: {{tail: {{}}}}}}
"#
        )
    };
    let anomalies = |new_keys: &str| {
        let mut run = Run::new(&super::support::resolved(&text(new_keys)));
        // Two hundred keys of thirty calm events; then one event of a warming key and one of a mature key.
        for round in 0..30 {
            for user in 0..200 {
                run.take(&payment(&format!("u{user}"), round * 60, 100 + (user * 7 + round * 13) % 17));
            }
        }
        for round in 0..100 {
            run.take(&payment("u0", 1800 + round * 10, 100 + (round * 5) % 17));
        }
        let before = run.tally().anomalies;
        run.take(&payment("u1", 2900, 1_000_000));
        let warming = run.tally().anomalies - before;
        run.take(&payment("u0", 2901, 1_000_000));
        let results = run.payloads(Topic::Results);
        let [.., warm, mature] = &results[..] else { panic!("results") };
        assert_eq!((warm["maturity"].as_str(), mature["maturity"].as_str()), (Some("warming"), Some("mature")));
        (warming, run.tally().anomalies - before - warming)
    };
    assert_eq!(anomalies("usePeers"), (1, 1));
    assert_eq!(anomalies("silent"), (0, 1));
}

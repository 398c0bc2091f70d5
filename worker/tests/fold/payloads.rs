//! What stands in results and alerts.

use std::sync::Arc;

use faultline_crds::WorkerConfig;
use faultline_worker::outputs::Topic;

use super::support::{KEYED, Record, Run, SEVERITIES, START, payment, resolved, rules};

/// A pipeline whose features are its fields.
pub(crate) fn echo(source: &str, rest: &str) -> Arc<WorkerConfig> {
    let names: Vec<&str> = source.split("name: ").skip(1).filter_map(|text| text.split([',', '}']).next()).collect();
    let features: String = names.iter().map(|name| format!("    - {{name: {name}, field: {name}}}\n")).collect();
    let indented: String = source.lines().map(|line| format!("    {}\n", line.trim())).collect();
    resolved(&format!(
        r#"
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {{name: echo}}
spec:
  kafka: {{bootstrapServers: "localhost:9092"}}
  source:
    topic: events
{indented}
  features:
{features}
  models: [{{name: high, modelRef: {{name: high}}, features: [value]}}]
  decision: {{severities: {{critical: {{oneIn: 1000000}}}}}}
  {rest}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {{name: high}}
spec: {{inputs: [value], detector: {{threshold: {{above: 100}}}}}}
"#
    ))
}

#[test]
fn a_result_and_an_alert_have_their_members_in_order() {
    let rest = SEVERITIES.replace(
        "deadLetter:",
        "alerts: {labels: {team: risk, area: cards}, runbookUrl: \"https://r.example/1\"}, deadLetter:",
    );
    let config = rules(KEYED, &rest);
    let mut run = Run::new(&config);
    run.take(&Record::new("user-\"4\"", format!(r#"{{"id":"e-1","user":"user-\"4\"","at":{START}.25,"value":12.5}}"#)));
    run.take(&payment("user-456", 840, 4310));
    let revisions: Vec<&str> = config.models.iter().map(|model| model.revision.as_str()).collect();
    let text = |at: usize| {
        String::from_utf8(run.outputs.bytes(run.outputs.records()[at].value.as_ref().unwrap()).to_vec()).unwrap()
    };
    let [high, huge] = revisions[..] else { panic!("two models") };
    assert_eq!(
        text(0),
        format!(
            r#"{{"eventId":"e-1","key":"user-\"4\"","timestamp":"2026-11-01T02:00:00.250Z","surprise":0,"severity":null,"muted":false,"maturity":"mature","models":[{{"name":"high","revision":"{high}","role":"stable","surprise":0}},{{"name":"huge","revision":"{huge}","role":"stable","surprise":0}}],"degraded":false}}"#
        )
    );
    assert_eq!(
        text(1),
        format!(
            r#"{{"eventId":"payments-3-1","key":"user-456","timestamp":"2026-11-01T02:14:00.000Z","surprise":6,"severity":"critical","muted":false,"maturity":"mature","models":[{{"name":"high","revision":"{high}","role":"stable","surprise":4}},{{"name":"huge","revision":"{huge}","role":"stable","surprise":6}}],"features":{{"value":4310,"events_5m":1,"before":null}},"explanation":[{{"feature":"value","value":4310,"expected":[null,1000],"contribution":1}}],"degraded":false}}"#
        )
    );
    let alert = text(2);
    let ids = &run.payloads(Topic::Alerts)[0];
    let (alert_id, incident_id) = (ids["alertId"].as_str().unwrap(), ids["incidentId"].as_str().unwrap());
    assert_eq!((alert_id.len(), incident_id.len()), (32, 32));
    assert_eq!(
        alert,
        format!(
            r#"{{"alertId":"{alert_id}","incidentId":"{incident_id}","state":"opened","severity":"critical","key":"user-456","openedAt":"2026-11-01T02:14:00.000Z","timestamp":"2026-11-01T02:14:00.000Z","events":1,"peak":6,"summary":"critical: user-456: value 4310 at 02:14 UTC; allowed at most 1000. Model huge 2.","explanation":[{{"feature":"value","value":4310,"expected":[null,1000],"contribution":1}}],"models":[{{"name":"high","version":"1","revision":"{high}"}},{{"name":"huge","version":"2","revision":"{huge}"}}],"maturity":"mature","degraded":false,"labels":{{"area":"cards","team":"risk"}},"runbookUrl":"https://r.example/1","closeReason":null}}"#
        )
    );
    let key = run.outputs.records()[2].key.clone().unwrap();
    assert_eq!(run.outputs.bytes(&key), b"user-456");
}

#[test]
fn modes_say_which_events_have_a_result() {
    for (mode, results) in [("all", 3), ("anomalies", 1), ("none", 0)] {
        let mut run = Run::new(&rules(KEYED, &SEVERITIES.replace("mode: all", &format!("mode: {mode}"))));
        for (after, value) in [(0, 1), (1, 5000), (2, 2)] {
            run.take(&payment("u", after, value));
        }
        assert_eq!((run.written(Topic::Results).len(), run.written(Topic::Alerts).len()), (results, 1), "{mode}");
        assert_eq!((run.tally().scored, run.tally().anomalies, run.tally().alerts), (3, 1, 1));
    }
}

#[test]
fn an_absent_input_scores_nothing_and_is_null() {
    let source = KEYED.replace("whenMissing: reject", "whenMissing: previous");
    let mut run = Run::new(&rules(&source, &SEVERITIES.replace("mode: all", "mode: all, features: always")));
    run.take(&payment("u", 0, "null"));
    let result = &run.payloads(Topic::Results)[0];
    assert!(
        result["surprise"].is_null()
            && result["models"][0]["surprise"].is_null()
            && result["features"]["value"].is_null()
    );
    assert_eq!((result["maturity"].as_str(), result["severity"].as_str()), (Some("cold"), None));
    assert_eq!(run.tally().scored, 1);
}

#[test]
fn sensitive_fields_leave_hashed() {
    let source = r"
        key: account
        partitioning: trusted
        timestamp: {path: at, unit: seconds}
        fields: [{name: value, path: value, type: number, whenMissing: reject, sensitive: true}, {name: merchant, path: m, type: text, whenMissing: previous}, {name: account, path: account, type: text, whenMissing: reject, sensitive: true}]
    ";
    let mut run = Run::new(&echo(
        source,
        "outputs: {results: {topic: results, mode: all, features: always}, deadLetter: {maxShare: 1}}",
    ));
    run.take(&Record::new("x", format!(r#"{{"account":"DE12","m":"shop","at":{START},"value":98765.5}}"#)));
    run.take(&Record::new("x", format!(r#"{{"account":"DE12","m":"shop","at":{START},"value":98765.5}}"#)));
    let transcript = run.transcript();
    assert!(
        !transcript.contains("DE12") && !transcript.contains("98765.5") && transcript.contains("(hidden)"),
        "{transcript}"
    );
    let results = run.payloads(Topic::Results);
    assert_eq!(results[0]["features"]["merchant"], "shop");
    assert_eq!(results[0]["features"]["account"].as_str().unwrap().len(), 32);
    assert_eq!(results[0]["features"]["account"], results[0]["key"], "equal values stay equal");
    assert_eq!(results[0]["features"], results[1]["features"]);
    assert_eq!(run.payloads(Topic::Alerts).len(), 1);
}

#[test]
fn what_is_computed_from_a_sensitive_field_is_shown() {
    let config = resolved(
        r#"
apiVersion: faultline.dev/v1alpha1
kind: AnomalyPipeline
metadata: {name: pay}
spec:
  kafka: {bootstrapServers: "localhost:9092"}
  source:
    topic: payments
    timestamp: {path: at, unit: seconds}
    fields:
      - {name: salary, path: salary, type: number, sensitive: true}
      - {name: same, path: salary, type: number}
      - {name: bonus, path: bonus, type: number}
  features:
    - {name: named, expression: now}
    - {name: now, field: salary}
    - {name: before, field: salary, valuesAgo: 1}
    - {name: other, field: same}
    - {name: mean_1h, field: salary, aggregate: mean, window: 1h}
    - {name: share, expression: "bonus / salary"}
    - {name: bonus_now, field: bonus}
  models: [{name: high, modelRef: {name: high}, features: [now]}]
  outputs: {results: {topic: results, mode: all, features: always}}
---
apiVersion: faultline.dev/v1alpha1
kind: DetectionModel
metadata: {name: high}
spec: {inputs: [now], detector: {threshold: {above: 100}}}
"#,
    );
    assert_eq!(config.hidden_columns, [true, true, true, true, false, false, false]);
    let mut run = Run::new(&config);
    for after in 0..2 {
        run.take(&Record::new("u", format!(r#"{{"at":{},"salary":4000,"bonus":4000}}"#, START + after)));
    }
    let results = run.payloads(Topic::Results);
    let features = &results[1]["features"];
    let hash = features["now"].as_str().expect("a hash in place of the number");
    assert!(hash.len() == 32 && ["named", "before", "other"].iter().all(|name| features[*name] == hash), "{features}");
    assert_eq!((features["mean_1h"].as_f64(), features["share"].as_f64()), (Some(4000.0), Some(1.0)));
    assert_eq!(features["bonus_now"].as_f64(), Some(4000.0), "an equal value of another field is shown");
    let explained = &results[1]["explanation"][0];
    assert_eq!((&explained["value"], explained["expected"].is_null()), (&features["now"], true), "{explained}");
}

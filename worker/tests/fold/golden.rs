//! One stream from end to end, whose outputs must never move by a byte unless on purpose.

use faultline_numerics::hash::hash128;
use faultline_worker::decide::Severity;

use super::batches::{busy, stream};
use super::support::{Run, START};

#[test]
fn the_outputs_of_a_seeded_stream_do_not_move() {
    let config = busy();
    let mut run = Run::new(&config);
    for (at, record) in stream(7, 2000).iter().enumerate() {
        if at % 97 == 0 {
            run.tick(START + 3600);
        }
        run.take(record);
    }
    run.idle(START + 3600);
    run.idle(START + 7200);
    let tally = run.tally();
    assert_eq!(tally.records(), 2000);
    // A revision is the hash of what changes scores; that it moves with a new parameter is no change of the fold.
    let revisions = config.models.iter().map(|model| (&model.revision, &model.name));
    let transcript = revisions.fold(run.transcript(), |text, (revision, name)| text.replace(revision, name));
    let alerts = transcript.lines().filter(|line| line.starts_with("Alerts"));
    let summaries: Vec<&str> =
        alerts.filter_map(|line| line.split("\"summary\":\"").nth(1)?.split('"').next()).collect();
    let first_of = |what: &str| {
        summaries.iter().filter(|summary| summary.contains(what)).take(2).copied().collect::<Vec<_>>().join("\n")
    };
    let readable = [
        format!("{tally:?}"),
        ["Model amount", "Model speed", "Model limit", "Also", "over: "].map(first_of).join("\n"),
        format!("{:032x}", hash128(transcript.as_bytes())),
    ];
    assert_eq!(readable.join("\n"), GOLDEN.trim());
    assert_eq!(run.shard.keys(), 0, "an hour of silence has expired all keys");
    let limit = run.shard.calibration().find(|calibration| calibration.model == "limit").unwrap();
    assert_eq!(limit.observed[Severity::Critical as usize], limit.observed[Severity::Warning as usize]);
    assert!(limit.scored <= tally.scored && limit.scored > 1500);
}

const GOLDEN: &str = r"
Tally { scored: 1623, dead_lettered: 48, late: 67, duplicate: 81, filtered: 132, skipped: 49, anomalies: 133, by_severity: [94, 24, 15], alerts: 172, by_class: [1, 0, 47, 0, 0, 0, 0, 0, 0] }
warning: u19: value 169.20 at 02:36 UTC; usually 4.59 to 308 (2 events). Model amount 2026-11-01.
warning: u11: value 2897.95 at 02:36 UTC; usually 1.18 to 1205 (1 event). Model amount 2026-11-01.
warning: u3: 3 events in 1 min at 02:14 UTC; usually at most 5 (13 intervals). Model speed 1.
warning: u8: 4 events in 1 min at 02:16 UTC; usually at most 9. Model speed 1.
critical: u3: value 3278.89 at 02:21 UTC; allowed at most 3000. Model limit 1.
critical: u16: value 15107.61 at 02:28 UTC; allowed at most 3000. Model limit 1.
warning: u1: value 80.95 at 02:37 UTC; usually 15 to 94.1 (2 events). Also 3 events in 1 min, usually at most 8. Model amount 2026-11-01.
warning: u5: 3 events in 1 min at 02:39 UTC; usually at most 4 (3 intervals). Also value 225, usually 0.649 to 2247. Model speed 1.
over: u3: 1 anomaly from 02:14 to 02:14 UTC, at most warning.
over: u8: 3 anomalies from 02:16 to 02:16 UTC, at most major.
3a5bcd834fc8de6b4e8526e9d974dbd3
";

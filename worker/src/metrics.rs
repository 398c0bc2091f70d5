//! The metrics of a worker, made from the board at each scrape. Labels hold bounded values only, never a key.

use std::fmt::Error;
use std::sync::Arc;

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::status::{Board, Status};

/// Upper bounds of the latency buckets, seconds.
const BOUNDS: [f64; 14] = [0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];

/// The text of a scrape (OpenMetrics).
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub(crate) fn scrape(board: &Arc<Board>) -> Result<String, Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(BoardCollector(Arc::clone(board))));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct BoardCollector(Arc<Board>);

impl Collector for BoardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let status = self.0.status();
        let (latency, commits) = self.0.histograms();
        events(&mut encoder, &status)?;
        dead_letters(&mut encoder, &status)?;
        let counters = [
            ("faultline_worker_anomalies", "Scored events with a severity", status.outcomes.anomalies),
            ("faultline_worker_alerts", "Alerts written: opened, escalated and closed", status.outcomes.alerts),
            (
                "faultline_worker_dropped_records",
                "Records of partitions that are not read here any more",
                status.dropped,
            ),
            ("faultline_worker_keys_evicted", "Keys forgotten early to make room for others", status.evicted_keys),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let gauges = [
            ("faultline_worker_partitions", "Source partitions owned", Some(status.partitions.len() as f64), None),
            (
                "faultline_worker_lag_events",
                "Events behind the end of the source",
                status.lag.map(|lag| lag as f64),
                None,
            ),
            ("faultline_worker_keys", "Keys held", Some(status.keys as f64), None),
            (
                "faultline_worker_state",
                "Estimated size of the keys' state",
                Some(status.state_bytes as f64),
                Some(Unit::Bytes),
            ),
            (
                "faultline_worker_available",
                "1 if every owned partition is being scored",
                Some(f64::from(u8::from(status.available))),
                None,
            ),
        ];
        for (name, help, value, unit) in gauges {
            if let Some(value) = value {
                ConstGauge::new(value).encode(encoder.encode_descriptor(
                    name,
                    help,
                    unit.as_ref(),
                    MetricType::Gauge,
                )?)?;
            }
        }
        let mut calibration = encoder.encode_descriptor(
            "faultline_worker_surprise_observed_over_nominal",
            "Observed over nominal rate of events at or above each severity; 1 is right",
            None,
            MetricType::Gauge,
        )?;
        for (model, ratios) in &status.calibration {
            for (severity, ratio) in ratios {
                let labels = [("model", model.as_str()), ("severity", severity)];
                ConstGauge::new(*ratio).encode(calibration.encode_family(&labels)?)?;
            }
        }
        recovery(&mut encoder, &status)?;
        histogram(
            &mut encoder,
            "faultline_worker_end_to_end_latency",
            "From a record's creation to its commit",
            &latency,
        )?;
        histogram(&mut encoder, "faultline_worker_commit_latency", "Duration of commits", &commits)?;
        let mut build =
            encoder.encode_descriptor("faultline_worker_build", "Version of this build", None, MetricType::Gauge)?;
        ConstGauge::new(1.0).encode(build.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?)
    }
}

fn events(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> Result<(), Error> {
    let outcomes = [
        ("scored", status.outcomes.scored),
        ("dead_lettered", status.outcomes.dead_lettered),
        ("late", status.outcomes.late),
        ("duplicate", status.outcomes.duplicate),
        ("filtered", status.outcomes.filtered),
        ("skipped", status.outcomes.skipped),
    ];
    let help = "Source records by terminal outcome, committed";
    let family = encoder.encode_descriptor("faultline_worker_events", help, None, MetricType::Counter)?;
    family_of_counters(family, "outcome", &outcomes)
}

fn dead_letters(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> Result<(), Error> {
    let classes: Vec<(&str, u64)> = status.dead_letters.iter().map(|(class, count)| (*class, *count)).collect();
    let help = "Dead letters by class";
    let family = encoder.encode_descriptor("faultline_worker_dead_letters", help, None, MetricType::Counter)?;
    family_of_counters(family, "class", &classes)
}

fn family_of_counters(mut family: MetricEncoder<'_>, label: &str, counts: &[(&str, u64)]) -> Result<(), Error> {
    for (value, count) in counts {
        ConstCounter::new(*count).encode(family.encode_family(&[(label, *value)])?)?;
    }
    Ok(())
}

fn recovery(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> Result<(), Error> {
    let help = "What bringing a partition back would take: reading its state, as last time, and replaying records";
    let name = "faultline_worker_predicted_recovery";
    let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for partition in &status.partitions {
        let number = partition.partition.to_string();
        let parts = [("read", partition.read_seconds), ("replay", Some(partition.replay_seconds))];
        for (part, seconds) in parts.into_iter().filter_map(|(part, seconds)| Some((part, seconds?))) {
            let labels = [("partition", number.as_str()), ("part", part)];
            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    millis: &Histogram<u64>,
) -> Result<(), Error> {
    let sum = millis.mean() * millis.len() as f64 / 1000.0;
    let mut below = 0;
    let mut buckets: Vec<(f64, u64)> = BOUNDS
        .iter()
        .map(|bound| {
            let up_to = if millis.is_empty() { 0 } else { millis.count_between(0, (bound * 1000.0) as u64) };
            let bucket = (*bound, up_to.saturating_sub(below));
            below = up_to.max(below);
            bucket
        })
        .collect();
    buckets.push((f64::INFINITY, millis.len() - below));
    let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
    metric.encode_histogram::<NoLabelSet>(sum, millis.len(), &buckets, None)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::Outcome;
    use crate::outputs::Outputs;
    use crate::status::ShardReport;

    #[test]
    fn a_scrape_holds_outcomes_and_cumulative_buckets() {
        let board = Arc::new(Board::new("shop.card-payments", 1));
        let mut outputs = Outputs::new();
        outputs.count(0, Outcome::Scored);
        outputs.count(0, Outcome::Late);
        board.committed(&outputs, Vec::new(), Duration::from_millis(7));
        let text = scrape(&board).expect("a string takes it");
        for line in [
            "faultline_worker_events_total{outcome=\"scored\"} 1",
            "faultline_worker_events_total{outcome=\"late\"} 1",
            "faultline_worker_commit_latency_seconds_bucket{le=\"0.005\"} 0",
            "faultline_worker_commit_latency_seconds_bucket{le=\"0.01\"} 1",
            "faultline_worker_commit_latency_seconds_bucket{le=\"+Inf\"} 1",
            "faultline_worker_commit_latency_seconds_count 1",
        ] {
            assert!(text.contains(line), "expected {line} in\n{text}");
        }
    }

    #[test]
    fn evicted_keys_are_told_per_partition_and_never_counted_back() {
        let board = Arc::new(Board::new("shop.card-payments", 1));
        let report = |partition, evicted_keys| {
            let mut report = ShardReport::of(partition);
            report.status.evicted_keys = evicted_keys;
            report
        };
        // Partition 0 goes on, is given up, comes back and starts again, all by its own count.
        board.committed(&Outputs::new(), vec![report(0, 2), report(1, 3)], Duration::ZERO);
        board.committed(&Outputs::new(), vec![report(0, 4)], Duration::ZERO);
        board.forget_partitions(&[0]);
        board.shard(report(0, 0));
        board.shard(report(0, 1));
        board.shard(report(0, 0));
        let status = serde_json::to_value(board.status()).expect("plain data");
        let evicted: Vec<_> =
            status["partitions"].as_array().into_iter().flatten().map(|p| &p["evictedKeys"]).collect();
        assert_eq!((evicted, &status["evictedKeys"]), (vec![&0.into(), &3.into()], &8.into()));
        let text = scrape(&board).expect("a string takes it");
        assert!(text.contains("faultline_worker_keys_evicted_total 8"), "{text}");
    }

    #[test]
    fn the_predicted_recovery_is_told_per_partition_and_part() {
        let board = Arc::new(Board::new("shop.card-payments", 1));
        let report = |partition, replay_seconds| {
            let mut report = ShardReport::of(partition);
            report.status.replay_seconds = replay_seconds;
            report
        };
        board.committed(&Outputs::new(), vec![report(0, 0.5), report(7, 2.0)], Duration::ZERO);
        board.state_read(7, Duration::from_millis(250));
        let text = scrape(&board).expect("a string takes it");
        let lines: Vec<&str> =
            text.lines().filter(|line| line.starts_with("faultline_worker_predicted_recovery")).collect();
        let expected = [
            "faultline_worker_predicted_recovery_seconds{partition=\"0\",part=\"replay\"} 0.5",
            "faultline_worker_predicted_recovery_seconds{partition=\"7\",part=\"read\"} 0.25",
            "faultline_worker_predicted_recovery_seconds{partition=\"7\",part=\"replay\"} 2.0",
        ];
        assert_eq!(lines, expected, "{text}");
        board.forget_partitions(&[7]);
        assert!(!scrape(&board).expect("a string takes it").contains("partition=\"7\""));
    }
}

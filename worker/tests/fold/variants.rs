//! The busy pipeline and its neighbours: configurations that a worker may be restarted with.

use std::sync::{Arc, LazyLock};

use faultline_crds::WorkerConfig;

use super::batches::BUSY;
use super::support::resolved;

/// What differs from [`BUSY`]: a text in it, and what stands there instead.
type Edits = &'static [(&'static str, &'static str)];

/// Features come in, and nothing else changes.
pub(crate) const MORE_FEATURES: usize = 1;
/// Windows and rings of other lengths.
pub(crate) const OTHER_WINDOWS: usize = 2;
/// A model comes in, before the others.
pub(crate) const A_MODEL_BEFORE: usize = 3;
/// Features and a model go.
pub(crate) const FEWER_MODELS: usize = 4;

const VARIANTS: [Edits; 7] = [
    &[],
    &[(
        "    - {name: merchant, field: merchant}\n",
        "    - {name: merchant, field: merchant}\n    \
             - {name: sum_2m, field: value, aggregate: sum, window: 2m}\n    \
             - {name: pause, aggregate: secondsSincePrevious}\n",
    )],
    &[("mean, window: 5m", "mean, window: 2m"), ("count, window: 1m", "count, window: 3m"), ("Ago: 1", "Ago: 3")],
    // A threshold changes too.
    &[
        (
            "    - {name: amount, modelRef",
            "    - {name: smooth, modelRef: {name: smooth}}\n    - {name: amount, modelRef",
        ),
        (
            "threshold: {above: 3000}}}\n",
            "threshold: {above: 100}}}\n---\n\
            apiVersion: faultline.dev/v1alpha1\nkind: DetectionModel\nmetadata: {name: smooth}\n\
            spec: {inputs: [mean_5m], detector: {ewma: {}}}\n",
        ),
    ],
    &[
        ("    - {name: before, field: value, valuesAgo: 1}\n", ""),
        ("    - {name: hour, seasonal: hourOfDay, timeZone: Europe/Berlin}\n", ""),
        ("    - {name: speed, modelRef: {name: speed}}\n", ""),
    ],
    // What is remembered for how long.
    &[
        ("deduplicate: {window: 2m}", "deduplicate: {window: 5m}"),
        ("keyExpiry: 5m", "keyExpiry: 8m"),
        ("maxKeysPerPartition: 20", "maxKeysPerPartition: 15"),
        ("quietPeriod: 1m", "quietPeriod: 2m"),
        ("allowedLateness: 20s", "allowedLateness: 10s"),
    ],
    // Another way to say the same, after which all windows start empty; ids are nothing to it.
    &[("status != 'test'", "status == 'ok'"), ("    deduplicate: {window: 2m}\n", "")],
];

/// Values of `allowedLateness`; events of the stream lie up to 40 s behind.
const LATENESS: [&str; 4] = ["20s", "0s", "5s", "2m"];

/// Numbers of the variants.
pub(crate) const ALL: std::ops::Range<usize> = 0..VARIANTS.len();

/// Numbers of the latenesses.
pub(crate) const LATENESSES: std::ops::Range<usize> = 0..LATENESS.len();

/// All variants under a lateness; the first is the busy pipeline.
pub(crate) fn variants(lateness: usize) -> &'static [Arc<WorkerConfig>] {
    static RESOLVED: LazyLock<Vec<Vec<Arc<WorkerConfig>>>> = LazyLock::new(|| {
        let under = |lateness: &&str| VARIANTS.iter().map(|edits| variant(edits, lateness)).collect();
        LATENESS.iter().map(under).collect()
    });
    &RESOLVED[lateness]
}

fn variant(edits: Edits, lateness: &str) -> Arc<WorkerConfig> {
    let lateness = format!("allowedLateness: {lateness}");
    let of_edits = |text: String, (from, to): &(&str, &str)| replaced(&text, from, to);
    let edited = edits.iter().fold(BUSY.to_owned(), of_edits);
    resolved(&match edited.contains("allowedLateness: 20s") {
        true => replaced(&edited, "allowedLateness: 20s", &lateness),
        false => edited,
    })
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

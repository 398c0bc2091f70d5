//! Golden values: a fingerprint that moves makes every window of every running pipeline start empty.

use faultline_features::{
    Aggregate, Ast, BinaryOperator, Cycle, FeatureSource, FeatureSpec, FieldKind, Paths, Plan, WhenMissing,
};

use crate::common::{
    aggregate, binary, compile, declined, expression, feature, field, last_events, named, plain, window,
};

fn golden() -> Vec<FeatureSpec> {
    vec![
        plain("value", "value"),
        plain("level", "level"),
        plain("merchant", "merchant"),
        feature("before", FeatureSource::ValuesAgo { field: "value".into(), events: 3 }),
        feature("merchant_before", FeatureSource::ValuesAgo { field: "merchant".into(), events: 3 }),
        aggregate("mean_5m", Some("value"), Aggregate::Mean, window(300_000)),
        aggregate("mean_20", Some("value"), Aggregate::Mean, last_events(20)),
        aggregate("slope_20", Some("value"), Aggregate::Slope, last_events(20)),
        aggregate("trend", Some("value"), Aggregate::Slope, window(3_600_000)),
        aggregate("stddev", Some("value"), Aggregate::Stddev, window(3_600_000)),
        aggregate("most", Some("value"), Aggregate::Max, window(3_600_000)),
        FeatureSpec { filter: Some(declined()), ..aggregate("declines", None, Aggregate::Count, window(3_600_000)) },
        FeatureSpec { filter: Some(declined()), ..aggregate("declines_9", None, Aggregate::Count, last_events(9)) },
        aggregate("delta", Some("value"), Aggregate::Delta, None),
        aggregate("since", None, Aggregate::SecondsSincePrevious, None),
        aggregate("ewma", Some("value"), Aggregate::Ewma { half_life_ms: 600_000 }, None),
        feature("hour", FeatureSource::Seasonal { cycle: Cycle::HourOfDay, time_zone: chrono_tz::Tz::Europe__Berlin }),
        expression("ratio", binary(named("value"), BinaryOperator::Divide, named("mean_5m"))),
    ]
}

#[test]
fn fingerprints_of_columns_do_not_move() {
    let plan = compile(&golden());
    let found: Vec<String> =
        plan.columns().iter().map(|column| format!("{} {}", column.name, column.fingerprint)).collect();
    let expected = [
        "value 484da500d863b719622d16fb5dd22a08",
        "level 73a45ea70f3ccbfc6ee580dd282ae21e",
        "merchant f190519bef53dfbc5f434bca9105e472",
        "before a2e5c8903107166a91b243e9f1119b44",
        "merchant_before 77df3e2ce549ea70140d2ac52c0a3c9e",
        "mean_5m fe28fbb19a37183f01b1e0bd91a808d4",
        "mean_20 4faa2da8f73baab6ea66cc05ad8c65a1",
        "slope_20 902eeb01b6b19f61cc26e4b1a8acb400",
        "trend e7c9921940cac109c58c28b85e13dc0c",
        "stddev aa79343e33eb0a5ccb0bbefe493c8b2f",
        "most 424fd54b2ec12dff20b429e8ce490846",
        "declines 6fadeeb0899049426a018844c18b4356",
        "declines_9 f05c2d6c293fe59fcb265c440578903a",
        "delta 275df8a7747b626b34101176051d09a9",
        "since 8b9cc53657e04d4a21d421cdf3d14247",
        "ewma da88ea1c2981ad71379b3e7fb35f3270",
        "hour.sin 817a008ddffca97c7c47e815af0baaec",
        "hour.cos 72491ac44d4a38d0d21548250a2360b4",
        "ratio da2ffa23703e9397d44f8b06b767acba",
    ];
    assert_eq!(found, expected);
}

#[test]
fn fingerprints_of_states_do_not_move() {
    let plan = compile(&golden());
    let mut found: Vec<String> = plan
        .describe_state()
        .iter()
        .map(|state| format!("{} {:?} {}", state.canonical, state.features, state.fingerprint))
        .collect();
    found.sort();
    let expected = [
        r#"{"events":20,"field":{"path":"value","type":"number","whenMissing":"skip"},"state":"ring"} [6] 0498e5da879b83e688a1798773aa361c"#,
        r#"{"events":20,"field":{"path":"value","type":"number","whenMissing":"skip"},"state":"timedRing"} [7] 904cbea922c33f1b45a1f83e352221ac"#,
        r#"{"events":3,"field":{"path":"merchant","type":"text","whenMissing":"previous"},"state":"texts"} [4] e602eed17f3406c202218a3262275d7a"#,
        r#"{"events":3,"field":{"path":"value","type":"number","whenMissing":"skip"},"state":"ring"} [3] 48d88f109b30d5337c5eb0d547748f95"#,
        r#"{"events":9,"state":"tally","where":"(== \"status\" 'declined')"} [12] 9af2420d4c06b48d55d2306fb23950be"#,
        r#"{"field":{"path":"level","type":"number","whenMissing":"previous"},"state":"previous"} [] 1baf05bf962e93e47ef24c921ee2f34a"#,
        r#"{"field":{"path":"merchant","type":"text","whenMissing":"previous"},"state":"previous"} [] 9aaadd3f354d3171b3da98f04c4b6372"#,
        r#"{"field":{"path":"value","type":"number","whenMissing":"skip"},"halfLife":600000,"state":"ewma"} [15] 0502dd11d5168bf36d6ea66ca7de4290"#,
        r#"{"field":{"path":"value","type":"number","whenMissing":"skip"},"pane":5000,"state":"sums"} [5] 10d104a5db1206a36cba8aeaee631981"#,
        r#"{"field":{"path":"value","type":"number","whenMissing":"skip"},"pane":60000,"state":"extrema"} [10] 93e8b60b74bab7aa32b0daf7de2ef603"#,
        r#"{"field":{"path":"value","type":"number","whenMissing":"skip"},"pane":60000,"state":"slope"} [8] ab5d88ebccc2a5e102a21ca3df20db5f"#,
        r#"{"field":{"path":"value","type":"number","whenMissing":"skip"},"pane":60000,"state":"spread"} [9] 8058243c689ee5a7c0052f5cffdc75cc"#,
        r#"{"field":{"path":"value","type":"number","whenMissing":"skip"},"state":"delta"} [13] 39aad5e46c0389fc4a36ca3ef83b2b0c"#,
        r#"{"pane":60000,"state":"count","where":"(== \"status\" 'declined')"} [11] 200df117ab3e5f1434b6fb7e0a5f9251"#,
        r#"{"state":"secondsSincePrevious"} [14] b1ef87379fe1cc740781c9e14560ec75"#,
    ];
    assert_eq!(found, expected);
}

/// Fingerprint of the last feature.
fn of(features: &[FeatureSpec]) -> String {
    compile(features).columns().last().unwrap().fingerprint.to_string()
}

#[test]
fn names_and_neighbours_do_not_matter() {
    let mean = |name: &str| aggregate(name, Some("value"), Aggregate::Mean, window(300_000));
    assert_eq!(of(&[mean("a")]), of(&[plain("x", "level"), mean("b")]));
    let ratio = |mean: &str| expression("r", binary(named("value"), BinaryOperator::Divide, named(mean)));
    assert_eq!(of(&[mean("a"), ratio("a")]), of(&[mean("b"), ratio("b")]));
    // A feature that is a field, and the field itself, are the same value but different columns.
    assert_ne!(of(&[mean("a"), ratio("a")]), of(&[mean("a"), ratio("value")]));
}

#[test]
fn the_order_in_which_paths_are_interned_does_not_matter() {
    let fingerprint = |first: &[&str]| {
        let mut paths = Paths::new();
        for path in first {
            paths.intern(path);
        }
        let fields = [field(&mut paths, "value", FieldKind::Number, WhenMissing::Reject)];
        let spec = FeatureSpec { filter: Some(declined()), ..aggregate("n", None, Aggregate::Count, window(1_000)) };
        Plan::compile(&mut paths, &fields, &[spec]).unwrap().columns()[0].fingerprint
    };
    assert_eq!(fingerprint(&[]), fingerprint(&["status", "a.b.c"]));
}

#[test]
fn whatever_changes_values_changes_the_fingerprint() {
    let base = aggregate("x", Some("value"), Aggregate::Ewma { half_life_ms: 1_000 }, None);
    let filter = |literal: &str| Some(binary(named("status"), BinaryOperator::Equal, Ast::Text(literal.into())));
    let mut all = vec![
        of(std::slice::from_ref(&base)),
        of(&[aggregate("x", Some("value"), Aggregate::Ewma { half_life_ms: 1_001 }, None)]),
        of(&[aggregate("x", Some("level"), Aggregate::Ewma { half_life_ms: 1_000 }, None)]),
        of(&[FeatureSpec { filter: filter("a"), ..base.clone() }]),
        of(&[FeatureSpec { filter: filter("b"), ..base.clone() }]),
        of(&[aggregate("x", Some("value"), Aggregate::Mean, window(1_000))]),
        of(&[aggregate("x", Some("value"), Aggregate::Sum, window(1_000))]),
        of(&[aggregate("x", Some("value"), Aggregate::Sum, last_events(1_000))]),
    ];
    for (when_missing, path) in [
        (WhenMissing::Reject, "value"),
        (WhenMissing::Zero, "value"),
        (WhenMissing::Previous, "value"),
        (WhenMissing::Reject, "other"),
    ] {
        let mut paths = Paths::new();
        let mut spec = field(&mut paths, path, FieldKind::Number, when_missing);
        spec.name = "value".into();
        let plan = Plan::compile(&mut paths, &[spec], std::slice::from_ref(&base)).unwrap();
        all.push(plan.columns()[0].fingerprint.to_string());
    }
    let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

//! What does not compile, and expressions over features.

use faultline_features::{
    Aggregate, Ast, BinaryOperator as B, Cycle, Event, FeatureSource, FeatureSpec, FieldKind, Plan, Value,
};

use crate::common::{
    aggregate, binary, compile, declined, expression, feature, fields, last_events, named, paths, plain, text, window,
};

#[track_caller]
fn check(features: &[FeatureSpec], expected: &[&str]) {
    let mut paths = paths();
    let fields = fields(&mut paths);
    let problems = Plan::compile(&mut paths, &fields, features).unwrap_err();
    assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn all_problems_are_named_at_once() {
    let value = Some("value");
    check(
        &[
            plain("a", "valeu"),
            aggregate("b", Some("merchant"), Aggregate::Mean, window(1_000)),
            aggregate("c", value, Aggregate::Mean, None),
            aggregate("d", None, Aggregate::Sum, window(50)),
            aggregate("e", value, Aggregate::Count, last_events(2_000)),
            aggregate("f", None, Aggregate::Rate, last_events(5)),
            aggregate("g", value, Aggregate::Delta, last_events(5)),
            aggregate("h", value, Aggregate::Ewma { half_life_ms: 0 }, None),
            aggregate("i", value, Aggregate::ZScore, last_events(2)),
            feature("j", FeatureSource::ValuesAgo { field: "value".into(), events: 0 }),
            FeatureSpec { filter: Some(declined()), ..plain("k", "value") },
            FeatureSpec {
                filter: Some(binary(named("status"), B::Add, text("x"))),
                ..aggregate("l", None, Aggregate::Count, window(1_000))
            },
            plain("a", "value"),
            aggregate("m", None, Aggregate::Count, window(367 * 86_400_000)),
        ],
        &[
            "features[0].field: no field \"valeu\"; declared: value, level, merchant. Did you mean \"value\"?",
            "features[1].field: `mean` needs a number, \"merchant\" is a text",
            "features[2].window: `mean` needs a `window` or `lastEvents`",
            "features[3].field: `sum` needs a field",
            "features[3].window: a window is 100 ms to 366 d long, found 50 ms",
            "features[4].field: `count` looks at events, not at a field; leave `field` out",
            "features[4].lastEvents: expected 1 to 1024 events, found 2000",
            "features[5].window: `rate` needs a `window`: it is per second of it",
            "features[6].lastEvents: `delta` has no window; leave `lastEvents` out",
            "features[7].halfLife: a half-life is 1 ms to 366 d long, found 0 ms",
            "features[8].lastEvents: expected 3 to 1024 events, found 2",
            "features[9].valuesAgo: expected 1 to 1024 events, found 0",
            "features[10].where: `where` limits an aggregate, and this feature has none",
            "features[11].where: `+` takes a number, found a text",
            "features[12].name: \"a\" is already the name of a column of features[0]",
            "features[13].window: a window is 100 ms to 366 d long, found 31708800000 ms",
        ],
    );
}

#[test]
fn circles_and_unknown_names_of_expressions() {
    let add = |left: &str, right: &str| binary(named(left), B::Add, named(right));
    check(
        &[
            expression("a", add("value", "b")),
            expression("b", add("c", "value")),
            expression("c", add("a", "value")),
            expression("value", add("value", "level")),
            expression("d", add("hour", "hour.sin")),
            feature("hour", FeatureSource::Seasonal { cycle: Cycle::HourOfDay, time_zone: chrono_tz::Tz::UTC }),
            expression("e", add("lvel", "merchant")),
        ],
        &[
            "features[0].expression: needs its own value: a → b → c → a",
            "features[3].expression: needs its own value: value → value",
            "features[4].expression: `hour` stands for several columns, name one of them: hour.sin, hour.cos",
            "features[6].expression: no name \"lvel\"; known: a, b, c, value, d, hour.sin, hour.cos, e, level, \
             merchant. Did you mean \"level\"?",
            "features[6].expression: `+` takes a number, found a text",
        ],
    );
}

#[test]
fn too_many_conditions_are_a_problem() {
    let count = |at: i32| FeatureSpec {
        filter: Some(binary(named("x"), B::Less, Ast::Number(f64::from(at % 200)))),
        ..aggregate(&format!("f{at}"), None, Aggregate::Count, window(1_000))
    };
    let at_most: Vec<FeatureSpec> = (0..127).chain(200..300).map(count).collect();
    assert_eq!(compile(&at_most).columns().len(), 227);
    let too_many: Vec<FeatureSpec> = (0..128).map(count).collect();
    check(&too_many, &["features[127].where: more than 127 different conditions in one pipeline"]);
}

#[test]
fn expressions_read_features_then_fields_in_any_order_of_declaration() {
    let size = Ast::Call { function: faultline_features::Function::Size, arguments: vec![named("merchant")] };
    let plan = compile(&[
        expression("doubled", binary(named("sum"), B::Multiply, Ast::Number(2.0))),
        expression("sum", binary(named("before"), B::Add, named("level"))),
        feature("before", FeatureSource::ValuesAgo { field: "value".into(), events: 1 }),
        expression("size", size),
        expression("high", binary(named("value"), B::Greater, Ast::Number(1.5))),
        feature("day", FeatureSource::Seasonal { cycle: Cycle::DayOfWeek, time_zone: chrono_tz::Tz::UTC }),
        expression("season", binary(named("day.cos"), B::Add, named("day.sin"))),
        expression("merchant_again", named("merchant")),
        FeatureSpec { filter: None, ..expression("nothing", Ast::Null) },
    ]);
    let names: Vec<&str> = plan.columns().iter().map(|column| column.name.as_str()).collect();
    let expected =
        ["doubled", "sum", "before", "size", "high", "day.sin", "day.cos", "season", "merchant_again", "nothing"];
    assert_eq!(names, expected);
    assert_eq!(plan.columns_of("day"), Some(5..7));
    assert_eq!(plan.columns_of("day.sin"), None);
    assert_eq!(plan.columns()[6].feature, 5);
    assert_eq!(plan.columns()[8].kind, FieldKind::Text);
    let mut key = plan.new_key();
    let mut row = |time_ms, value, level, merchant| {
        let fields = [value, level, merchant];
        let mut out = Vec::new();
        let key = &mut key;
        plan.fold(key, &Event { time_ms, paths: &[], fields: &fields }, &mut out);
        out.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>()
    };
    // Monday, 1970-01-05.
    let monday_ms = 4 * 86_400_000;
    let first = row(monday_ms, Value::Number(1.0), Value::Number(3.0), Value::Text("ab"));
    assert_eq!(first[..5], ["Absent", "Absent", "Absent", "Number(2.0)", "Number(0.0)"]);
    assert_eq!(first[5..], ["Number(0.0)", "Number(1.0)", "Number(1.0)", "Text(\"ab\")", "Absent"]);
    // `level` and `merchant` keep their previous values.
    let second = row(monday_ms, Value::Number(2.0), Value::Absent, Value::Absent);
    assert_eq!(second[..5], ["Number(8.0)", "Number(4.0)", "Number(1.0)", "Number(2.0)", "Number(1.0)"]);
    assert_eq!(second[8], "Text(\"ab\")");
}

#[test]
fn values_of_another_type_are_absent() {
    let plan = compile(&[plain("value", "value"), plain("merchant", "merchant")]);
    let mut key = plan.new_key();
    let mut out = Vec::new();
    let fields = [Value::Text("7"), Value::Absent, Value::Number(7.0)];
    plan.fold(&mut key, &Event { time_ms: i64::MAX, paths: &[], fields: &fields }, &mut out);
    assert_eq!(out, [Value::Absent, Value::Absent]);
    assert_eq!(key.time_ms(), Some(1 << 53));
}

#[test]
fn the_longest_window_is_known() {
    let plan = compile(&[
        aggregate("a", None, Aggregate::Count, window(5_000)),
        aggregate("b", None, Aggregate::Count, window(90_000)),
        aggregate("c", None, Aggregate::Count, last_events(9)),
    ]);
    assert_eq!(plan.longest_window_ms(), 90_000);
    assert_eq!(compile(&[]).longest_window_ms(), 0);
}

//! Expressions: one table of cases, one `check`.

use faultline_features::{
    Ast, BinaryOperator as B, EventScope, Function as F, Kind, NameScope, Paths, Program, Scope, UnaryOperator, Value,
};

use crate::common::{binary, named, text};

const NAMES: [(&str, Kind); 7] = [
    ("x", Kind::Number),
    ("y", Kind::Number),
    ("none", Kind::Number),
    ("name", Kind::Text),
    ("flag", Kind::Bool),
    ("any", Kind::Any),
    ("hour.sin", Kind::Number),
];

/// The values of [`NAMES`]; `any` differs from case to case.
fn slots(any: Value<'_>) -> [Value<'_>; 7] {
    [
        Value::Number(6.0),
        Value::Number(-4.0),
        Value::Absent,
        Value::Text("grün"),
        Value::Bool(true),
        any,
        Value::Number(0.5),
    ]
}

fn scope() -> NameScope {
    NameScope::new(NAMES.map(|(name, kind)| (name.to_owned(), kind)).to_vec())
}

fn number(number: f64) -> Ast {
    Ast::Number(number)
}

fn not(operand: Ast) -> Ast {
    Ast::Unary { operator: UnaryOperator::Not, operand: Box::new(operand) }
}

fn negate(operand: Ast) -> Ast {
    Ast::Unary { operator: UnaryOperator::Negate, operand: Box::new(operand) }
}

fn choose(condition: Ast, then: Ast, otherwise: Ast) -> Ast {
    Ast::Conditional { condition: Box::new(condition), then: Box::new(then), otherwise: Box::new(otherwise) }
}

fn contained(needle: Ast, list: &[Ast]) -> Ast {
    Ast::In { needle: Box::new(needle), list: list.to_vec() }
}

fn call(function: F, arguments: &[Ast]) -> Ast {
    Ast::Call { function, arguments: arguments.to_vec() }
}

/// Compiles, evaluates with `any`, compares value and canonical form.
#[track_caller]
fn check_with(any: Value<'_>, ast: &Ast, expected: Value<'_>, canonical: &str) {
    let program = Program::compile(ast, &mut scope()).unwrap();
    let slots = slots(any);
    assert_eq!(program.evaluate(&slots), expected, "{canonical}");
    assert_eq!(program.canonical(), canonical);
    assert_eq!(program.is_true(&slots), expected == Value::Bool(true), "{canonical}");
}

#[track_caller]
fn check(ast: &Ast, expected: Value<'_>, canonical: &str) {
    check_with(Value::Absent, ast, expected, canonical);
}

#[test]
fn arithmetic() {
    let n = Value::Number;
    let x = || named("x");
    let y = || named("y");
    check(&binary(x(), B::Add, y()), n(2.0), r#"(+ "x" "y")"#);
    check(&binary(x(), B::Subtract, y()), n(10.0), r#"(- "x" "y")"#);
    check(&binary(x(), B::Multiply, y()), n(-24.0), r#"(* "x" "y")"#);
    check(&binary(x(), B::Divide, y()), n(-1.5), r#"(/ "x" "y")"#);
    check(&binary(y(), B::Remainder, number(3.0)), n(-1.0), r#"(% "y" 3)"#);
    check(&negate(named("hour.sin")), n(-0.5), r#"(neg "hour.sin")"#);
    check(&call(F::Abs, &[y()]), n(4.0), r#"(abs "y")"#);
    check(&call(F::Min, &[x(), y(), number(0.1)]), n(-4.0), r#"(min "x" "y" 0.1)"#);
    check(&call(F::Max, &[x(), y()]), n(6.0), r#"(max "x" "y")"#);
    check(&call(F::Log, &[number(1.0)]), n(0.0), "(log 1)");
    check(&call(F::Sqrt, &[number(2.25)]), n(1.5), "(sqrt 2.25)");
    check(&call(F::Size, &[named("name")]), n(4.0), r#"(size "name")"#);
    check(&choose(named("flag"), x(), y()), n(6.0), r#"(? "flag" "x" "y")"#);
}

#[test]
fn what_is_not_finite_is_absent() {
    let by_zero = || binary(named("x"), B::Divide, number(0.0));
    check(&by_zero(), Value::Absent, r#"(/ "x" 0)"#);
    check(&binary(number(1.0), B::Divide, by_zero()), Value::Absent, r#"(/ 1 (/ "x" 0))"#);
    check(&binary(by_zero(), B::Greater, number(1.0)), Value::Bool(false), r#"(> (/ "x" 0) 1)"#);
    check(&binary(named("x"), B::Remainder, number(0.0)), Value::Absent, r#"(% "x" 0)"#);
    check(&call(F::Log, &[number(0.0)]), Value::Absent, "(log 0)");
    check(&call(F::Log, &[named("y")]), Value::Absent, r#"(log "y")"#);
    check(&call(F::Sqrt, &[named("y")]), Value::Absent, r#"(sqrt "y")"#);
    check(&number(f64::INFINITY), Value::Absent, "null");
}

#[test]
fn absent_operands() {
    let none = || named("none");
    let f = Value::Bool(false);
    check(&Ast::Null, Value::Absent, "null");
    check(&none(), Value::Absent, r#""none""#);
    check(&binary(none(), B::Add, number(1.0)), Value::Absent, r#"(+ "none" 1)"#);
    check(&binary(Ast::Null, B::Add, number(1.0)), Value::Absent, "(+ null 1)");
    check(&call(F::Min, &[number(1.0), none()]), Value::Absent, r#"(min 1 "none")"#);
    check(&call(F::Max, &[none(), number(1.0)]), Value::Absent, r#"(max "none" 1)"#);
    for (operator, symbol) in [
        (B::Equal, "=="),
        (B::NotEqual, "!="),
        (B::Less, "<"),
        (B::LessOrEqual, "<="),
        (B::Greater, ">"),
        (B::GreaterOrEqual, ">="),
    ] {
        check(&binary(none(), operator, number(1.0)), f, &format!(r#"({symbol} "none" 1)"#));
        check(&binary(none(), operator, none()), f, &format!(r#"({symbol} "none" "none")"#));
        check(&binary(named("any"), operator, named("any")), f, &format!(r#"({symbol} "any" "any")"#));
    }
    check(&contained(none(), &[number(1.0)]), f, r#"(|| (== "none" 1))"#);
    check(&call(F::Contains, &[named("any"), text("a")]), f, r#"(contains "any" 'a')"#);
    check(&call(F::Size, &[named("any")]), Value::Absent, r#"(size "any")"#);
    check(&Ast::Has("none".into()), f, r#"(has "none")"#);
    check(&Ast::Has("x".into()), Value::Bool(true), r#"(has "x")"#);
    check(&choose(named("flag"), Ast::Null, number(1.0)), Value::Absent, r#"(? "flag" null 1)"#);
    check(&choose(named("any"), number(1.0), number(2.0)), Value::Number(2.0), r#"(? "any" 1 2)"#);
    check(&not(named("any")), Value::Bool(true), r#"(! "any")"#);
    check(&binary(named("any"), B::And, named("flag")), f, r#"(&& "any" "flag")"#);
    check(&binary(named("any"), B::Or, named("flag")), Value::Bool(true), r#"(|| "any" "flag")"#);
}

#[test]
fn comparisons() {
    let t = Value::Bool(true);
    let f = Value::Bool(false);
    let x = || named("x");
    let name = || named("name");
    check(&binary(x(), B::Equal, number(6.0)), t, r#"(== "x" 6)"#);
    check(&binary(x(), B::NotEqual, number(6.0)), f, r#"(!= "x" 6)"#);
    check(&binary(x(), B::Less, number(6.0)), f, r#"(< "x" 6)"#);
    check(&binary(x(), B::LessOrEqual, number(6.0)), t, r#"(<= "x" 6)"#);
    check(&binary(x(), B::Greater, named("y")), t, r#"(> "x" "y")"#);
    check(&binary(x(), B::GreaterOrEqual, number(6.5)), f, r#"(>= "x" 6.5)"#);
    check(&binary(name(), B::Equal, text("grün")), t, r#"(== "name" 'grün')"#);
    check(&binary(name(), B::Less, text("h")), t, r#"(< "name" 'h')"#);
    check(&binary(named("flag"), B::Equal, Ast::Bool(false)), f, r#"(== "flag" false)"#);
    check(&binary(named("flag"), B::NotEqual, Ast::Bool(false)), t, r#"(!= "flag" false)"#);
    check(&contained(x(), &[number(1.0), number(6.0)]), t, r#"(|| (== "x" 1) (== "x" 6))"#);
    check(&contained(name(), &[text("rot")]), f, r#"(|| (== "name" 'rot'))"#);
    check(&contained(name(), &[]), f, "(||)");
    check(&call(F::StartsWith, &[name(), text("gr")]), t, r#"(startsWith "name" 'gr')"#);
    check(&call(F::EndsWith, &[name(), text("ün")]), t, r#"(endsWith "name" 'ün')"#);
    check(&call(F::Contains, &[name(), text("x")]), f, r#"(contains "name" 'x')"#);
    check(&choose(named("flag"), text("a"), name()), Value::Text("a"), r#"(? "flag" 'a' "name")"#);
}

#[test]
fn names_of_unknown_type_take_the_type_of_their_place() {
    let any = || named("any");
    let one = number(1.0);
    let (t, f) = (Value::Bool(true), Value::Bool(false));
    check_with(Value::Number(1.0), &binary(any(), B::Equal, one.clone()), t, r#"(== "any" 1)"#);
    check_with(Value::Text("1"), &binary(any(), B::Equal, one.clone()), f, r#"(== "any" 1)"#);
    check_with(Value::Text("1"), &binary(any(), B::NotEqual, one.clone()), f, r#"(!= "any" 1)"#);
    check_with(Value::Text("a"), &binary(text("a"), B::Equal, any()), t, r#"(== 'a' "any")"#);
    check_with(Value::Text("a"), &binary(any(), B::LessOrEqual, any()), t, r#"(<= "any" "any")"#);
    check_with(Value::Bool(true), &binary(any(), B::Equal, any()), t, r#"(== "any" "any")"#);
    check_with(Value::Bool(true), &binary(any(), B::LessOrEqual, any()), f, r#"(<= "any" "any")"#);
    check_with(Value::Bool(true), &any(), t, r#""any""#);
    check_with(Value::Bool(true), &binary(any(), B::Add, one.clone()), Value::Absent, r#"(+ "any" 1)"#);
    check_with(Value::Number(2.0), &binary(any(), B::Add, one.clone()), Value::Number(3.0), r#"(+ "any" 1)"#);
    let either = choose(named("flag"), any(), Ast::Null);
    check_with(Value::Text("a"), &either, Value::Text("a"), r#"(? "flag" "any" null)"#);
    check_with(
        Value::Number(2.0),
        &binary(either, B::Multiply, one),
        Value::Number(2.0),
        r#"(* (? "flag" "any" null) 1)"#,
    );
}

#[track_caller]
fn check_problems(ast: &Ast, expected: &[&str]) {
    let problems = Program::compile(ast, &mut scope()).unwrap_err();
    assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn problems_are_all_named() {
    let known = "known: x, y, none, name, flag, any, hour.sin";
    check_problems(
        &binary(named("nam"), B::Add, named("hour")),
        &[
            &format!("no name \"nam\"; {known}. Did you mean \"name\"?"),
            "`hour` stands for several columns, name one of them: hour.sin",
        ],
    );
    check_problems(
        &binary(text("a"), B::Add, named("flag")),
        &["`+` takes a number, found a text", "`+` takes a number, found true or false"],
    );
    check_problems(&binary(named("x"), B::Equal, named("name")), &["`==` cannot compare a number with a text"]);
    check_problems(
        &binary(named("flag"), B::Less, Ast::Bool(true)),
        &["`<` cannot compare true or false with true or false"],
    );
    check_problems(
        &binary(named("x"), B::NotEqual, Ast::Null),
        &["`!=` with null is always false; ask `has(name)` whether a value is present"],
    );
    check_problems(
        &choose(named("flag"), named("x"), text("a")),
        &["the branches of `?:` differ: a number and a text"],
    );
    check_problems(&call(F::Size, &[]), &["`size` takes 1 argument, found 0"]);
    check_problems(&call(F::Contains, &[named("name")]), &["`contains` takes 2 arguments, found 1"]);
    check_problems(&call(F::Min, &[]), &["`min` takes 1 argument or more, found 0"]);
    check_problems(&contained(named("x"), &[text("a")]), &["`in` cannot compare a number with a text"]);
    let deep = (0..200).fold(named("x"), |ast, _| negate(ast));
    check_problems(&deep, &["nested deeper than 100 levels"]);
}

#[test]
fn a_condition_is_true_or_false() {
    let error = Program::compile_condition(&named("x"), &mut scope()).unwrap_err();
    assert_eq!(error[0].to_string(), "a condition is true or false, this is a number");
    let mut paths = Paths::new();
    let condition = binary(named("a.b"), B::Greater, number(1.0));
    let program = Program::compile_condition(&condition, &mut EventScope(&mut paths)).unwrap();
    assert_eq!((program.kind(), paths.names()), (Kind::Bool, &["a.b".to_owned()][..]));
    assert!(program.is_true(&[Value::Number(2.0)]));
    // A slice that is too short leaves the rest absent.
    assert!(!program.is_true(&[]));
    let any = Program::compile_condition(&named("c"), &mut EventScope(&mut paths)).unwrap();
    assert_eq!(any.kind(), Kind::Any);
    assert_eq!(EventScope(&mut paths).slot("c"), Ok((1, Kind::Any)));
}

#[test]
fn functions_are_found_by_name() {
    for function in F::ALL {
        assert_eq!(F::from_name(function.name()), Some(function));
    }
    assert_eq!(F::from_name("length"), None);
}

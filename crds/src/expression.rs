//! From the text of an expression to the syntax tree of `faultline_features`: the subset of CEL that runs, and for
//! everything else what to write in its place.

use cel::Env;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};
use cel::parser::ParseError;
use faultline_features::{Ast, BinaryOperator, Function, UnaryOperator};

use crate::suggest::did_you_mean;

const BINARY: [(&str, BinaryOperator); 13] = [
    (operators::ADD, BinaryOperator::Add),
    (operators::SUBSTRACT, BinaryOperator::Subtract),
    (operators::MULTIPLY, BinaryOperator::Multiply),
    (operators::DIVIDE, BinaryOperator::Divide),
    (operators::MODULO, BinaryOperator::Remainder),
    (operators::EQUALS, BinaryOperator::Equal),
    (operators::NOT_EQUALS, BinaryOperator::NotEqual),
    (operators::LESS, BinaryOperator::Less),
    (operators::LESS_EQUALS, BinaryOperator::LessOrEqual),
    (operators::GREATER, BinaryOperator::Greater),
    (operators::GREATER_EQUALS, BinaryOperator::GreaterOrEqual),
    (operators::LOGICAL_AND, BinaryOperator::And),
    (operators::LOGICAL_OR, BinaryOperator::Or),
];

/// Functions of CEL that people try, and what to do without them.
const ELSEWHERE: [(&str, &str); 5] = [
    ("matches", "use startsWith, endsWith, contains or =="),
    ("exists", "compare each value"),
    ("all", "compare each value"),
    ("int", "all numbers are doubles; leave it out"),
    ("double", "all numbers are doubles; leave it out"),
];

/// Parses a text.
///
/// # Errors
/// Every problem, each with its place: `column 9: …`.
pub(crate) fn parse(text: &str) -> Result<Ast, Vec<String>> {
    // Without macros `has(status)` stays a call, so that a name at the top of an event can be asked for too.
    let (tree, places) = Env::default().parser().parse_with_source_info(text).map_err(|errors| {
        let mut messages: Vec<String> = errors.errors.iter().map(|error| syntax_problem(error, text)).collect();
        messages.dedup();
        messages.truncate(3);
        messages
    })?;
    let mut conversion = Conversion { places, text, problems: Vec::new() };
    let ast = conversion.node(&tree);
    if conversion.problems.is_empty() { Ok(ast) } else { Err(conversion.problems) }
}

/// The parser lists every token it could have taken; the place and the token it met say more.
fn syntax_problem(error: &ParseError, text: &str) -> String {
    let message = error.msg.trim_start_matches("Syntax error: ");
    let message = message.split(" expecting ").next().unwrap_or(message);
    let message =
        ["no viable alternative at input", "mismatched input", "extraneous input", "token recognition error at:"]
            .iter()
            .fold(message.replace("'<EOF>'", "end"), |message, jargon| message.replace(jargon, "unexpected"));
    let (line, column) = error.pos;
    match (line, text.contains('\n')) {
        (..=0, _) => format!("this is no expression: {message}"),
        (_, false) => format!("column {column}: {message}"),
        (_, true) => format!("line {line}, column {column}: {message}"),
    }
}

struct Conversion<'a> {
    places: SourceInfo,
    text: &'a str,
    problems: Vec<String>,
}

impl Conversion<'_> {
    fn node(&mut self, node: &IdedExpr) -> Ast {
        match &node.expr {
            Expr::Literal(literal) => self.literal(node, literal),
            Expr::Ident(name) if name.starts_with('.') => self.refuse(node, "a name must not begin with a dot"),
            Expr::Ident(name) => Ast::Name(name.clone()),
            Expr::Select(select) => match path(select) {
                Some(path) => Ast::Name(path),
                None => self.refuse(node, "only names have parts: write a path such as merchant.id"),
            },
            Expr::Call(call) => self.call(node, call),
            Expr::List(_) => self.refuse(node, "a list is only possible behind `in`"),
            Expr::Map(_) | Expr::Struct(_) => self.refuse(node, "maps are not supported"),
            Expr::Comprehension(_) => self.refuse(node, "loops over lists are not supported"),
            Expr::Unspecified => self.refuse(node, "expected a value"),
        }
    }

    fn literal(&mut self, node: &IdedExpr, literal: &LiteralValue) -> Ast {
        match literal {
            LiteralValue::Boolean(truth) => Ast::Bool(*truth.inner()),
            LiteralValue::Double(number) => Ast::Number(*number.inner()),
            LiteralValue::Int(number) => Ast::Number(*number.inner() as f64),
            LiteralValue::UInt(number) => Ast::Number(*number.inner() as f64),
            LiteralValue::Null => Ast::Null,
            LiteralValue::String(text) => Ast::Text(text.inner().to_owned()),
            LiteralValue::Bytes(_) => self.refuse(node, "bytes are not supported; write a text without the b"),
        }
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Ast {
        let name = call.func_name.as_str();
        if let (Some((_, operator)), [left, right]) = (BINARY.iter().find(|(n, _)| *n == name), call.args.as_slice()) {
            let (left, right) = (Box::new(self.node(left)), Box::new(self.node(right)));
            return Ast::Binary { operator: *operator, left, right };
        }
        match (name, call.args.as_slice()) {
            (operators::LOGICAL_NOT, [operand]) => self.unary(UnaryOperator::Not, operand),
            (operators::NEGATE, [operand]) => self.unary(UnaryOperator::Negate, operand),
            (operators::CONDITIONAL, [condition, then, otherwise]) => Ast::Conditional {
                condition: Box::new(self.node(condition)),
                then: Box::new(self.node(then)),
                otherwise: Box::new(self.node(otherwise)),
            },
            (operators::IN, [needle, list]) => self.contained(needle, list),
            (operators::INDEX | operators::OPT_INDEX, _) => {
                self.refuse(node, "indices are not supported; write a path such as merchant.id")
            }
            (operators::HAS, arguments) => self.has(node, call.target.is_some(), arguments),
            _ => self.function(node, call),
        }
    }

    fn unary(&mut self, operator: UnaryOperator, operand: &IdedExpr) -> Ast {
        Ast::Unary { operator, operand: Box::new(self.node(operand)) }
    }

    fn contained(&mut self, needle: &IdedExpr, list: &IdedExpr) -> Ast {
        let needle = Box::new(self.node(needle));
        let Expr::List(items) = &list.expr else {
            return self.refuse(list, "expected a list such as ['a', 'b'] behind `in`");
        };
        Ast::In { needle, list: items.elements.iter().map(|item| self.node(item)).collect() }
    }

    fn has(&mut self, node: &IdedExpr, method: bool, arguments: &[IdedExpr]) -> Ast {
        let name = match arguments {
            [IdedExpr { expr: Expr::Ident(name), .. }] => Some(name.clone()),
            [IdedExpr { expr: Expr::Select(select), .. }] => path(select),
            _ => None,
        };
        match name.filter(|name| !method && !name.starts_with('.')) {
            Some(name) => Ast::Has(name),
            None => self.refuse(node, "expected one name: has(merchant.id)"),
        }
    }

    fn function(&mut self, node: &IdedExpr, call: &CallExpr) -> Ast {
        let name = call.func_name.as_str();
        let Some(function) = Function::from_name(name) else {
            return self.unknown_function(node, name);
        };
        let of_text = matches!(function, Function::StartsWith | Function::EndsWith | Function::Contains);
        if of_text && call.target.is_none() {
            return self.refuse(node, &format!("write text.{name}('…')"));
        }
        if !of_text && function != Function::Size && call.target.is_some() {
            return self.refuse(node, &format!("write {name}(…)"));
        }
        let target = call.target.as_deref().into_iter();
        Ast::Call { function, arguments: target.chain(&call.args).map(|argument| self.node(argument)).collect() }
    }

    fn unknown_function(&mut self, node: &IdedExpr, name: &str) -> Ast {
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
            return self.refuse(node, &format!("`{name}` is not supported; {instead}"));
        }
        let known = Function::ALL.map(Function::name);
        let guess = did_you_mean(name, known);
        self.refuse(node, &format!("no function \"{name}\"; known: has, {}{guess}", known.join(", ")))
    }

    fn refuse(&mut self, node: &IdedExpr, message: &str) -> Ast {
        let place = self.places.offset_for(node.id).map(|(start, _)| self.place(start as usize));
        self.problems.push(place.map_or_else(|| message.to_owned(), |place| format!("{place}: {message}")));
        Ast::Null
    }

    /// Offsets count bytes, columns characters.
    fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        if self.text.contains('\n') {
            let line = before.matches('\n').count() + 1;
            return format!("line {line}, column {column}");
        }
        format!("column {column}")
    }
}

/// `merchant.id`; nothing when it does not begin with a name.
fn path(select: &SelectExpr) -> Option<String> {
    let before = match &select.operand.expr {
        Expr::Ident(name) if !name.starts_with('.') => name.clone(),
        Expr::Select(inner) => path(inner)?,
        _ => return None,
    };
    (!select.test).then(|| format!("{before}.{}", select.field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Box<Ast> {
        Box::new(Ast::Name(name.to_owned()))
    }

    #[test]
    fn what_runs_is_converted() {
        let check = |text: &str, expected: Ast| assert_eq!(parse(text), Ok(expected), "{text}");
        check(
            "status != 'test'",
            Ast::Binary {
                operator: BinaryOperator::NotEqual,
                left: name("status"),
                right: Box::new(Ast::Text("test".to_owned())),
            },
        );
        check("has(status)", Ast::Has("status".to_owned()));
        check("has(merchant.id)", Ast::Has("merchant.id".to_owned()));
        check(
            "a.b in ['x', 2, 3.5]",
            Ast::In { needle: name("a.b"), list: vec![Ast::Text("x".to_owned()), Ast::Number(2.0), Ast::Number(3.5)] },
        );
        check(
            "merchant.id.startsWith('m')",
            Ast::Call {
                function: Function::StartsWith,
                arguments: vec![*name("merchant.id"), Ast::Text("m".to_owned())],
            },
        );
        check(
            "!(value > -1) ? null : max(value, 2u)",
            Ast::Conditional {
                condition: Box::new(Ast::Unary {
                    operator: UnaryOperator::Not,
                    operand: Box::new(Ast::Binary {
                        operator: BinaryOperator::Greater,
                        left: name("value"),
                        right: Box::new(Ast::Number(-1.0)),
                    }),
                }),
                then: Box::new(Ast::Null),
                otherwise: Box::new(Ast::Call {
                    function: Function::Max,
                    arguments: vec![*name("value"), Ast::Number(2.0)],
                }),
            },
        );
        assert_eq!(parse("size(name) + name.size()").map(|_| ()), Ok(()));
        assert_eq!(parse("a && b || c && d && e || true").map(|_| ()), Ok(()));
    }

    #[test]
    fn what_does_not_run_says_where_and_what_to_write() {
        let check = |text: &str, expected: &[&str]| assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        check("value[0] > 1", &["column 6: indices are not supported; write a path such as merchant.id"]);
        check("a.exists(x, x > 1)", &["column 9: `exists` is not supported; compare each value"]);
        check(
            "name.matches('^a')",
            &["column 13: `matches` is not supported; use startsWith, endsWith, contains or =="],
        );
        check(
            "sqr(value)",
            &[
                "column 4: no function \"sqr\"; known: has, size, startsWith, endsWith, contains, abs, min, max, log, sqrt. Did you mean \"sqrt\"?",
            ],
        );
        check("startsWith(a, 'b')", &["column 11: write text.startsWith('…')"]);
        check("status in allowed", &["column 11: expected a list such as ['a', 'b'] behind `in`"]);
        check("[1, 2]", &["column 1: a list is only possible behind `in`"]);
        check("has(a + b)", &["column 4: expected one name: has(merchant.id)"]);
        check("{'a': 1}", &["column 1: maps are not supported"]);
        check("b'x' == a", &["column 1: bytes are not supported; write a text without the b"]);
        check(
            "value[0] > 1 &&\n  b[1]",
            &[
                "line 1, column 6: indices are not supported; write a path such as merchant.id",
                "line 2, column 4: indices are not supported; write a path such as merchant.id",
            ],
        );
    }

    #[test]
    fn a_syntax_error_has_its_column() {
        for (text, place) in
            [("value >", "column 8: "), ("value ) 3", "column 7: "), ("'open", "column 1: "), ("", "column 1: ")]
        {
            let problems = parse(text).unwrap_err();
            assert!(problems[0].starts_with(place), "{text}: {problems:?}");
            assert!(problems.iter().all(|p| p.len() < 120 && !p.contains("expecting")), "{problems:?}");
        }
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        assert_eq!(
            parse("'größe' == x[0]").unwrap_err(),
            ["column 13: indices are not supported; write a path such as merchant.id"]
        );
        assert!(parse("'größe' == )").unwrap_err()[0].starts_with("column 12: "));
    }

    #[test]
    fn a_damaged_expression_is_refused_or_read_but_never_a_panic() {
        let text = "!(a.b in ['x', 2u, 3.5e1]) && has(c) || d.startsWith(\"y\") ? -1 % 2 : max(e, null)";
        let mut read = 0;
        for (at, _) in text.char_indices() {
            let without = format!("{}{}", &text[..at], &text[at + 1..]);
            for odd in ["'", "(", "\\", "\u{0}", "é", "..", "`", "b\""] {
                let _ = parse(&format!("{}{odd}{}", &text[..at], &text[at..]));
            }
            read += usize::from(parse(&text[..at]).is_ok()) + usize::from(parse(&without).is_ok());
        }
        assert!(parse(text).is_ok());
        assert!((1..text.len()).contains(&read), "{read}");
        let deep = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
        assert!(parse(&deep).is_err());
    }
}

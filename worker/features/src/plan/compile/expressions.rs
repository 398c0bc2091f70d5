//! Expressions of features: each is compiled after those that it reads; a circle is a problem.

use super::{Compiler, field_form};
use crate::expression::{Ast, Kind, NameScope, Program};
use crate::spec::{FeatureSource, FieldKind};

/// How far a feature has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    NotYet,
    /// On the way from an expression to what it reads.
    Open,
    Done,
}

impl Compiler<'_> {
    pub(super) fn expressions(&mut self) {
        let mut visits = vec![Visit::NotYet; self.features.len()];
        for feature in 0..self.features.len() {
            self.visit(feature, &mut visits, &mut Vec::new());
        }
    }

    fn visit(&mut self, feature: usize, visits: &mut [Visit], way: &mut Vec<usize>) {
        let features = self.features;
        let FeatureSource::Expression(ast) = &features[feature].source else { return };
        match visits[feature] {
            Visit::Done => return,
            Visit::Open => return self.circle(feature, way),
            Visit::NotYet => {}
        }
        visits[feature] = Visit::Open;
        way.push(feature);
        let mut names = Vec::new();
        collect_names(ast, &mut names);
        for name in names {
            let read = self.plan.columns.iter().find(|column| column.name == name).map(|column| column.feature);
            if let Some(read) = read {
                self.visit(read, visits, way);
            }
        }
        way.pop();
        visits[feature] = Visit::Done;
        self.expression(feature, ast);
    }

    fn circle(&mut self, feature: usize, way: &[usize]) {
        let from = way.iter().position(|passed| *passed == feature).unwrap_or(0);
        let circle = way[from..].iter().chain([&feature]).map(|passed| self.features[*passed].name.as_str());
        let message = format!("needs its own value: {}", circle.collect::<Vec<_>>().join(" → "));
        self.problem(feature, "expression", message);
    }

    fn expression(&mut self, feature: usize, ast: &Ast) {
        let column = self.plan.features[feature].1.start;
        let program = match Program::compile(ast, &mut self.scope()) {
            Ok(program) => program,
            Err(problems) => {
                for problem in problems {
                    self.problem(feature, "expression", problem.message);
                }
                return;
            }
        };
        let columns = &self.plan.columns;
        let form = program.canonical_with(|_, slot| match columns.get(usize::from(slot)) {
            Some(column) => column.fingerprint.to_string(),
            None => field_form(&self.fields[usize::from(slot) - columns.len()]).form(),
        });
        let form = self.canonical().text("expression", &form);
        let kind = if program.kind() == Kind::Text { FieldKind::Text } else { FieldKind::Number };
        self.column(column, kind, &form);
        self.plan.expressions.push((column, program));
    }

    /// Columns, then fields. A column that could not be compiled has a problem of its own; its type is left open so
    /// that it does not cause more.
    fn scope(&self) -> NameScope {
        let kind = |kind| if kind == FieldKind::Text { Kind::Text } else { Kind::Number };
        let columns = self.plan.columns.iter().enumerate().map(|(at, column)| {
            let known = self.fingerprinted.contains(&at);
            (column.name.clone(), if known { kind(column.kind) } else { Kind::Any })
        });
        let fields = self.fields.iter().map(|field| (field.name.clone(), kind(field.kind)));
        NameScope::new(columns.chain(fields).collect())
    }
}

fn collect_names<'a>(ast: &'a Ast, names: &mut Vec<&'a str>) {
    match ast {
        Ast::Name(name) | Ast::Has(name) => names.push(name),
        Ast::Null | Ast::Number(_) | Ast::Text(_) | Ast::Bool(_) => {}
        Ast::Unary { operand, .. } => collect_names(operand, names),
        Ast::Binary { left, right, .. } => [left, right].into_iter().for_each(|ast| collect_names(ast, names)),
        Ast::Conditional { condition, then, otherwise } => {
            [condition, then, otherwise].into_iter().for_each(|ast| collect_names(ast, names));
        }
        Ast::In { needle, list } => {
            collect_names(needle, names);
            list.iter().for_each(|ast| collect_names(ast, names));
        }
        Ast::Call { arguments, .. } => arguments.iter().for_each(|ast| collect_names(ast, names)),
    }
}

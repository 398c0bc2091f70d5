//! The typed program: one tree per type, evaluated by recursion on the stack.

use std::cmp::Ordering;

use faultline_numerics::math;

use super::{Ast, ExpressionProblem, Kind, Scope, compile};
use crate::value::Value;

/// A compiled expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    pub(super) root: Node,
    /// The names behind the slots, for the canonical form.
    pub(super) names: Vec<(u16, String)>,
}

/// An expression of one type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Number(Numeric),
    Text(Textual),
    Bool(Logical),
    Any(Dynamic),
    Null,
}

/// Numbers; NaN is absent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numeric {
    Absent,
    Constant(f64),
    Slot(u16),
    Negate(Box<Numeric>),
    Arithmetic(Arithmetic, Box<(Numeric, Numeric)>),
    Abs(Box<Numeric>),
    Log(Box<Numeric>),
    Sqrt(Box<Numeric>),
    Min(Box<[Numeric]>),
    Max(Box<[Numeric]>),
    Size(Box<Textual>),
    Choose(Box<(Logical, Numeric, Numeric)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Texts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Textual {
    Absent,
    Constant(Box<str>),
    Slot(u16),
    Choose(Box<(Logical, Textual, Textual)>),
}

/// Truth values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Logical {
    Absent,
    Constant(bool),
    Slot(u16),
    Has(u16),
    Not(Box<Logical>),
    And(Box<(Logical, Logical)>),
    Or(Box<[Logical]>),
    CompareNumbers(Comparison, Box<(Numeric, Numeric)>),
    CompareTexts(Comparison, Box<(Textual, Textual)>),
    CompareBools(Comparison, Box<(Logical, Logical)>),
    CompareAny(Comparison, Box<(Dynamic, Dynamic)>),
    Search(Search, Box<(Textual, Textual)>),
    Choose(Box<(Logical, Logical, Logical)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    StartsWith,
    EndsWith,
    Contains,
}

/// Values whose type the event decides.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Dynamic {
    Absent,
    Slot(u16),
    Choose(Box<(Logical, Dynamic, Dynamic)>),
}

impl Program {
    /// Resolves names and checks types.
    ///
    /// # Errors
    /// Every problem of the expression.
    pub fn compile(ast: &Ast, scope: &mut dyn Scope) -> Result<Self, Vec<ExpressionProblem>> {
        compile::compile(ast, scope)
    }

    /// As [`Program::compile`], for a place that asks for true or false.
    ///
    /// # Errors
    /// Every problem of the expression; that it is a number or a text.
    pub fn compile_condition(ast: &Ast, scope: &mut dyn Scope) -> Result<Self, Vec<ExpressionProblem>> {
        let program = Self::compile(ast, scope)?;
        match program.kind() {
            Kind::Bool | Kind::Any => Ok(program),
            other => Err(vec![ExpressionProblem {
                message: format!("a condition is true or false, this is {}", other.noun()),
            }]),
        }
    }

    /// What it evaluates to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.root {
            Node::Number(_) | Node::Null => Kind::Number,
            Node::Text(_) => Kind::Text,
            Node::Bool(_) => Kind::Bool,
            Node::Any(_) => Kind::Any,
        }
    }

    /// Its value; slots beyond the end of the slice are absent.
    #[must_use]
    pub fn evaluate<'a>(&'a self, slots: &[Value<'a>]) -> Value<'a> {
        match &self.root {
            Node::Number(number) => Value::number(number.evaluate(slots)),
            Node::Text(text) => text.evaluate(slots).map_or(Value::Absent, Value::Text),
            Node::Bool(truth) => truth.evaluate(slots).map_or(Value::Absent, Value::Bool),
            Node::Any(any) => any.evaluate(slots),
            Node::Null => Value::Absent,
        }
    }

    /// Whether it is true; absent and everything that is no truth value is not.
    #[must_use]
    pub fn is_true(&self, slots: &[Value<'_>]) -> bool {
        match &self.root {
            Node::Bool(truth) => truth.is_true(slots),
            Node::Any(any) => any.evaluate(slots) == Value::Bool(true),
            Node::Number(_) | Node::Text(_) | Node::Null => false,
        }
    }
}

#[inline]
fn slot<'a>(slots: &[Value<'a>], at: u16) -> Value<'a> {
    slots.get(usize::from(at)).copied().unwrap_or_default()
}

impl Numeric {
    fn evaluate(&self, slots: &[Value<'_>]) -> f64 {
        match self {
            Self::Absent => f64::NAN,
            Self::Constant(number) => *number,
            Self::Slot(at) => slot(slots, *at).number_or_nan(),
            Self::Negate(operand) => -operand.evaluate(slots),
            Self::Arithmetic(operator, operands) => {
                finite(operator.apply(operands.0.evaluate(slots), operands.1.evaluate(slots)))
            }
            Self::Abs(operand) => operand.evaluate(slots).abs(),
            Self::Log(operand) => finite(math::ln(operand.evaluate(slots))),
            Self::Sqrt(operand) => math::sqrt(operand.evaluate(slots)),
            Self::Min(operands) => extreme(operands, slots, |new, best| new < best),
            Self::Max(operands) => extreme(operands, slots, |new, best| new > best),
            Self::Size(text) => text.evaluate(slots).map_or(f64::NAN, |text| text.chars().count() as f64),
            Self::Choose(choice) => {
                if choice.0.is_true(slots) {
                    choice.1.evaluate(slots)
                } else {
                    choice.2.evaluate(slots)
                }
            }
        }
    }
}

/// Infinities are absent at once, so that no later step makes a number of them (`1 / (x / 0)` is not 0).
#[inline]
fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { f64::NAN }
}

fn extreme(operands: &[Numeric], slots: &[Value<'_>], better: fn(f64, f64) -> bool) -> f64 {
    let mut numbers = operands.iter().map(|operand| operand.evaluate(slots));
    let mut best = numbers.next().unwrap_or(f64::NAN);
    for number in numbers {
        if number.is_nan() {
            return f64::NAN;
        }
        if better(number, best) {
            best = number;
        }
    }
    best
}

impl Arithmetic {
    #[inline]
    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Remainder => left % right,
        }
    }
}

impl Textual {
    fn evaluate<'a>(&'a self, slots: &[Value<'a>]) -> Option<&'a str> {
        match self {
            Self::Absent => None,
            Self::Constant(text) => Some(text),
            Self::Slot(at) => slot(slots, *at).as_text(),
            Self::Choose(choice) => {
                if choice.0.is_true(slots) {
                    choice.1.evaluate(slots)
                } else {
                    choice.2.evaluate(slots)
                }
            }
        }
    }
}

impl Logical {
    fn is_true(&self, slots: &[Value<'_>]) -> bool {
        self.evaluate(slots) == Some(true)
    }

    fn evaluate(&self, slots: &[Value<'_>]) -> Option<bool> {
        match self {
            Self::Absent => None,
            Self::Constant(truth) => Some(*truth),
            Self::Slot(at) => slot(slots, *at).as_bool(),
            Self::Has(at) => Some(!slot(slots, *at).is_absent()),
            Self::Not(operand) => Some(!operand.is_true(slots)),
            Self::And(operands) => Some(operands.0.is_true(slots) && operands.1.is_true(slots)),
            Self::Or(operands) => Some(operands.iter().any(|operand| operand.is_true(slots))),
            Self::CompareNumbers(comparison, operands) => {
                let (left, right) = (operands.0.evaluate(slots), operands.1.evaluate(slots));
                Some(left.partial_cmp(&right).is_some_and(|order| comparison.holds(order)))
            }
            Self::CompareTexts(comparison, operands) => {
                let (left, right) = (operands.0.evaluate(slots), operands.1.evaluate(slots));
                Some(left.zip(right).is_some_and(|(left, right)| comparison.holds(left.cmp(right))))
            }
            Self::CompareBools(comparison, operands) => {
                let (left, right) = (operands.0.evaluate(slots), operands.1.evaluate(slots));
                Some(left.zip(right).is_some_and(|(left, right)| comparison.holds(left.cmp(&right))))
            }
            Self::CompareAny(comparison, operands) => {
                Some(comparison.compare(operands.0.evaluate(slots), operands.1.evaluate(slots)))
            }
            Self::Search(search, operands) => {
                let (text, part) = (operands.0.evaluate(slots), operands.1.evaluate(slots));
                Some(text.zip(part).is_some_and(|(text, part)| search.finds(text, part)))
            }
            Self::Choose(choice) => {
                if choice.0.is_true(slots) {
                    choice.1.evaluate(slots)
                } else {
                    choice.2.evaluate(slots)
                }
            }
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// Values of different types, and truth values beyond equality, do not compare.
    fn compare(self, left: Value<'_>, right: Value<'_>) -> bool {
        match (left, right) {
            (Value::Number(left), Value::Number(right)) => {
                left.partial_cmp(&right).is_some_and(|order| self.holds(order))
            }
            (Value::Text(left), Value::Text(right)) => self.holds(left.cmp(right)),
            (Value::Bool(left), Value::Bool(right)) => match self {
                Self::Equal => left == right,
                Self::NotEqual => left != right,
                _ => false,
            },
            _ => false,
        }
    }
}

impl Search {
    fn finds(self, text: &str, part: &str) -> bool {
        match self {
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
            Self::Contains => text.contains(part),
        }
    }
}

impl Dynamic {
    fn evaluate<'a>(&self, slots: &[Value<'a>]) -> Value<'a> {
        match self {
            Self::Absent => Value::Absent,
            Self::Slot(at) => slot(slots, *at),
            Self::Choose(choice) => {
                if choice.0.is_true(slots) {
                    choice.1.evaluate(slots)
                } else {
                    choice.2.evaluate(slots)
                }
            }
        }
    }
}

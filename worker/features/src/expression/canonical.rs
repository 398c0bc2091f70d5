//! The canonical form of a program: prefix notation of what was compiled, so that white space, brackets and the
//! numbering of slots do not change a fingerprint.

use std::fmt::Write;

use super::program::{Arithmetic, Comparison, Dynamic, Logical, Node, Numeric, Program, Search, Textual};
use crate::fingerprint::{quote, quote_in};

impl Program {
    /// The canonical form, with names as written.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.canonical_with(|name, _| quote(name))
    }

    /// The canonical form with `name(name, slot)` for names.
    pub(crate) fn canonical_with(&self, name: impl Fn(&str, u16) -> String) -> String {
        let slot = |slot: u16| {
            let known = self.names.iter().find(|(known, _)| *known == slot).map_or("", |(_, name)| name.as_str());
            name(known, slot)
        };
        let mut form = Form { text: String::new(), slot: &slot };
        match &self.root {
            Node::Number(number) => form.number(number),
            Node::Text(text) => form.string(text),
            Node::Bool(truth) => form.bool(truth),
            Node::Any(any) => form.any(any),
            Node::Null => form.word("null"),
        }
        form.text
    }
}

struct Form<'s> {
    text: String,
    slot: &'s dyn Fn(u16) -> String,
}

impl Form<'_> {
    fn word(&mut self, word: &str) {
        self.text.push_str(word);
    }

    /// `(operator operand operand …)`
    fn list<T>(&mut self, operator: &str, operands: &[T], one: impl Fn(&mut Self, &T)) {
        self.open(operator);
        for operand in operands {
            self.word(" ");
            one(self, operand);
        }
        self.word(")");
    }

    fn open(&mut self, operator: &str) {
        self.word("(");
        self.word(operator);
    }

    fn slot(&mut self, slot: u16) {
        let name = (self.slot)(slot);
        self.text.push_str(&name);
    }

    fn choose<T>(&mut self, choice: &(Logical, T, T), one: impl Fn(&mut Self, &T)) {
        self.word("(? ");
        self.bool(&choice.0);
        self.word(" ");
        one(self, &choice.1);
        self.word(" ");
        one(self, &choice.2);
        self.word(")");
    }

    fn pair<T>(&mut self, operator: &str, pair: &(T, T), one: impl Fn(&mut Self, &T)) {
        self.open(operator);
        self.word(" ");
        one(self, &pair.0);
        self.word(" ");
        one(self, &pair.1);
        self.word(")");
    }

    fn number(&mut self, number: &Numeric) {
        match number {
            Numeric::Absent => self.word("null"),
            Numeric::Constant(number) => {
                let _ = write!(self.text, "{number}");
            }
            Numeric::Slot(slot) => self.slot(*slot),
            Numeric::Negate(operand) => self.list("neg", std::slice::from_ref(&**operand), Self::number),
            Numeric::Arithmetic(operator, both) => self.pair(operator.symbol(), both, Self::number),
            Numeric::Abs(operand) => self.list("abs", std::slice::from_ref(&**operand), Self::number),
            Numeric::Log(operand) => self.list("log", std::slice::from_ref(&**operand), Self::number),
            Numeric::Sqrt(operand) => self.list("sqrt", std::slice::from_ref(&**operand), Self::number),
            Numeric::Min(operands) => self.list("min", operands, Self::number),
            Numeric::Max(operands) => self.list("max", operands, Self::number),
            Numeric::Size(text) => self.list("size", std::slice::from_ref(&**text), Self::string),
            Numeric::Choose(choice) => self.choose(choice, Self::number),
        }
    }

    fn string(&mut self, text: &Textual) {
        match text {
            Textual::Absent => self.word("null"),
            Textual::Constant(text) => self.word(&quote_in(text, '\'')),
            Textual::Slot(slot) => self.slot(*slot),
            Textual::Choose(choice) => self.choose(choice, Self::string),
        }
    }

    fn bool(&mut self, truth: &Logical) {
        match truth {
            Logical::Absent => self.word("null"),
            Logical::Constant(truth) => self.word(if *truth { "true" } else { "false" }),
            Logical::Slot(slot) => self.slot(*slot),
            Logical::Has(slot) => {
                self.word("(has ");
                self.slot(*slot);
                self.word(")");
            }
            Logical::Not(operand) => self.list("!", std::slice::from_ref(&**operand), Self::bool),
            Logical::And(both) => self.pair("&&", both, Self::bool),
            Logical::Or(operands) => self.list("||", operands, Self::bool),
            Logical::CompareNumbers(comparison, both) => self.pair(comparison.symbol(), both, Self::number),
            Logical::CompareTexts(comparison, both) => self.pair(comparison.symbol(), both, Self::string),
            Logical::CompareBools(comparison, both) => self.pair(comparison.symbol(), both, Self::bool),
            Logical::CompareAny(comparison, both) => self.pair(comparison.symbol(), both, Self::any),
            Logical::Search(search, both) => self.pair(search.name(), both, Self::string),
            Logical::Choose(choice) => self.choose(choice, Self::bool),
        }
    }

    fn any(&mut self, any: &Dynamic) {
        match any {
            Dynamic::Absent => self.word("null"),
            Dynamic::Slot(slot) => self.slot(*slot),
            Dynamic::Choose(choice) => self.choose(choice, Self::any),
        }
    }
}

impl Arithmetic {
    fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Comparison {
    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Search {
    fn name(self) -> &'static str {
        match self {
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Contains => "contains",
        }
    }
}

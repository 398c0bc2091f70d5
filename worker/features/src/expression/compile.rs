//! From the syntax tree to the typed program: names, types, every problem at once.

use super::program::{Arithmetic, Comparison, Dynamic, Logical, Node, Numeric, Program, Search, Textual};
use super::{Ast, BinaryOperator, ExpressionProblem, Function, Kind, Scope, UnaryOperator};

/// Deepest nesting: evaluation recurses on the stack.
const DEEPEST: usize = 100;

pub(super) fn compile(ast: &Ast, scope: &mut dyn Scope) -> Result<Program, Vec<ExpressionProblem>> {
    let mut compiler = Compiler { scope, names: Vec::new(), problems: Vec::new() };
    let root = compiler.node(ast, 0);
    if !compiler.problems.is_empty() {
        return Err(compiler.problems);
    }
    Ok(Program { root, names: compiler.names })
}

struct Compiler<'s> {
    scope: &'s mut dyn Scope,
    names: Vec<(u16, String)>,
    problems: Vec<ExpressionProblem>,
}

impl Compiler<'_> {
    /// Compiles one node. After a problem it answers with `null`, which fits everywhere, and goes on.
    fn node(&mut self, ast: &Ast, depth: usize) -> Node {
        if depth > DEEPEST {
            return self.problem(format!("nested deeper than {DEEPEST} levels"));
        }
        let deeper = depth + 1;
        match ast {
            Ast::Null => Node::Null,
            Ast::Number(number) if number.is_finite() => Node::Number(Numeric::Constant(*number)),
            Ast::Number(_) => Node::Null,
            Ast::Text(text) => Node::Text(Textual::Constant(text.as_str().into())),
            Ast::Bool(truth) => Node::Bool(Logical::Constant(*truth)),
            Ast::Name(name) => self.name(name),
            Ast::Has(name) => match self.slot(name) {
                Some((slot, _)) => Node::Bool(Logical::Has(slot)),
                None => Node::Null,
            },
            Ast::Unary { operator: UnaryOperator::Not, operand } => {
                Node::Bool(Logical::Not(Box::new(self.bool(operand, "!", deeper))))
            }
            Ast::Unary { operator: UnaryOperator::Negate, operand } => {
                Node::Number(Numeric::Negate(Box::new(self.number(operand, "-", deeper))))
            }
            Ast::Binary { operator, left, right } => self.binary(*operator, left, right, deeper),
            Ast::Conditional { condition, then, otherwise } => self.conditional(condition, then, otherwise, deeper),
            Ast::In { needle, list } => self.contained(needle, list, deeper),
            Ast::Call { function, arguments } => self.call(*function, arguments, deeper),
        }
    }

    fn problem(&mut self, message: String) -> Node {
        self.problems.push(ExpressionProblem { message });
        Node::Null
    }

    fn slot(&mut self, name: &str) -> Option<(u16, Kind)> {
        match self.scope.slot(name) {
            Ok((slot, kind)) => {
                if !self.names.iter().any(|(known, _)| *known == slot) {
                    self.names.push((slot, name.to_owned()));
                }
                Some((slot, kind))
            }
            Err(message) => {
                self.problem(message);
                None
            }
        }
    }

    fn name(&mut self, name: &str) -> Node {
        match self.slot(name) {
            None => Node::Null,
            Some((slot, Kind::Number)) => Node::Number(Numeric::Slot(slot)),
            Some((slot, Kind::Text)) => Node::Text(Textual::Slot(slot)),
            Some((slot, Kind::Bool)) => Node::Bool(Logical::Slot(slot)),
            Some((slot, Kind::Any)) => Node::Any(Dynamic::Slot(slot)),
        }
    }

    fn number(&mut self, ast: &Ast, place: &str, depth: usize) -> Numeric {
        match self.node(ast, depth) {
            Node::Number(number) => number,
            Node::Any(any) => numeric(any),
            Node::Null => Numeric::Absent,
            other => {
                self.expected(Kind::Number, place, &other);
                Numeric::Absent
            }
        }
    }

    fn text(&mut self, ast: &Ast, place: &str, depth: usize) -> Textual {
        match self.node(ast, depth) {
            Node::Text(text) => text,
            Node::Any(any) => textual(any),
            Node::Null => Textual::Absent,
            other => {
                self.expected(Kind::Text, place, &other);
                Textual::Absent
            }
        }
    }

    fn bool(&mut self, ast: &Ast, place: &str, depth: usize) -> Logical {
        match self.node(ast, depth) {
            Node::Bool(truth) => truth,
            Node::Any(any) => logical(any),
            Node::Null => Logical::Absent,
            other => {
                self.expected(Kind::Bool, place, &other);
                Logical::Absent
            }
        }
    }

    fn expected(&mut self, kind: Kind, place: &str, found: &Node) {
        self.problem(format!("`{place}` takes {}, found {}", kind.noun(), noun(found)));
    }

    fn binary(&mut self, operator: BinaryOperator, left: &Ast, right: &Ast, depth: usize) -> Node {
        use BinaryOperator as B;
        let symbol = operator.symbol();
        match operator {
            B::Add => self.arithmetic(Arithmetic::Add, symbol, left, right, depth),
            B::Subtract => self.arithmetic(Arithmetic::Subtract, symbol, left, right, depth),
            B::Multiply => self.arithmetic(Arithmetic::Multiply, symbol, left, right, depth),
            B::Divide => self.arithmetic(Arithmetic::Divide, symbol, left, right, depth),
            B::Remainder => self.arithmetic(Arithmetic::Remainder, symbol, left, right, depth),
            B::Equal => self.comparison(Comparison::Equal, symbol, left, right, depth),
            B::NotEqual => self.comparison(Comparison::NotEqual, symbol, left, right, depth),
            B::Less => self.comparison(Comparison::Less, symbol, left, right, depth),
            B::LessOrEqual => self.comparison(Comparison::LessOrEqual, symbol, left, right, depth),
            B::Greater => self.comparison(Comparison::Greater, symbol, left, right, depth),
            B::GreaterOrEqual => self.comparison(Comparison::GreaterOrEqual, symbol, left, right, depth),
            B::And => {
                let both = (self.bool(left, symbol, depth), self.bool(right, symbol, depth));
                Node::Bool(Logical::And(Box::new(both)))
            }
            B::Or => {
                let both = [self.bool(left, symbol, depth), self.bool(right, symbol, depth)];
                Node::Bool(Logical::Or(Box::new(both)))
            }
        }
    }

    fn arithmetic(&mut self, operator: Arithmetic, symbol: &str, left: &Ast, right: &Ast, depth: usize) -> Node {
        let both = (self.number(left, symbol, depth), self.number(right, symbol, depth));
        Node::Number(Numeric::Arithmetic(operator, Box::new(both)))
    }

    fn comparison(&mut self, comparison: Comparison, symbol: &str, left: &Ast, right: &Ast, depth: usize) -> Node {
        if *left == Ast::Null || *right == Ast::Null {
            let message = format!("`{symbol}` with null is always false; ask `has(name)` whether a value is present");
            return self.problem(message);
        }
        let (left, right) = (self.node(left, depth), self.node(right, depth));
        self.compare(comparison, symbol, left, right)
    }

    fn compare(&mut self, comparison: Comparison, symbol: &str, left: Node, right: Node) -> Node {
        let both_equal = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        Node::Bool(match (left, right) {
            (Node::Null, _) | (_, Node::Null) => Logical::Constant(false),
            (Node::Any(left), Node::Any(right)) => Logical::CompareAny(comparison, Box::new((left, right))),
            (Node::Number(left), Node::Number(right)) => Logical::CompareNumbers(comparison, Box::new((left, right))),
            (Node::Number(left), Node::Any(right)) => {
                Logical::CompareNumbers(comparison, Box::new((left, numeric(right))))
            }
            (Node::Any(left), Node::Number(right)) => {
                Logical::CompareNumbers(comparison, Box::new((numeric(left), right)))
            }
            (Node::Text(left), Node::Text(right)) => Logical::CompareTexts(comparison, Box::new((left, right))),
            (Node::Text(left), Node::Any(right)) => Logical::CompareTexts(comparison, Box::new((left, textual(right)))),
            (Node::Any(left), Node::Text(right)) => Logical::CompareTexts(comparison, Box::new((textual(left), right))),
            (Node::Bool(left), Node::Bool(right)) if both_equal => {
                Logical::CompareBools(comparison, Box::new((left, right)))
            }
            (Node::Bool(left), Node::Any(right)) if both_equal => {
                Logical::CompareBools(comparison, Box::new((left, logical(right))))
            }
            (Node::Any(left), Node::Bool(right)) if both_equal => {
                Logical::CompareBools(comparison, Box::new((logical(left), right)))
            }
            (left, right) => {
                return self.problem(format!("`{symbol}` cannot compare {} with {}", noun(&left), noun(&right)));
            }
        })
    }

    fn conditional(&mut self, condition: &Ast, then: &Ast, otherwise: &Ast, depth: usize) -> Node {
        let condition = self.bool(condition, "?:", depth);
        let (then, otherwise) = (self.node(then, depth), self.node(otherwise, depth));
        match (then, otherwise) {
            (Node::Null, Node::Null) => Node::Null,
            (then, otherwise) => self.choose(condition, then, otherwise),
        }
    }

    /// A branch of unknown type, and `null`, take the type of the other one.
    fn choose(&mut self, condition: Logical, then: Node, otherwise: Node) -> Node {
        let nouns = (noun(&then), noun(&otherwise));
        let kind = if matches!(then, Node::Any(_) | Node::Null) { kind(&otherwise) } else { kind(&then) };
        let chosen = match kind {
            Kind::Any => match (into_dynamic(then), into_dynamic(otherwise)) {
                (Some(then), Some(otherwise)) => {
                    Some(Node::Any(Dynamic::Choose(Box::new((condition, then, otherwise)))))
                }
                _ => None,
            },
            Kind::Number => match (into_numeric(then), into_numeric(otherwise)) {
                (Some(then), Some(otherwise)) => {
                    Some(Node::Number(Numeric::Choose(Box::new((condition, then, otherwise)))))
                }
                _ => None,
            },
            Kind::Text => match (into_textual(then), into_textual(otherwise)) {
                (Some(then), Some(otherwise)) => {
                    Some(Node::Text(Textual::Choose(Box::new((condition, then, otherwise)))))
                }
                _ => None,
            },
            Kind::Bool => match (into_logical(then), into_logical(otherwise)) {
                (Some(then), Some(otherwise)) => {
                    Some(Node::Bool(Logical::Choose(Box::new((condition, then, otherwise)))))
                }
                _ => None,
            },
        };
        chosen.unwrap_or_else(|| self.problem(format!("the branches of `?:` differ: {} and {}", nouns.0, nouns.1)))
    }

    /// `a in [b, c]` is `a == b || a == c`.
    fn contained(&mut self, needle: &Ast, list: &[Ast], depth: usize) -> Node {
        let needle = self.node(needle, depth);
        let mut equals = Vec::with_capacity(list.len());
        for item in list {
            let item = self.node(item, depth);
            let Node::Bool(equal) = self.compare(Comparison::Equal, "in", needle.clone(), item) else {
                return Node::Null;
            };
            equals.push(equal);
        }
        Node::Bool(Logical::Or(equals.into()))
    }

    fn call(&mut self, function: Function, arguments: &[Ast], depth: usize) -> Node {
        let name = function.name();
        match (function, arguments) {
            (Function::Size, [text]) => Node::Number(Numeric::Size(Box::new(self.text(text, name, depth)))),
            (Function::Abs, [number]) => Node::Number(Numeric::Abs(Box::new(self.number(number, name, depth)))),
            (Function::Log, [number]) => Node::Number(Numeric::Log(Box::new(self.number(number, name, depth)))),
            (Function::Sqrt, [number]) => Node::Number(Numeric::Sqrt(Box::new(self.number(number, name, depth)))),
            (Function::Min, [_, ..]) => {
                Node::Number(Numeric::Min(arguments.iter().map(|number| self.number(number, name, depth)).collect()))
            }
            (Function::Max, [_, ..]) => {
                Node::Number(Numeric::Max(arguments.iter().map(|number| self.number(number, name, depth)).collect()))
            }
            (Function::StartsWith, [text, part]) => self.search(Search::StartsWith, name, text, part, depth),
            (Function::EndsWith, [text, part]) => self.search(Search::EndsWith, name, text, part, depth),
            (Function::Contains, [text, part]) => self.search(Search::Contains, name, text, part, depth),
            (_, arguments) => {
                let expected = match function {
                    Function::StartsWith | Function::EndsWith | Function::Contains => "2 arguments",
                    Function::Min | Function::Max => "1 argument or more",
                    _ => "1 argument",
                };
                self.problem(format!("`{name}` takes {expected}, found {}", arguments.len()))
            }
        }
    }

    fn search(&mut self, search: Search, name: &str, text: &Ast, part: &Ast, depth: usize) -> Node {
        let both = (self.text(text, name, depth), self.text(part, name, depth));
        Node::Bool(Logical::Search(search, Box::new(both)))
    }
}

fn kind(node: &Node) -> Kind {
    match node {
        Node::Number(_) => Kind::Number,
        Node::Text(_) => Kind::Text,
        Node::Bool(_) => Kind::Bool,
        Node::Any(_) | Node::Null => Kind::Any,
    }
}

fn noun(node: &Node) -> &'static str {
    if matches!(node, Node::Null) { "null" } else { kind(node).noun() }
}

fn numeric(any: Dynamic) -> Numeric {
    match any {
        Dynamic::Absent => Numeric::Absent,
        Dynamic::Slot(slot) => Numeric::Slot(slot),
        Dynamic::Choose(choice) => {
            let (condition, then, otherwise) = *choice;
            Numeric::Choose(Box::new((condition, numeric(then), numeric(otherwise))))
        }
    }
}

fn textual(any: Dynamic) -> Textual {
    match any {
        Dynamic::Absent => Textual::Absent,
        Dynamic::Slot(slot) => Textual::Slot(slot),
        Dynamic::Choose(choice) => {
            let (condition, then, otherwise) = *choice;
            Textual::Choose(Box::new((condition, textual(then), textual(otherwise))))
        }
    }
}

fn logical(any: Dynamic) -> Logical {
    match any {
        Dynamic::Absent => Logical::Absent,
        Dynamic::Slot(slot) => Logical::Slot(slot),
        Dynamic::Choose(choice) => {
            let (condition, then, otherwise) = *choice;
            Logical::Choose(Box::new((condition, logical(then), logical(otherwise))))
        }
    }
}

fn into_dynamic(node: Node) -> Option<Dynamic> {
    match node {
        Node::Any(any) => Some(any),
        Node::Null => Some(Dynamic::Absent),
        Node::Number(_) | Node::Text(_) | Node::Bool(_) => None,
    }
}

fn into_numeric(node: Node) -> Option<Numeric> {
    match node {
        Node::Number(number) => Some(number),
        Node::Any(any) => Some(numeric(any)),
        Node::Null => Some(Numeric::Absent),
        Node::Text(_) | Node::Bool(_) => None,
    }
}

fn into_textual(node: Node) -> Option<Textual> {
    match node {
        Node::Text(text) => Some(text),
        Node::Any(any) => Some(textual(any)),
        Node::Null => Some(Textual::Absent),
        Node::Number(_) | Node::Bool(_) => None,
    }
}

fn into_logical(node: Node) -> Option<Logical> {
    match node {
        Node::Bool(truth) => Some(truth),
        Node::Any(any) => Some(logical(any)),
        Node::Null => Some(Logical::Absent),
        Node::Number(_) | Node::Text(_) => None,
    }
}

//! Expressions: a small syntax tree, compiled to a typed program that evaluates without allocation.
//!
//! The text is parsed elsewhere (a subset of CEL); all numbers are doubles. **Absent operands:** a comparison, `in`,
//! `startsWith`, `endsWith` or `contains` with one is false; arithmetic, `size`, `abs`, `min`, `max`, `log`, `sqrt`
//! with one is absent; as an operand of `&&`, `||`, `!` or as a condition it counts as false. A value of another type
//! than the place asks for counts as absent. Results that are not finite are absent.

mod canonical;
mod compile;
mod program;
mod scope;

pub use program::Program;
pub use scope::{EventScope, NameScope, Scope};

/// An expression as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Ast {
    /// `null`: absent.
    Null,
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// A name or dotted path, as written.
    Name(String),
    /// `has(name)`: whether it is present.
    Has(String),
    /// An operator before its operand.
    Unary {
        /// The operator.
        operator: UnaryOperator,
        /// Its operand.
        operand: Box<Ast>,
    },
    /// An operator between its operands.
    Binary {
        /// The operator.
        operator: BinaryOperator,
        /// What stands before it.
        left: Box<Ast>,
        /// What stands behind it.
        right: Box<Ast>,
    },
    /// `condition ? then : otherwise`.
    Conditional {
        /// What decides.
        condition: Box<Ast>,
        /// The value if it is true.
        then: Box<Ast>,
        /// The value if it is false or absent.
        otherwise: Box<Ast>,
    },
    /// `needle in [list]`.
    In {
        /// What is looked for.
        needle: Box<Ast>,
        /// Where.
        list: Vec<Ast>,
    },
    /// A function; the receiver of a method (`a.startsWith(b)`) is its first argument.
    Call {
        /// Which.
        function: Function,
        /// Its arguments.
        arguments: Vec<Ast>,
    },
}

/// Operators with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOperator {
    /// `!`
    Not,
    /// `-`
    Negate,
}

/// Operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOperator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`: the remainder has the sign of the dividend.
    Remainder,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `&&`
    And,
    /// `||`
    Or,
}

impl BinaryOperator {
    /// As it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::And => "&&",
            Self::Or => "||",
        }
    }
}

/// Functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `size(text)`: number of characters.
    Size,
    /// `startsWith(text, prefix)`.
    StartsWith,
    /// `endsWith(text, suffix)`.
    EndsWith,
    /// `contains(text, part)`.
    Contains,
    /// `abs(number)`.
    Abs,
    /// `min(number, …)`: one argument or more.
    Min,
    /// `max(number, …)`: one argument or more.
    Max,
    /// `log(number)`: the natural logarithm.
    Log,
    /// `sqrt(number)`.
    Sqrt,
}

impl Function {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Size,
        Self::StartsWith,
        Self::EndsWith,
        Self::Contains,
        Self::Abs,
        Self::Min,
        Self::Max,
        Self::Log,
        Self::Sqrt,
    ];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Contains => "contains",
            Self::Abs => "abs",
            Self::Min => "min",
            Self::Max => "max",
            Self::Log => "log",
            Self::Sqrt => "sqrt",
        }
    }

    /// The function of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }
}

/// What an expression, or a name in it, evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// Texts.
    Text,
    /// Truth values.
    Bool,
    /// Known only when it is evaluated.
    Any,
}

impl Kind {
    /// With its article, for messages.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Bool => "true or false",
            Self::Any => "a value",
        }
    }
}

/// Why an expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionProblem {
    /// What was expected, what was found and where.
    pub message: String,
}

//! The rules of the house, each a function from the repository to what breaks the rule. `cargo xtask tidy` and a test
//! run the same list.

mod code;
mod dependencies;
mod documents;
mod sources;
mod words;

use std::fmt;

use anyhow::{Result, bail};

use crate::generate;
use crate::tree::{self, Tree};

/// One place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Path from the root.
    path: String,
    /// Line, counted from 1; 0 means the whole file.
    line: usize,
    /// What is wrong and what to do.
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Checks everything and prints what it finds.
pub(crate) fn run() -> Result<()> {
    let findings = check(&Tree::read(&tree::root())?)?;
    if findings.is_empty() {
        return Ok(());
    }
    findings.iter().for_each(|finding| eprintln!("{finding}"));
    bail!("{} rules of the house are broken", findings.len())
}

fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = sources::check(tree);
    findings.extend(words::check(tree));
    findings.extend(documents::check(tree));
    findings.extend(dependencies::check(&tree::root())?);
    findings
        .extend(generate::stale(tree).into_iter().map(|path| Finding::new(&path, 0, "stale; run `cargo xtask gen`")));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_keeps_its_rules() {
        let findings = check(&Tree::read(&tree::root()).unwrap()).unwrap();
        let list: String = findings.iter().map(|finding| format!("\n{finding}")).collect();
        assert!(findings.is_empty(), "{list}");
    }
}

//! What names in an expression mean.

use super::Kind;
use crate::path::{PathId, Paths};
use crate::suggest::closest;

/// Gives names their slots in the slice of values that an expression is evaluated on.
pub trait Scope {
    /// Slot and type of a name.
    ///
    /// # Errors
    /// A message for the user: what is declared, what was perhaps meant.
    fn slot(&mut self, name: &str) -> Result<(u16, Kind), String>;
}

/// `filter` and `where`: every dotted path of the event is a name; its type is known only from the event.
#[derive(Debug)]
pub struct EventScope<'a>(pub &'a mut Paths);

impl Scope for EventScope<'_> {
    fn slot(&mut self, name: &str) -> Result<(u16, Kind), String> {
        match self.0.intern(name) {
            PathId(u16::MAX) => Err(format!("more than {} event paths", Paths::MOST)),
            PathId(slot) => Ok((slot, Kind::Any)),
        }
    }
}

/// A list of names; a name's slot is its place. Of equal names the first counts.
#[derive(Debug, Clone, Default)]
pub struct NameScope {
    names: Vec<(String, Kind)>,
}

impl NameScope {
    /// The names with their types, in slot order.
    #[must_use]
    pub fn new(names: Vec<(String, Kind)>) -> Self {
        Self { names }
    }
}

impl Scope for NameScope {
    fn slot(&mut self, name: &str) -> Result<(u16, Kind), String> {
        let Some(at) = self.names.iter().position(|(known, _)| known == name) else {
            return Err(self.unknown(name));
        };
        let slot = u16::try_from(at).map_err(|_| format!("more than {} names", u16::MAX))?;
        Ok((slot, self.names[at].1))
    }
}

impl NameScope {
    fn unknown(&self, name: &str) -> String {
        let known = || self.names.iter().map(|(known, _)| known.as_str());
        let parts: Vec<&str> =
            known().filter(|known| known.rsplit_once('.').is_some_and(|(of, _)| of == name)).collect();
        if !parts.is_empty() {
            return format!("`{name}` stands for several columns, name one of them: {}", parts.join(", "));
        }
        // A feature may have the name of its field.
        let mut declared: Vec<&str> = Vec::new();
        known().for_each(|known| {
            if !declared.contains(&known) {
                declared.push(known);
            }
        });
        let guess = closest(name, known()).map(|guess| format!(". Did you mean \"{guess}\"?")).unwrap_or_default();
        format!("no name \"{name}\"; known: {}{guess}", declared.join(", "))
    }
}

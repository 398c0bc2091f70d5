//! The table of event paths: every place inside an event that a field, a filter or a `where` reads.

/// Index of a path in [`Paths`], and of its value in [`Event::paths`](crate::Event::paths).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u16);

/// Dotted paths (`merchant.id`) in the order in which they were first asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    names: Vec<String>,
}

impl Paths {
    /// Most paths of one table; [`PathId`] `u16::MAX` is never given out for one of them.
    pub const MOST: usize = u16::MAX as usize;

    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The id of a path, added if it is new. A full table answers with `PathId(u16::MAX)`, which names no path and is
    /// refused by [`Plan::compile`](crate::Plan::compile) and [`EventScope`](crate::EventScope).
    pub fn intern(&mut self, path: &str) -> PathId {
        if let Some(known) = self.names.iter().position(|name| name == path) {
            return PathId(known as u16);
        }
        if self.names.len() == Self::MOST {
            return PathId(u16::MAX);
        }
        self.names.push(path.to_owned());
        PathId((self.names.len() - 1) as u16)
    }

    /// All paths, in the order of their ids.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of paths.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// True if nothing was asked for yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_paths_share_an_id() {
        let mut paths = Paths::new();
        assert_eq!([paths.intern("a.b"), paths.intern("c"), paths.intern("a.b")], [PathId(0), PathId(1), PathId(0)]);
        assert_eq!(paths.names(), ["a.b", "c"]);
    }
}

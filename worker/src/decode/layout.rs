//! What decoding needs of the configuration, prepared once.

use faultline_crds::worker_config::{Timestamp, WorkerConfig};
use faultline_features::{FieldKind, WhenMissing};

use super::{Leaf, Rejected};
use crate::outcome::Class;

/// Paths, key, time and fields of a pipeline.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) root: Node,
    pub(crate) paths: usize,
    pub(crate) event_id: Option<usize>,
    pub(crate) key: Option<usize>,
    pub(crate) key_name: String,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) timestamp_name: String,
    pub(crate) fields: Vec<LayoutField>,
}

/// A declared field.
#[derive(Debug)]
pub(crate) struct LayoutField {
    name: String,
    pub(crate) path: usize,
    pub(crate) kind: FieldKind,
    pub(crate) when_missing: WhenMissing,
}

/// A member name on the way to a needed path.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// The path that ends here.
    pub(crate) slot: Option<usize>,
    /// Members below.
    pub(crate) children: Vec<(Box<str>, Node)>,
    /// The paths that end below.
    pub(crate) below: Vec<usize>,
}

impl Layout {
    pub(crate) fn new(config: &WorkerConfig) -> Self {
        let names: Vec<String> = config.paths.names().iter().map(ToString::to_string).collect();
        let mut root = Node::default();
        names.iter().enumerate().for_each(|(slot, name)| root.insert(name.split('.'), slot));
        let source = &config.source;
        let name = |path: usize| names.get(path).cloned().unwrap_or_default();
        let key = source.key.map(|path| path.0 as usize);
        Self {
            root,
            paths: names.len(),
            event_id: source.event_id.map(|path| path.0 as usize),
            key,
            key_name: key.map(name).unwrap_or_default(),
            timestamp: source.timestamp,
            timestamp_name: source.timestamp.map(|timestamp| name(timestamp.path.0 as usize)).unwrap_or_default(),
            fields: source
                .fields
                .iter()
                .map(|field| LayoutField {
                    name: field.spec.name.clone(),
                    path: field.spec.path.0 as usize,
                    kind: field.spec.kind,
                    when_missing: field.spec.when_missing,
                })
                .collect(),
        }
    }
}

impl Layout {
    /// The number at the timestamp's path, for hints about its unit.
    pub(crate) fn time_text<'a>(&self, leaves: &[Leaf<'a>]) -> Option<&'a str> {
        match leaves.get(self.timestamp?.path.0 as usize) {
            Some(Leaf::Number(text, _)) => Some(text),
            _ => None,
        }
    }
}

impl LayoutField {
    /// What is wrong with what stands at the field's path.
    pub(crate) fn problem(&self, leaf: &Leaf<'_>) -> Rejected {
        let class = match (self.kind, leaf) {
            (_, Leaf::Missing | Leaf::Null) => Class::FieldMissing,
            (FieldKind::Number, Leaf::Number(..)) => Class::FieldNotFinite,
            _ => Class::FieldWrongType,
        };
        let expected = match self.kind {
            FieldKind::Number => "a number",
            FieldKind::Text => "text",
        };
        let found = if class == Class::FieldNotFinite { "a number too large for 64 bits" } else { leaf.kind() };
        Rejected {
            stage: "fields",
            class,
            message: format!("field `{}`: expected {expected}, found {found}", self.name),
        }
    }
}

impl Node {
    fn insert<'a>(&mut self, mut segments: impl Iterator<Item = &'a str>, slot: usize) {
        let Some(segment) = segments.next() else {
            self.slot = Some(slot);
            return;
        };
        self.below.push(slot);
        let at = self.children.iter().position(|(name, _)| **name == *segment).unwrap_or_else(|| {
            self.children.push((segment.into(), Self::default()));
            self.children.len() - 1
        });
        self.children[at].1.insert(segments, slot);
    }

    /// The member of this name.
    #[inline]
    pub(crate) fn child(&self, name: &[u8]) -> Option<&Self> {
        self.children.iter().find(|(child, _)| child.as_bytes() == name).map(|(_, node)| node)
    }
}

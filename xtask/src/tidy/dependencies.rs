//! Who may depend on whom, and what must never be pulled in, over what cargo resolves (normal dependencies only).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

use super::Finding;

/// What one member of the workspace may use of the others, and what it must not pull in, directly or not.
struct Row {
    member: &'static str,
    may_use: &'static [&'static str],
    never: &'static [&'static str],
}

const RUNTIMES: [&str; 6] = ["tokio", "kube", "kube-client", "rdkafka", "redis", "tonic"];

/// The table. A new member needs a row.
const TABLE: [Row; 7] = [
    Row { member: "faultline-numerics", may_use: &[], never: &RUNTIMES },
    Row { member: "faultline-features", may_use: &["faultline-numerics"], never: &RUNTIMES },
    Row { member: "faultline-detectors", may_use: &["faultline-numerics"], never: &RUNTIMES },
    Row {
        member: "faultline-crds",
        may_use: &["faultline-numerics", "faultline-features", "faultline-detectors"],
        never: &["tokio", "hyper", "kube-client", "kube-runtime"],
    },
    Row {
        member: "faultline-worker",
        may_use: &["faultline-numerics", "faultline-crds", "faultline-features", "faultline-detectors"],
        never: &["kube-client", "kube-runtime"],
    },
    Row {
        member: "faultline-cli",
        may_use: &[
            "faultline-numerics",
            "faultline-crds",
            "faultline-features",
            "faultline-detectors",
            "faultline-worker",
        ],
        never: &["kube-client", "kube-runtime"],
    },
    Row {
        member: "faultline-xtask",
        may_use: &[
            "faultline-numerics",
            "faultline-crds",
            "faultline-features",
            "faultline-detectors",
            "faultline-worker",
        ],
        never: &["kube-client", "kube-runtime"],
    },
];

/// Names of packages by name of the package that depends on them.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Checks the workspace.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let (members, graph) = read(root)?;
    Ok(check_graph(&members, &graph))
}

fn read(root: &Path) -> Result<(Vec<String>, Graph)> {
    let metadata = MetadataCommand::new().current_dir(root).exec().context("failed to read cargo's metadata")?;
    let name = |id| metadata[id].name.to_string();
    let members = metadata.workspace_members.iter().map(name).collect();
    let resolve = metadata.resolve.as_ref().context("cargo resolved no dependencies")?;
    let graph = resolve.nodes.iter().map(|node| {
        let normal =
            node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
        (name(&node.id), normal.map(|dep| name(&dep.pkg)).collect())
    });
    Ok((members, merge(graph)))
}

/// Two versions of a package count as one.
fn merge(nodes: impl Iterator<Item = (String, BTreeSet<String>)>) -> Graph {
    let mut graph = Graph::new();
    for (name, dependencies) in nodes {
        graph.entry(name).or_default().extend(dependencies);
    }
    graph
}

fn check_graph(members: &[String], graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut refuse = |message: String| findings.push(Finding::new("Cargo.toml", 0, message));
    for member in members {
        let Some(row) = TABLE.iter().find(|row| row.member == member) else {
            refuse(format!("`{member}` has no row in the table of xtask/src/tidy/dependencies.rs"));
            continue;
        };
        for used in graph[member].iter().filter(|used| members.contains(used)) {
            if !row.may_use.contains(&used.as_str()) {
                refuse(format!("`{member}` must not depend on `{used}`"));
            }
        }
        for never in row.never {
            if let Some(path) = path_to(graph, member, never) {
                refuse(format!("`{member}` must never pull in `{never}`: {}", path.join(" ► ")));
            }
        }
    }
    findings
}

/// The shortest way from a package to another.
fn path_to(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::from([from.to_owned()]);
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last()?;
            if last == to {
                return Some(way);
            }
            for next in graph.get(last).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    longer.push([way.as_slice(), std::slice::from_ref(next)].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(edges: &[(&str, &[&str])], expected: &[&str]) {
        let graph = merge(
            edges.iter().map(|(name, uses)| ((*name).to_owned(), uses.iter().map(|u| (*u).to_owned()).collect())),
        );
        let members: Vec<String> = graph.keys().filter(|name| name.starts_with("faultline-")).cloned().collect();
        let findings: Vec<String> = check_graph(&members, &graph).into_iter().map(|finding| finding.message).collect();
        assert_eq!(findings, expected);
    }

    #[test]
    fn what_the_table_allows_passes() {
        check(&[("faultline-numerics", &["libm"]), ("faultline-features", &["faultline-numerics", "chrono"])], &[]);
    }

    #[test]
    fn a_member_above_must_not_be_used() {
        let edges: &[(&str, &[&str])] = &[("faultline-numerics", &["faultline-features"]), ("faultline-features", &[])];
        check(edges, &["`faultline-numerics` must not depend on `faultline-features`"]);
    }

    #[test]
    fn a_runtime_far_below_is_found_with_its_path() {
        let edges: &[(&str, &[&str])] =
            &[("faultline-crds", &["kube"]), ("kube", &["kube-client"]), ("kube-client", &["kube"])];
        check(edges, &["`faultline-crds` must never pull in `kube-client`: faultline-crds ► kube ► kube-client"]);
    }

    #[test]
    fn a_new_member_needs_a_row() {
        check(
            &[("faultline-new", &[])],
            &["`faultline-new` has no row in the table of xtask/src/tidy/dependencies.rs"],
        );
    }
}

//! Rules about documents: what they tell people to type exists, what they link exists, nothing lies unlinked, and
//! each invariant of the architecture names a test that exists.

use clap::CommandFactory;

use super::Finding;
use crate::Arguments;
use crate::generate::COMMAND_LINE_REFERENCE;
use crate::tree::{File, Tree};

/// Documents that lead to all others.
const ENTRANCES: [&str; 2] = ["README.md", "docs/architecture.md"];
/// Headings that a release may have.
const CHANGES: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];

/// Checks the documents.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = tree
        .documents()
        .flat_map(|document| {
            commands(tree, document).into_iter().chain(links(tree, document)).chain(held_by(tree, document))
        })
        .collect();
    findings.extend(unlinked(tree));
    findings.extend(tree.file("CHANGELOG.md").into_iter().flat_map(changelog));
    findings
}

/// Lines of shell blocks, with their numbers.
fn shell_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_shell = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            in_shell = ["sh", "bash", "console"].contains(&language.trim());
            return None;
        }
        in_shell.then(|| (index + 1, line.trim().trim_start_matches("$ ")))
    })
}

fn commands(tree: &Tree, document: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in shell_lines(&document.text) {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let problem = match words.as_slice() {
            ["cargo", "xtask", rest @ ..] => xtask_problem(rest),
            ["cargo", "run", "--release", "--", rest @ ..] | ["faultline", rest @ ..] => faultline_problem(tree, rest),
            _ => None,
        };
        findings.extend(problem.map(|problem| Finding::new(&document.path, number, format!("`{line}`: {problem}"))));
    }
    findings
}

fn xtask_problem(arguments: &[&str]) -> Option<String> {
    let outcome = Arguments::command().try_get_matches_from([&["xtask"], arguments].concat());
    let error = outcome.err().filter(|error| error.use_stderr())?;
    error.to_string().lines().next().map(str::to_owned)
}

/// The command must be in the command-line reference, and what looks like a path of the repository must be there.
fn faultline_problem(tree: &Tree, arguments: &[&str]) -> Option<String> {
    let command = arguments.first().filter(|word| !word.starts_with('-'))?;
    let reference = tree.file(COMMAND_LINE_REFERENCE)?;
    if !reference.text.lines().any(|line| line == format!("## faultline {command}")) {
        return Some(format!("{COMMAND_LINE_REFERENCE} knows no command `{command}`"));
    }
    let missing = arguments.iter().find(|word| word.starts_with("examples/") && !exists(tree, word))?;
    Some(format!("`{missing}` does not exist"))
}

/// A file, or a folder with files.
fn exists(tree: &Tree, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    tree.files
        .iter()
        .any(|file| file.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Targets of Markdown links, from the root of the repository, with their line.
fn targets(document: &File) -> impl Iterator<Item = (usize, String)> {
    let folder = document.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    document.text.lines().enumerate().flat_map(move |(index, line)| {
        line.split("](").skip(1).filter_map(move |rest| {
            let target = rest.split([')', '#', ' ']).next()?;
            let local = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            local.then(|| (index + 1, resolve(folder, target)))
        })
    })
}

fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn links(tree: &Tree, document: &File) -> Vec<Finding> {
    targets(document)
        .filter(|(_, target)| !exists(tree, target))
        .map(|(line, target)| Finding::new(&document.path, line, format!("the link to `{target}` leads nowhere")))
        .collect()
}

fn unlinked(tree: &Tree) -> Vec<Finding> {
    let linked: Vec<String> = ENTRANCES
        .iter()
        .filter_map(|path| tree.file(path))
        .flat_map(|file| targets(file).map(|(_, target)| target))
        .collect();
    tree.files
        .iter()
        .filter(|file| {
            file.path.starts_with("docs/") && !ENTRANCES.contains(&file.path.as_str()) && !linked.contains(&file.path)
        })
        .map(|file| Finding::new(&file.path, 0, format!("link it from {}", ENTRANCES.join(" or "))))
        .collect()
}

/// "Held by `a_test`, `another`": the tests exist.
fn held_by(tree: &Tree, document: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in document.text.lines().enumerate() {
        let Some((_, holders)) = line.split_once("Held by ") else { continue };
        for name in holders.split('`').skip(1).step_by(2) {
            let function = format!("fn {}(", name.rsplit("::").next().unwrap_or(name));
            if !tree.rust().any(|file| file.text.contains(&function)) {
                findings.push(Finding::new(&document.path, index + 1, format!("there is no test `{name}`")));
            }
        }
    }
    findings
}

/// Keep a Changelog: title, unreleased first, dated releases, known headings.
fn changelog(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut refuse = |line: usize, message: String| findings.push(Finding::new(&file.path, line, message));
    let headings: Vec<(usize, &str)> = file
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(index, line)| (index + 1, line))
        .collect();
    if headings.first().is_none_or(|(_, title)| *title != "# Changelog") {
        refuse(1, "begin with `# Changelog`".into());
    }
    let releases: Vec<_> =
        headings.iter().filter_map(|(line, heading)| Some((*line, heading.strip_prefix("## ")?))).collect();
    for (index, (line, release)) in releases.iter().enumerate() {
        let fits = if index == 0 { *release == "[Unreleased]" } else { is_release(release) };
        if !fits {
            refuse(*line, format!("`{release}`: first `[Unreleased]`, then `[1.2.3] - 2026-01-31`"));
        }
    }
    for (line, heading) in headings.iter().filter_map(|(line, heading)| Some((line, heading.strip_prefix("### ")?))) {
        if !CHANGES.contains(&heading) {
            refuse(*line, format!("`{heading}` is none of {}", CHANGES.join(", ")));
        }
    }
    findings
}

fn is_release(text: &str) -> bool {
    let Some((version, date)) = text.split_once(" - ") else { return false };
    let digits = |text: &str, separator: char, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        parts.len() == 3
            && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
            && (counts.is_empty() || parts.iter().map(|part| part.len()).eq(counts.iter().copied()))
    };
    let version = version.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    version.is_some_and(|version| digits(version, '.', &[])) && digits(date, '-', &[4, 2, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(path, text)| File { path: (*path).into(), text: (*text).into() }).collect() }
    }

    #[track_caller]
    fn finds(files: &[(&str, &str)], expected: &[&str]) {
        let findings = check(&tree(files));
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, expected) in findings.iter().zip(expected) {
            assert!(finding.to_string().contains(expected), "{finding} does not say {expected}");
        }
    }

    #[test]
    fn commands_that_exist_pass() {
        let readme = "See [the commands](docs/cli.md).\n```sh\ncargo xtask test --only kafka   # one\n\
                      cargo run --release -- up examples/quickstart\nfaultline up\nls\n```\n";
        finds(
            &[("README.md", readme), (COMMAND_LINE_REFERENCE, "## faultline up\n"), ("examples/quickstart/a.yaml", "")],
            &[],
        );
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        finds(
            &[("README.md", "```sh\n$ cargo xtask fly\n```\n")],
            &["README.md:2: `cargo xtask fly`: error: unrecognized subcommand"],
        );
        finds(&[("README.md", "```sh\ncargo xtask test --fast\n```\n")], &["unexpected argument"]);
        finds(&[("README.md", "```text\ncargo xtask fly\n```\n")], &[]);
        let reference = (COMMAND_LINE_REFERENCE, "## faultline up\n");
        finds(
            &[("README.md", "[c](docs/cli.md)\n```sh\nfaultline fly\n```\n"), reference],
            &["knows no command `fly`"],
        );
        finds(
            &[("README.md", "[c](docs/cli.md)\n```sh\nfaultline up examples/x\n```\n"), reference],
            &["`examples/x` does not exist"],
        );
    }

    #[test]
    fn links_lead_somewhere_and_every_document_is_linked() {
        finds(
            &[("README.md", "[a](docs/a.md#part) [b](https://example.org/b)"), ("docs/a.md", "[up](../README.md)")],
            &[],
        );
        finds(&[("README.md", "[a](docs/b.md)")], &["README.md:1: the link to `docs/b.md` leads nowhere"]);
        finds(&[("README.md", ""), ("docs/a.md", "")], &["docs/a.md: link it from README.md"]);
        finds(&[("docs/architecture.md", "[one](adr/0001.md)"), ("docs/adr/0001.md", "")], &[]);
    }

    #[test]
    fn an_invariant_names_a_test_that_exists() {
        let document = ("docs/architecture.md", "**Nothing is lost.** Held by `kafka::adds_up`.\n");
        finds(&[document, ("a/tests/k.rs", "fn adds_up() {}")], &[]);
        finds(&[document], &["docs/architecture.md:1: there is no test `kafka::adds_up`"]);
    }

    #[test]
    fn the_changelog_has_its_form() {
        let good = "# Changelog\n## [Unreleased]\n### Added\n- a\n## [0.1.0] - 2026-11-22\n### Fixed\n";
        finds(&[("CHANGELOG.md", good)], &[]);
        finds(&[("CHANGELOG.md", "# Changes\n## [Unreleased]\n")], &["begin with `# Changelog`"]);
        finds(&[("CHANGELOG.md", "# Changelog\n## [0.1.0] - 2026-11-22\n")], &["first `[Unreleased]`"]);
        finds(&[("CHANGELOG.md", "# Changelog\n## [Unreleased]\n## 0.1\n")], &["CHANGELOG.md:3: `0.1`"]);
        finds(&[("CHANGELOG.md", "# Changelog\n## [Unreleased]\n### News\n")], &["`News` is none of"]);
    }
}

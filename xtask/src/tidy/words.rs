//! Words that must not stand in the repository: they mean something on one machine only.

use super::Finding;
use crate::tree::{File, Tree};

/// Put together from pieces, so that this file may exist.
const FORBIDDEN: [(&str, &str); 8] = [
    (concat!("/wo", "rk/"), "a folder of one machine"),
    (concat!("/ro", "ot/"), "a folder of one machine"),
    (concat!("../sha", "red"), "outside the repository"),
    (concat!("repo.maven.", "apache.org"), "the registry is the business of the client's settings"),
    (concat!("repo1.maven", ".org"), "the registry is the business of the client's settings"),
    (concat!("index.crates", ".io"), "the registry is the business of the client's settings"),
    (concat!("static.crates", ".io"), "the registry is the business of the client's settings"),
    (concat!("proxy.golang", ".org"), "the registry is the business of the client's settings"),
];

/// Checks every text but the lock file, which cargo writes.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().filter(|file| !file.path.ends_with("Cargo.lock")).flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (word, reason) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
            findings.push(Finding::new(&file.path, index + 1, format!("`{word}`: {reason}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_word_is_found_on_its_line() {
        let text = format!("fine\nsee {}design\n", concat!("/wo", "rk/"));
        let findings = check_file(&File { path: "docs/a.md".into(), text });
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().starts_with("docs/a.md:2: "), "{}", findings[0]);
    }

    #[test]
    fn like_words_pass() {
        let text = "a network/folder, home/work, crates.io\n".to_owned();
        assert_eq!(check_file(&File { path: "a.md".into(), text }), []);
    }
}

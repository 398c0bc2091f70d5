//! Writes the files that are made from the code, or checks that what is committed is what the code makes: CRDs and
//! field reference from the types of `crds`, the command-line reference from what `faultline --help` prints.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::tree::{self, Tree};

/// Where the commands of `faultline` are documented.
pub(crate) const COMMAND_LINE_REFERENCE: &str = "docs/cli.md";
/// The folder that the paths of [`faultline_crds::generated`] start from.
const CRDS: &str = "crds";

/// What to do with the generated files.
#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing; fail if a file is stale
    #[arg(long)]
    pub(crate) check: bool,
}

/// Writes or checks.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = tree::root();
    let mut files = from_types();
    files.push((COMMAND_LINE_REFERENCE.to_owned(), command_line_reference(&root)?));
    let stale: Vec<_> = files.iter().filter(|(path, text)| !is_fresh(&root.join(path), text)).collect();
    if options.check {
        let paths = stale.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>().join(", ");
        ensure!(stale.is_empty(), "stale: {paths}; run `cargo xtask gen`");
        return Ok(());
    }
    for (path, text) in stale {
        write(&root.join(path), text)?;
        println!("{path}");
    }
    Ok(())
}

/// Paths of generated files that are not what the types make; the command-line reference is left to [`run`], which
/// has to build the program for it.
pub(crate) fn stale(tree: &Tree) -> Vec<String> {
    let fresh = |path: &str, text: &str| tree.file(path).is_some_and(|file| file.text == text);
    from_types().into_iter().filter(|(path, text)| !fresh(path, text)).map(|(path, _)| path).collect()
}

fn from_types() -> Vec<(String, String)> {
    faultline_crds::generated().into_iter().map(|(path, text)| (format!("{CRDS}/{path}"), text)).collect()
}

fn is_fresh(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|found| found == text)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

/// The help of every command, in the order in which `faultline --help` lists them.
fn command_line_reference(root: &Path) -> Result<String> {
    let program = build_program(root)?;
    let help = |commands: &[&str]| help(&program, commands);
    let overview = help(&[])?;
    let mut text =
        String::from("# The command line\n\nGenerated from `faultline --help` by `cargo xtask gen`. Do not edit.\n");
    section(&mut text, "faultline", 2, &overview);
    for command in commands(&overview) {
        let page = help(&[&command])?;
        section(&mut text, &format!("faultline {command}"), 2, &page);
        for inner in commands(&page) {
            section(&mut text, &format!("faultline {command} {inner}"), 3, &help(&[&command, &inner])?);
        }
    }
    Ok(text)
}

fn section(text: &mut String, title: &str, level: usize, help: &str) {
    let body = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    // Writing to a String cannot fail.
    let _ = write!(text, "\n{} {title}\n\n```text\n{}\n```\n", "#".repeat(level), body.trim());
}

/// The names under `Commands:`, without clap's own `help`.
fn commands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with(' '));
    // Names are indented by two, continued descriptions by more.
    let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// Built with the features of the whole workspace, so that what the tests compile is used.
fn build_program(root: &Path) -> Result<PathBuf> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--workspace", "--bin", "faultline"])
        .current_dir(root)
        .status()
        .context("failed to start cargo")?;
    ensure!(status.success(), "faultline does not build");
    Ok(tree::target_folder().join("release").join("faultline"))
}

fn help(program: &Path, commands: &[&str]) -> Result<String> {
    let output = Command::new(program).args(commands).arg("--help").output().context("failed to start faultline")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`faultline {} --help` failed: {words}", commands.join(" "));
    String::from_utf8(output.stdout).context("the help is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Finds anomalies\n\nUsage: faultline <COMMAND>\n\nCommands:\n  up        Runs a pipeline\n  \
                        validate  Checks,\n            at length\n  help      Print this message\n\nOptions:\n  -h, --help  x\n";

    #[test]
    fn commands_are_read_from_the_help() {
        assert_eq!(commands(HELP), ["up", "validate"]);
        assert_eq!(commands("Usage: faultline up\n\nOptions:\n  -h\n"), [""; 0]);
    }

    #[test]
    fn a_section_holds_the_help_without_trailing_blanks() {
        let mut text = String::new();
        section(&mut text, "faultline up", 2, "Runs  \n\nUsage\n\n");
        assert_eq!(text, "\n## faultline up\n\n```text\nRuns\n\nUsage\n```\n");
    }

    #[test]
    fn a_generated_file_that_differs_is_stale() {
        let files = from_types().into_iter().map(|(path, text)| tree::File { path, text: text + " " }).collect();
        assert_eq!(stale(&Tree { files }).len(), from_types().len());
        let files = from_types().into_iter().map(|(path, text)| tree::File { path, text }).collect();
        assert_eq!(stale(&Tree { files }), [""; 0]);
    }
}

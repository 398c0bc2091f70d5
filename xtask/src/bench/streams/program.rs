//! The Java program: built by Maven when its sources have changed, started with what it works on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::services;
use crate::tree;

/// The heap of a worker that a team would give this workload: a million keys in memory and the cache fit twice. The
/// collector that does the least work per byte; its pauses are short here. Retries are no news, errors are.
const JAVA_OPTIONS: [&str; 4] =
    ["-Xms3g", "-Xmx3g", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"];
const MAIN: &str = "faultline.QuickstartOnStreams";

/// The built program.
pub(crate) struct Program {
    class_path: String,
    /// Settings as `name=value` that are to differ from its own.
    settings: Vec<String>,
}

/// Where it keeps its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    Rocksdb,
}

impl Program {
    /// Builds it, unless that was done with the same sources.
    pub(crate) fn provide(settings: &[String]) -> Result<Self> {
        services::provide_compiler()?;
        let project = tree::root().join("xtask/streams");
        let output = tree::target_folder().join("services/streams");
        let sources = sources(&project)?;
        let stamp = output.join("built-from");
        if !fs::read_to_string(&stamp).is_ok_and(|built| built == sources) {
            build(&project, &output)?;
            fs::write(&stamp, sources).context("failed to note what was built")?;
        }
        let class_path = format!("{}:{}/*", output.join("classes").display(), output.join("libs").display());
        Ok(Self { class_path, settings: settings.to_vec() })
    }

    /// The command that runs it until it is stopped.
    pub(crate) fn command(&self, brokers: &str, input: &str, identity: &str, store: Store, state: &Path) -> Command {
        let store = match store {
            Store::Memory => "memory",
            Store::Rocksdb => "rocksdb",
        };
        let mut java = Command::new("java");
        java.args(JAVA_OPTIONS).args(["-cp", &self.class_path, MAIN, brokers, input, identity, store]).arg(state);
        java.args(&self.settings);
        java
    }
}

/// The text of everything that is built.
fn sources(project: &Path) -> Result<String> {
    let folder = project.join("src/main/java/faultline");
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.push(project.join("pom.xml"));
    files.sort();
    let read = |file: &PathBuf| fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()));
    files.iter().map(read).collect()
}

fn build(project: &Path, output: &Path) -> Result<()> {
    super::progress(&format!("building the program with Maven into {} (once)", output.display()));
    if output.exists() {
        fs::remove_dir_all(output).with_context(|| format!("failed to remove {}", output.display()))?;
    }
    let status = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "compile", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-Doutput={}", output.display()))
        .arg(format!("-DoutputDirectory={}", output.join("libs").display()))
        .current_dir(project)
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .context("failed to run mvn")?;
    ensure!(
        status.success(),
        "Maven could not build xtask/streams ({status}); its words are above. Is the network reachable?"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_the_pom_and_every_class() {
        let sources = sources(&tree::root().join("xtask/streams")).unwrap();
        for piece in ["<artifactId>kafka-streams</artifactId>", "class QuickstartOnStreams", "class KeyState"] {
            assert!(sources.contains(piece), "{piece}");
        }
    }

    #[test]
    fn the_streams_are_of_the_same_kafka_as_the_broker() {
        let pom = fs::read_to_string(tree::root().join("xtask/streams/pom.xml")).unwrap();
        let version = format!("<version>{}</version>", crate::services::kafka::VERSION);
        assert!(pom.contains(&format!("<artifactId>kafka-streams</artifactId>\n      {version}")), "{pom}");
    }
}

//! The programs that services need from the machine, and how to get them.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Uid;

/// A program and the Debian package that holds it.
const NEEDED: [(&str, &str); 2] = [("java", "default-jdk-headless"), ("mvn", "maven")];

/// Makes sure that Java and Maven are there: installs them where we may, else says what is missing.
pub(crate) fn provide() -> Result<()> {
    let missing: Vec<(&str, &str)> = NEEDED.into_iter().filter(|(program, _)| !is_there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs = missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(" and ");
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    if !(Uid::effective().is_root() && is_there("apt-get")) {
        bail!(
            "{programs} not found on the PATH; the tests' Kafka broker comes from Maven and needs Java 17 or later. \
             On Debian or Ubuntu: sudo apt-get install {}; elsewhere: install a JDK (17+) and Apache Maven",
            packages.join(" ")
        );
    }
    eprintln!("{programs} not found: installing {}", packages.join(", "));
    apt(&["update", "--quiet"])?;
    apt(&[&["install", "--yes", "--quiet", "--no-install-recommends"], packages.as_slice()].concat())
}

/// Makes sure that Java, its compiler and Maven are there, as [`provide`] does.
pub(crate) fn provide_compiler() -> Result<()> {
    provide()?;
    ensure!(
        is_there("javac"),
        "javac not found on the PATH: the program on Kafka Streams is compiled here, which takes a JDK (17 or later), \
         not only a Java runtime. On Debian or Ubuntu: sudo apt-get install default-jdk-headless"
    );
    Ok(())
}

/// True if the program can be started.
pub(crate) fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn apt(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status()
        .context("failed to run apt-get")?;
    ensure!(status.success(), "apt-get {} ended with {status}", arguments.join(" "));
    Ok(())
}

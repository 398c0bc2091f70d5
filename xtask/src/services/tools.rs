//! The programs that services and tests need from the machine, and how to get them.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Uid;

/// A program, the Debian package that holds it, and what it is elsewhere.
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
    elsewhere: &'static str,
}

/// For Kafka's broker, which comes from Maven.
pub(crate) const BROKER: [Tool; 2] = [
    Tool { program: "java", package: "default-jdk-headless", elsewhere: "a JDK (17 or later)" },
    Tool { program: "mvn", package: "maven", elsewhere: "Apache Maven" },
];

/// For the tests of the embedded development broker.
pub(crate) const CLIENTS: [Tool; 1] = [Tool { program: "kcat", package: "kcat", elsewhere: "kcat" }];

/// Makes sure that the programs are there: installs them where we may, else says what is missing.
pub(crate) fn provide(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !is_there(tool.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = |of: fn(&Tool) -> &str, and: &str| missing.iter().map(|tool| of(tool)).collect::<Vec<_>>().join(and);
    let (programs, elsewhere) = (list(|tool| tool.program, " and "), list(|tool| tool.elsewhere, " and "));
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    if !(Uid::effective().is_root() && is_there("apt-get")) {
        bail!(
            "{programs} not found on the PATH; the tests need it. On Debian or Ubuntu: sudo apt-get install {}; \
             elsewhere: install {elsewhere}",
            packages.join(" ")
        );
    }
    eprintln!("{programs} not found: installing {}", packages.join(", "));
    apt(&["update", "--quiet"])?;
    apt(&[&["install", "--yes", "--quiet", "--no-install-recommends"], packages.as_slice()].concat())
}

/// Makes sure that Java, its compiler and Maven are there, as [`provide`] does.
pub(crate) fn provide_compiler() -> Result<()> {
    provide(&BROKER)?;
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

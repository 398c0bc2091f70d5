//! The workers: processes of the release binary, started, stopped, killed and held by their ids only.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::services::bound;

/// A status is answered at once, or the worker is held or busy ending.
const ASK: Duration = Duration::from_millis(500);

/// How workers are started.
pub(crate) struct Recipe {
    pub(crate) binary: PathBuf,
    /// Folder of the pipeline; logs are written beside it.
    pub(crate) pipeline: PathBuf,
    pub(crate) brokers: String,
    /// How long the group waits for a silent worker.
    pub(crate) session: Duration,
    /// Set for every worker.
    pub(crate) environment: Vec<(String, String)>,
}

/// What a worker is doing as far as we have told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Working,
    /// Held by SIGSTOP.
    Held,
    /// Asked to leave.
    Leaving,
}

/// One process.
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) standing: Standing,
    child: Child,
    log: PathBuf,
    since: Instant,
}

/// One that has ended without having been killed.
pub(crate) struct Ended {
    pub(crate) number: usize,
    pub(crate) asked: bool,
    pub(crate) status: ExitStatus,
    pub(crate) last_words: String,
}

/// All workers of the pipeline. Dropping it kills them.
pub(crate) struct Crew {
    recipe: Recipe,
    started: usize,
    members: Vec<Worker>,
}

impl Crew {
    /// Nobody yet.
    pub(crate) fn new(recipe: Recipe) -> Self {
        Self { recipe, started: 0, members: Vec::new() }
    }

    /// How long the group waits for a silent worker.
    pub(crate) fn session(&self) -> Duration {
        self.recipe.session
    }

    /// Starts a worker, with fault points if there are any.
    pub(crate) fn start(&mut self, faults: Option<&str>) -> Result<usize> {
        self.started += 1;
        let number = self.started;
        let Recipe { binary, pipeline, brokers, session, environment } = &self.recipe;
        let log = log_of(pipeline, number);
        let file = File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
        let mut command = bound(&binary.to_string_lossy());
        command.arg("worker").arg(pipeline.join("pipeline.yaml")).args(["--brokers", brokers, "--lanes", "2"]);
        command.args(["--clock", "records", "--clock-speed", "0", "--listen", "127.0.0.1:0"]);
        command.args(["--session-timeout", &session.as_secs().to_string()]);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.envs(faults.map(|faults| ("FAULTLINE_FAULTS", faults)));
        command.stdout(file.try_clone().context("failed to share a log")?).stderr(file);
        let child = command.spawn().context("failed to start a worker through setpriv (of util-linux)")?;
        let since = Instant::now();
        self.members.push(Worker { number, standing: Standing::Working, child, log, since });
        Ok(number)
    }

    /// All that a worker, there or not, has said.
    pub(crate) fn log(&self, number: usize) -> String {
        fs::read_to_string(log_of(&self.recipe.pipeline, number)).unwrap_or_default()
    }

    /// Whether a worker, there or not, has said something.
    pub(crate) fn has_said(&self, number: usize, what: &str) -> bool {
        self.log(number).contains(what)
    }

    /// How often the workers, there or not, have said something.
    pub(crate) fn times_said(&self, what: &str) -> usize {
        (1..=self.started).map(|number| self.log(number).matches(what).count()).sum()
    }

    /// The first line of each worker, there or not, that contains one of these words.
    pub(crate) fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let line_of = |number| {
            let log = self.log(number);
            let line = log.lines().find(|line| words.iter().any(|word| line.contains(word)))?;
            Some(format!("worker {number} said: {line}"))
        };
        (1..=self.started).filter_map(line_of).collect()
    }

    /// Numbers of the workers of a standing, the one that has been there for longest first.
    pub(crate) fn of(&self, standing: Standing) -> Vec<usize> {
        self.members.iter().filter(|worker| worker.standing == standing).map(|worker| worker.number).collect()
    }

    /// The one that was started last.
    pub(crate) fn youngest(&self) -> Option<(usize, Duration)> {
        let mut working = self.members.iter().filter(|worker| worker.standing == Standing::Working);
        working.next_back().map(|worker| (worker.number, worker.since.elapsed()))
    }

    /// Processes there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Kills a worker.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(at) = self.members.iter().position(|worker| worker.number == number) {
            self.members.remove(at).end();
        }
    }

    /// Tells a worker something: SIGTERM (once: a second one ends it at once), SIGSTOP or SIGCONT.
    pub(crate) fn tell(&mut self, number: usize, signal: Signal) -> Result<()> {
        let Some(worker) = self.members.iter_mut().find(|worker| worker.number == number) else { return Ok(()) };
        worker.standing = match (worker.standing, signal) {
            // It may be held still: then it leaves once it goes on.
            (Standing::Leaving, Signal::SIGCONT) => Standing::Leaving,
            (Standing::Leaving, _) => return Ok(()),
            (_, Signal::SIGTERM) => Standing::Leaving,
            (_, Signal::SIGSTOP) => Standing::Held,
            _ => Standing::Working,
        };
        kill(Pid::from_raw(worker.child.id() as i32), signal).with_context(|| format!("failed to send {signal}"))
    }

    /// Takes out those that have ended.
    pub(crate) fn ended(&mut self) -> Result<Vec<Ended>> {
        let mut ended = Vec::new();
        let mut at = 0;
        while let Some(worker) = self.members.get_mut(at) {
            match worker.child.try_wait().context("failed to look after a worker")? {
                None => at += 1,
                Some(status) => {
                    let worker = self.members.remove(at);
                    let asked = worker.standing == Standing::Leaving;
                    ended.push(Ended { number: worker.number, asked, status, last_words: last_words(&worker.log) });
                }
            }
        }
        Ok(ended)
    }

    /// What the workers complain about now.
    pub(crate) fn problems(&self) -> Vec<String> {
        let working = self.members.iter().filter(|worker| worker.standing == Standing::Working);
        working
            .flat_map(|worker| {
                let status = worker.status().unwrap_or_default();
                let problems = status["problems"].as_array().cloned().unwrap_or_default();
                problems.into_iter().map(|problem| {
                    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
                    format!("worker {}: {}: {}", worker.number, text("reason"), text("message"))
                })
            })
            .collect()
    }
}

impl Crew {
    /// Writes what every worker says of itself beside its log.
    pub(crate) fn write_statuses(&self) -> Result<()> {
        for worker in &self.members {
            let status = worker.status().map_or("no answer".to_owned(), |status| format!("{status:#}"));
            let path = worker.log.with_extension("status.json");
            fs::write(&path, status).with_context(|| format!("failed to write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Worker {
    /// `GET /status`, once it has said on which port it answers: it finds a free one itself, which nobody can take meanwhile.
    fn status(&self) -> Option<serde_json::Value> {
        let log = fs::read_to_string(&self.log).ok()?;
        let mut stream = TcpStream::connect_timeout(&address_in(&log)?, ASK).ok()?;
        stream.set_read_timeout(Some(ASK)).ok()?;
        stream.write_all(b"GET /status HTTP/1.0\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let body = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        serde_json::from_slice(&answer[body..]).ok()
    }

    fn end(mut self) {
        let _gone_already = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.members.drain(..).for_each(Worker::end);
    }
}

fn address_in(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("serving status and metrics address=")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn log_of(pipeline: &Path, number: usize) -> PathBuf {
    pipeline.join(format!("worker-{number}.log"))
}

fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_stands_in_the_log() {
        let log =
            "2026-11-30T01:00:00Z  INFO faultline::worker: serving status and metrics address=127.0.0.1:4711\nmore";
        assert_eq!(address_in(log), Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
        assert_eq!(address_in("starting"), None);
    }
}

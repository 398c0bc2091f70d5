//! A worker process under test, and what it says.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running worker; it may be held. It is killed when it is dropped.
pub(crate) struct Working {
    child: Child,
    log: PathBuf,
}

impl Working {
    /// Starts it; what it says goes to the log.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Self {
        let child = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { child, log }
    }

    pub(crate) fn signal(&self, name: &str) {
        super::signal(&self.child, name);
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Stops it as a person does; returns what it has said.
    #[track_caller]
    pub(crate) fn stop(mut self) -> String {
        assert!(self.child.try_wait().unwrap().is_none(), "the worker ended by itself: {}", self.log());
        self.signal("-INT");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
        self.log()
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // Ended already, unless the test failed or wants it killed; a held process ends, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

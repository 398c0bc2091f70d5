//! Clocks for the measurements.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// CPU time that the calling thread has used.
pub(crate) fn thread_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).context("failed to read the thread's CPU time")?;
    let micros =
        [usage.user_time(), usage.system_time()].iter().map(|t| t.tv_sec() * 1_000_000 + t.tv_usec()).sum::<i64>();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// CPU time that all threads of a process have used, also those that have ended. In steps of 10 ms.
pub(crate) fn process_cpu(id: u32) -> Result<Duration> {
    cpu_of(&format!("/proc/{id}/stat")).with_context(|| format!("process {id} is gone"))
}

/// CPU time that the threads of a process with one of these names have used, those that are there. In steps of 10 ms.
pub(crate) fn threads_cpu(id: u32, names: &[&str]) -> Result<Duration> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).with_context(|| format!("process {id} is gone"))?;
    let mut sum = Duration::ZERO;
    for thread in threads {
        let folder = thread.context("failed to list the threads of a process")?.path();
        // A thread may end between the two looks.
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        if names.contains(&name.trim_end()) {
            sum += cpu_of(&folder.join("stat").to_string_lossy()).unwrap_or_default();
        }
    }
    Ok(sum)
}

fn cpu_of(path: &str) -> Result<Duration> {
    let stat = fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    let ticks = stat_ticks(&stat).with_context(|| format!("failed to understand {path}"))?;
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Measures two sides, one after the other; they change places from run to run, as whoever comes second finds a broker
/// that is warmer, and busier.
pub(crate) fn in_turns<T>(
    run: usize,
    first: impl FnOnce() -> Result<T>,
    second: impl FnOnce() -> Result<T>,
) -> Result<[T; 2]> {
    if run.is_multiple_of(2) {
        return Ok([first()?, second()?]);
    }
    let second = second()?;
    Ok([first()?, second])
}

/// Fields 14 and 15 (user and system time); the name in field 2 may hold blanks.
fn stat_ticks(stat: &str) -> Option<u64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_blanks_does_not_confuse() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 10";
        assert_eq!(stat_ticks(stat), Some(300));
    }

    #[test]
    fn sides_change_places_and_keep_their_own() {
        for (run, order) in [(0, ["a", "b"]), (1, ["b", "a"]), (2, ["a", "b"])] {
            let went = std::cell::RefCell::new(Vec::new());
            let go = |name: &'static str| {
                went.borrow_mut().push(name);
                Ok(name)
            };
            assert_eq!(in_turns(run, || go("a"), || go("b")).unwrap(), ["a", "b"]);
            assert_eq!(went.into_inner(), order);
        }
    }

    #[test]
    fn our_own_clocks_can_be_read() {
        assert!(thread_cpu().is_ok() && process_cpu(std::process::id()).is_ok());
    }

    #[test]
    fn threads_are_found_by_their_names() {
        let busy = || {
            let began = thread_cpu().unwrap();
            while thread_cpu().unwrap() - began < Duration::from_millis(50) {}
            threads_cpu(std::process::id(), &["busy thread"]).unwrap()
        };
        let thread = std::thread::Builder::new().name("busy thread".to_owned()).spawn(busy).unwrap();
        assert!(thread.join().unwrap() >= Duration::from_millis(20));
        assert_eq!(threads_cpu(std::process::id(), &["nobody"]).unwrap(), Duration::ZERO);
    }
}

//! A broker that has just started compiles its hot code, for minutes, and takes up to a third of a core for it. What is
//! measured meanwhile is the compiler: on two cores it decides who has to wait.

use std::time::Instant;

use anyhow::Result;

use super::measure;
use crate::services::kafka::Kafka;

/// Java's compilers take less than this share of a core once the hot code is compiled.
const QUIET: f64 = 0.04;
/// A broker that still compiles after so many rounds is measured as it is.
const MOST_ROUNDS: usize = 12;
/// Names of Java's compiler threads, as far as the kernel keeps them.
const COMPILERS: [&str; 2] = ["C1 CompilerThre", "C2 CompilerThre"];

/// Lets rounds of work pass that do not count, until the broker has been quiet for a whole one.
pub(crate) fn until_compiled(name: &str, broker: &Kafka, mut round: impl FnMut(usize) -> Result<()>) -> Result<()> {
    for number in 0..MOST_ROUNDS {
        let (began, cpu) = (Instant::now(), measure::threads_cpu(broker.process_id(), &COMPILERS)?);
        round(number)?;
        let cpu = measure::threads_cpu(broker.process_id(), &COMPILERS)?.saturating_sub(cpu);
        let share = cpu.as_secs_f64() / began.elapsed().as_secs_f64();
        eprintln!("{name}: warm-up {}, the broker's compilers took {:.0} % of a core", number + 1, share * 100.0);
        if share < QUIET {
            return Ok(());
        }
    }
    eprintln!("{name}: the broker goes on compiling; its figures are noisy");
    Ok(())
}

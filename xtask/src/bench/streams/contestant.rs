//! Who is measured, and how each is started and cleaned up after.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::program::{Program, Store};
use crate::bench::kafka::{self, Topics};
use crate::bench::pipelines::{self, Names, Variant};
use crate::bench::side::Side;
use crate::tree;

/// One of the programs that do the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// The product with `examples/quickstart`.
    Quickstart,
    /// The yardstick on Kafka Streams.
    Streams(Store),
}

impl Contestant {
    /// In the order in which they take turns.
    pub(crate) const ALL: [Self; 3] = [Self::Quickstart, Self::Streams(Store::Memory), Self::Streams(Store::Rocksdb)];

    /// Its name in figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quickstart => "quickstart",
            Self::Streams(Store::Memory) => "streamsMemory",
            Self::Streams(Store::Rocksdb) => "streamsRocksdb",
        }
    }

    /// The topic that makes its state durable.
    fn state_topic(self, identity: &str) -> String {
        match self {
            Self::Quickstart => format!("{identity}.state"),
            Self::Streams(_) => format!("{identity}-keys-changelog"),
        }
    }
}

/// Everything that a measurement needs.
pub(crate) struct Arena {
    pub(crate) brokers: String,
    pub(crate) topics: Topics,
    /// Folder for what the programs need and say.
    pub(crate) work: PathBuf,
    pub(crate) program: Program,
    pub(crate) runs: usize,
    pub(crate) seed: u64,
}

impl Arena {
    /// Creates the output topics, the same for everybody.
    pub(crate) fn create_outputs(&self, names: &Names, partitions: i32) -> Result<()> {
        names.outputs().iter().try_for_each(|topic| self.topics.create(topic, partitions))
    }

    /// Starts a fresh instance: nothing of an earlier one is left on this machine.
    pub(crate) fn start(&self, contestant: Contestant, names: &Names) -> Result<Side> {
        match contestant {
            Contestant::Quickstart => {
                let folder = pipelines::write(&tree::root(), &self.work, Variant::Quickstart, names)?;
                Side::product(&folder, &self.brokers)
            }
            Contestant::Streams(store) => {
                let state = self.work.join(format!("{}-state", names.identity));
                if state.exists() {
                    fs::remove_dir_all(&state).with_context(|| format!("failed to remove {}", state.display()))?;
                }
                let command = self.program.command(&self.brokers, &names.input, &names.identity, store, &state);
                Side::spawn(command, &self.work.join(format!("{}.log", names.identity)))
            }
        }
    }

    /// Records and transaction markers that it has written to make its state durable.
    pub(crate) fn state_records(&self, contestant: Contestant, names: &Names, partitions: i32) -> Result<u64> {
        kafka::written(&self.brokers, &contestant.state_topic(&names.identity), partitions)
    }

    /// Mean bytes of the records that hold its state, if there are any: the last ones, which are the full ones.
    pub(crate) fn state_bytes(&self, contestant: Contestant, names: &Names, partitions: i32) -> Result<Option<f64>> {
        const LAST: i64 = 20_000;
        if self.state_records(contestant, names, partitions)? == 0 {
            return Ok(None);
        }
        let topic = contestant.state_topic(&names.identity);
        let (key, value) = kafka::mean_record_bytes(&self.brokers, &topic, rdkafka::Offset::OffsetTail(LAST))?;
        Ok(Some(key + value))
    }

    /// Deletes the topics of a measurement and what was left on this machine.
    pub(crate) fn clean_up(&self, contestant: Contestant, names: &Names) -> Result<()> {
        let outputs = names.outputs();
        let mut topics: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let state = contestant.state_topic(&names.identity);
        topics.push(&state);
        self.topics.delete(&topics)?;
        let folder = self.work.join(format!("{}-state", names.identity));
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
        }
        Ok(())
    }
}

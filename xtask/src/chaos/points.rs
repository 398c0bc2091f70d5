//! The worker's fault points, visited one after the other: a worker with one of them armed joins, comes to it, and dies
//! there, is held there, stalls a lane or has a call fail; then the next one joins. The others work on, and take over what
//! it leaves.

use anyhow::Result;
use clap::ValueEnum;
use faultline_numerics::random::Random;

use super::verify::Report;
use super::world::World;

/// How many faults in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Depth {
    /// Each point once
    One,
    /// Every point after every other
    Two,
}

/// Pairs of points in one run: it takes some minutes, then everything is compared.
const PAIRS: usize = 48;

/// A place in the worker, and what happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Point {
    name: &'static str,
    action: &'static str,
    /// It happens at one of so many passings.
    passings: u64,
}

const fn kill(name: &'static str, passings: u64) -> Point {
    Point { name, action: "kill", passings }
}

const fn error(name: &'static str, passings: u64) -> Point {
    Point { name, action: "error", passings }
}

/// The worker is held beyond its session, then goes on.
const fn hold(name: &'static str, passings: u64) -> Point {
    Point { name, action: "stop", passings }
}

/// One lane stands still, beyond what a revocation waits for it, while the worker's heartbeats go on.
const fn stall(name: &'static str, passings: u64) -> Point {
    Point { name, action: "stall:12000", passings }
}

/// All of them: recovery, in its order; a tick, in its order; a revocation.
const POINTS: [Point; 24] = [
    kill("restore-committed", 2),
    kill("restore-state", 2),
    kill("restore-source", 2),
    kill("restore-replay", 1),
    kill("restore-record", 100),
    kill("restore-finished", 2),
    kill("keep", 20),
    kill("image", 3),
    kill("tick", 20),
    kill("begin", 20),
    kill("send", 20),
    kill("drain", 20),
    kill("offsets", 20),
    kill("commit", 20),
    kill("committed", 20),
    kill("revoke", 1),
    hold("tick", 20),
    stall("tick", 20),
    error("begin", 20),
    error("send", 20),
    error("drain", 20),
    error("offsets", 20),
    error("commit", 20),
    error("committed", 20),
];

/// The order in which a seed visits the points, cut into runs. A run begins where the one before it has ended, so that no
/// pair is lost.
pub(crate) fn tours(depth: Depth, seed: u64) -> Vec<Vec<Point>> {
    let tour = tour(depth, &mut random(seed));
    (0..tour.len() - 1).step_by(PAIRS).map(|from| tour[from..tour.len().min(from + PAIRS + 1)].to_vec()).collect()
}

/// Visits one point after the other; those that were not reached are told. Returns what happened, in a few words.
pub(crate) fn visit_all(world: &mut World<'_>, tour: &[Point], seed: u64, report: &mut Report) -> Result<String> {
    let mut random = random(seed);
    for (number, point) in tour.iter().enumerate() {
        let at = 1 + random.below(point.passings);
        let fault = format!("{}={}@{at}", point.name, point.action);
        match world.visit(&fault)? {
            Some(took) => {
                world.log(&format!("{} of {}: {fault} after {} ms", number + 1, tour.len(), took.as_millis()))
            }
            None => report.tell(format!("no worker came to {fault}")),
        }
    }
    Ok(format!("fault points {}", tour.len()))
}

fn random(seed: u64) -> Random {
    Random::seeded(seed ^ 0x0070_6f69_6e74_7300)
}

/// An order in which each point comes once, or in which every two of them, a point and itself too, come in a row.
fn tour(depth: Depth, random: &mut Random) -> Vec<Point> {
    let mut points = POINTS.to_vec();
    for last in (1..points.len()).rev() {
        points.swap(last, random.below(last as u64 + 1) as usize);
    }
    if depth == Depth::One {
        return points;
    }
    // A de Bruijn sequence of order two: every point, twice before each that follows it in the list but once.
    let mut tour = Vec::with_capacity(points.len() * points.len() + 1);
    for (at, first) in points.iter().enumerate() {
        tour.push(*first);
        points[at + 1..].iter().for_each(|second| tour.extend([*first, *second]));
    }
    tour.push(points[0]);
    tour
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};
    use std::path::Path;

    use super::*;
    use crate::tree;

    #[test]
    fn one_deep_comes_to_each_point_once() {
        let tour = tour(Depth::One, &mut Random::seeded(3));
        assert_eq!((tour.len(), tour.iter().collect::<HashSet<_>>().len()), (POINTS.len(), POINTS.len()));
    }

    #[test]
    fn two_deep_comes_to_every_pair_once() {
        let tour = tour(Depth::Two, &mut Random::seeded(3));
        let pairs: HashSet<_> = tour.windows(2).collect();
        assert_eq!((tour.len() - 1, pairs.len()), (POINTS.len().pow(2), POINTS.len().pow(2)));
    }

    #[test]
    fn every_pair_comes_in_one_of_the_runs() {
        let runs = tours(Depth::Two, 3);
        assert_eq!(runs.iter().flat_map(|run| run.windows(2)).collect::<HashSet<_>>().len(), POINTS.len().pow(2));
        assert!(runs.iter().all(|run| (2..=PAIRS + 1).contains(&run.len())));
        assert_eq!(tours(Depth::One, 3).iter().map(Vec::len).collect::<Vec<_>>(), [POINTS.len()]);
    }

    /// Names of the points in the sources of a folder.
    fn points_in(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                points_in(&path, names);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in ["point(\"", "fault(\""] {
                let found = text.split(call).skip(1).filter_map(|rest| rest.split('"').next());
                names.extend(found.map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_fault_point_of_the_worker_is_visited() {
        let mut names = BTreeSet::new();
        points_in(&tree::root().join("worker/src"), &mut names);
        let visited: BTreeSet<String> = POINTS.iter().map(|point| point.name.to_owned()).collect();
        assert_eq!(names, visited);
    }
}

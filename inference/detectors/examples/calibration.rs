#![allow(dead_code, missing_docs, clippy::print_stdout, unreachable_pub)]
#[path = "../../../xtask/src/bench/figure.rs"]
mod figure;
#[path = "../../../xtask/src/bench/calibration.rs"]
mod calibration;
use calibration::{measure, Setting, streams::Stream};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let only = args.get(1).cloned().unwrap_or_default();
    let parts: usize = args.get(2).and_then(|a| a.parse().ok()).unwrap_or(6);
    let seeds: u64 = args.get(3).and_then(|a| a.parse().ok()).unwrap_or(1);
    let events: usize = args.get(4).and_then(|a| a.parse().ok()).unwrap_or(3_000_000);
    for stream in [Stream::Lognormal, Stream::Pareto, Stream::Poisson, Stream::Normal, Stream::Autoregressive, Stream::Seasonal, Stream::Arrivals, Stream::DailyArrivals] {
        if !format!("{stream:?}").contains(&only) { continue; }
        for seed in 1..=seeds {
            for rates in measure(&Setting { stream, events, keys: 10_000, partitions: parts, seed }) {
                println!("{stream:?} seed {seed} parts {parts}: {:16} {:.2} {:.2} {:.2}", rates.name, rates.ratios[0], rates.ratios[1], rates.ratios[2]);
            }
        }
    }
}

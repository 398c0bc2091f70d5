#![allow(dead_code, missing_docs, clippy::print_stdout, unreachable_pub)]
#[path = "../../../xtask/src/bench/calibration.rs"]
mod calibration;
#[path = "../../../xtask/src/bench/figure.rs"]
mod figure;
use calibration::{Setting, measure, streams::Stream};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let only = args.get(1).cloned().unwrap_or_default();
    let parts: usize = args.get(2).and_then(|a| a.parse().ok()).unwrap_or(6);
    let seeds: u64 = args.get(3).and_then(|a| a.parse().ok()).unwrap_or(1);
    let events: usize = args.get(4).and_then(|a| a.parse().ok()).unwrap_or(3_000_000);
    let teaching: usize = args.get(5).and_then(|a| a.parse().ok()).unwrap_or(events / 2);
    for stream in [
        Stream::Lognormal,
        Stream::Pareto,
        Stream::Poisson,
        Stream::Normal,
        Stream::Autoregressive,
        Stream::Seasonal,
        Stream::Arrivals,
        Stream::DailyArrivals,
    ] {
        if !format!("{stream:?}").contains(&only) {
            continue;
        }
        let mut sums: Vec<(&'static str, [f64; 5])> = Vec::new();
        for seed in 1..=seeds {
            for (index, rates) in measure(&Setting { stream, events, teaching, keys: 10_000, partitions: parts, seed })
                .into_iter()
                .enumerate()
            {
                if sums.len() <= index {
                    sums.push((rates.name, [0.0; 5]));
                }
                for level in 0..5 {
                    sums[index].1[level] += rates.ratios[level] / seeds as f64;
                }
            }
        }
        for (name, ratios) in sums {
            println!("{stream:?} {seeds} seeds parts {parts}: {name:16} {ratios:.2?}");
        }
    }
}

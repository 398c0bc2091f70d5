#![allow(dead_code, missing_docs, clippy::print_stdout, unreachable_pub)]
#[path = "../../../xtask/src/bench/calibration.rs"]
mod calibration;
#[path = "../../../xtask/src/bench/detectors.rs"]
mod detectors;
#[path = "../../../xtask/src/bench/figure.rs"]
mod figure;
fn main() {
    detectors::run(3, 1, &mut |figure| {
        println!("{} {:.0} {} ±{:.2}", figure.metric, figure.value, figure.unit, figure.spread)
    });
}

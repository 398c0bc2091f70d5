//! Limits of windows.

use super::Compiler;
use crate::ring::MOST_EVENTS;

/// One pane.
const SHORTEST_WINDOW_MS: i64 = 100;
/// A leap year; longer windows have panes of more than six days.
const LONGEST_WINDOW_MS: i64 = 366 * 86_400_000;

/// Checks a time window.
pub(super) fn check_window(compiler: &mut Compiler<'_>, feature: usize, window_ms: i64) -> bool {
    let fits = (SHORTEST_WINDOW_MS..=LONGEST_WINDOW_MS).contains(&window_ms);
    if !fits {
        let message = format!("a window is {SHORTEST_WINDOW_MS} ms to 366 d long, found {window_ms} ms");
        compiler.problem(feature, "window", message);
    }
    fits
}

/// Checks a number of events.
pub(super) fn check_events(
    compiler: &mut Compiler<'_>,
    feature: usize,
    member: &'static str,
    events: u16,
    least: u16,
) -> bool {
    let fits = (least..=MOST_EVENTS).contains(&events);
    if !fits {
        compiler.problem(feature, member, format!("expected {least} to {MOST_EVENTS} events, found {events}"));
    }
    fits
}

/// Checks a half-life.
pub(super) fn check_half_life(compiler: &mut Compiler<'_>, feature: usize, half_life_ms: i64) -> bool {
    let fits = (1..=LONGEST_WINDOW_MS).contains(&half_life_ms);
    if !fits {
        compiler.problem(feature, "halfLife", format!("a half-life is 1 ms to 366 d long, found {half_life_ms} ms"));
    }
    fits
}

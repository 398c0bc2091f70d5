//! What is on the screen: a progress bar on a terminal, plain lines elsewhere, one JSON object per line for programs.

use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::alerts::Alert;
use super::summary::Summary;
use crate::arguments::OutputFormat;
use crate::replay::BadRow;
use crate::text::{grouped, rounded};

/// Where a run stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Records fed.
    pub(super) sent: u64,
    /// Records with an outcome.
    pub(super) ended: u64,
    /// Records to come, if that is known.
    pub(super) total: Option<u64>,
    /// Records on their way.
    pub(super) lag: u64,
    pub(super) p95_ms: Option<f64>,
    /// Incidents so far.
    pub(super) incidents: u64,
}

/// The screen.
pub(super) struct View {
    kind: Kind,
    shown: Instant,
    rate: Rate,
}

enum Kind {
    Terminal(Option<ProgressBar>),
    Plain,
    Json,
}

/// Records a second, over the last time it was shown.
struct Rate {
    ended: u64,
    at: Instant,
}

impl View {
    pub(super) fn new(output: OutputFormat) -> Self {
        let kind = match output {
            OutputFormat::Json => Kind::Json,
            OutputFormat::Text if stdout().is_terminal() => Kind::Terminal(None),
            OutputFormat::Text => Kind::Plain,
        };
        Self { kind, shown: Instant::now(), rate: Rate { ended: 0, at: Instant::now() } }
    }

    /// Something to know at the start.
    pub(super) fn note(&mut self, text: &str) {
        match self.kind {
            Kind::Json => self.object(&json!({"type": "note", "text": text})),
            _ => self.line(text),
        }
    }

    /// Something that is wrong and may get well again.
    pub(super) fn problem(&mut self, text: &str) {
        match self.kind {
            Kind::Json => self.object(&json!({"type": "problem", "text": text})),
            _ => self.line(&format!("problem: {text}")),
        }
    }

    /// A row that is no event.
    pub(super) fn bad_row(&mut self, row: &BadRow) {
        match self.kind {
            Kind::Json => {
                self.object(&json!({"type": "badRow", "file": row.file, "line": row.line, "reason": row.reason}));
            }
            _ => self.line(&row.to_string()),
        }
    }

    /// An alert; `opens`: the first one of its incident.
    pub(super) fn alert(&mut self, alert: &Alert, opens: bool) {
        match self.kind {
            Kind::Json => {
                // The record itself, with a type in front; one line.
                let members = alert.payload.trim().strip_prefix('{').unwrap_or("}").replace(['\n', '\r'], " ");
                let kind = if opens { "incident" } else { "alert" };
                self.line(&format!("{{\"type\":\"{kind}\",{members}"));
            }
            _ if opens => self.line(&format!("{}  {}", alert.fields.timestamp, alert.fields.summary)),
            _ => {}
        }
    }

    /// Where it stands; shown from time to time.
    pub(super) fn progress(&mut self, progress: &Progress) {
        let every = match self.kind {
            Kind::Terminal(_) => Duration::from_millis(250),
            Kind::Json => Duration::from_secs(1),
            Kind::Plain => Duration::from_secs(5),
        };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let rate = self.rate.since(progress.ended);
        if let Kind::Json = self.kind {
            self.object(&json!({
                "type": "progress", "sent": progress.sent, "ended": progress.ended, "lag": progress.lag,
                "eventsPerSecond": rate.round(), "p95Ms": progress.p95_ms, "incidents": progress.incidents,
            }));
            return;
        }
        let p95 = progress.p95_ms.map_or(String::new(), |ms| format!(" · p95 {ms:.0} ms"));
        let incidents = grouped(progress.incidents);
        let text = format!("{} events/s · lag {}{p95} · {incidents} incidents", rounded(rate), grouped(progress.lag));
        match &mut self.kind {
            Kind::Terminal(bar) => {
                let bar = bar.get_or_insert_with(|| new_bar(progress.total));
                bar.set_position(progress.ended);
                bar.set_message(text);
            }
            _ => self.line(&format!("{} events · {text}", grouped(progress.ended))),
        }
    }

    /// The end.
    pub(super) fn summary(&mut self, summary: &Summary) {
        if let Kind::Terminal(bar) = &mut self.kind
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
        match self.kind {
            Kind::Json => self.object(&summary.json()),
            _ => self.line(&summary.text()),
        }
    }

    fn object(&mut self, object: &Value) {
        self.line(&object.to_string());
    }

    fn line(&mut self, text: &str) {
        match &self.kind {
            Kind::Terminal(Some(bar)) => bar.println(text),
            _ => {
                // A reader that has gone away does not stop the run; the summary's exit code still tells.
                let _ = writeln!(stdout().lock(), "{text}");
            }
        }
    }
}

impl Rate {
    fn since(&mut self, ended: u64) -> f64 {
        let seconds = self.at.elapsed().as_secs_f64().max(1e-3);
        let rate = ended.saturating_sub(self.ended) as f64 / seconds;
        *self = Self { ended, at: Instant::now() };
        rate
    }
}

fn new_bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stdout());
    let template = match total {
        Some(_) => "{bar:30} {human_pos} of {human_len} · {msg}",
        None => "{spinner} {human_pos} events · {msg}",
    };
    // The templates are constant; the default bar shows if one of them were wrong.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

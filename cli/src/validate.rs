//! `faultline validate`: every problem of a folder at once, with file and line.

use std::io::Write;
use std::path::PathBuf;

use faultline_crds::{Problem, load_folder};
use serde_json::{Value, json};

use crate::arguments::OutputFormat;
use crate::failure::Failure;
use crate::pipeline;

/// Checks the objects of a folder, without a cluster.
///
/// Prints every problem with file, line and field: what the API server would refuse, and what the operator would
/// report as Stalled.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  faultline validate examples/quickstart\n  faultline validate . --output json"
)]
pub(crate) struct Arguments {
    /// Folder of the YAML files, or one file
    folder: PathBuf,
    /// What is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let checked = check(arguments);
    let failed = |error: std::io::Error| Failure::of("failed to print", &error);
    let mut out = std::io::stdout().lock();
    match arguments.output {
        OutputFormat::Text => {
            for line in checked.notes.iter().chain(&checked.fine) {
                writeln!(out, "{line}").map_err(failed)?;
            }
        }
        OutputFormat::Json => {
            let problems: Vec<Value> = checked.problems.iter().map(as_json).collect();
            let valid = problems.is_empty();
            let document = json!({"valid": valid, "problems": problems, "notes": checked.notes});
            writeln!(out, "{document}").map_err(failed)?;
        }
    }
    match (checked.problems.is_empty(), arguments.output) {
        (true, _) => Ok(()),
        (false, OutputFormat::Text) => Err(Failure::from(checked.problems)),
        (false, OutputFormat::Json) => Err(Failure::usage(format!("{} problems", checked.problems.len()))),
    }
}

#[derive(Default)]
struct Checked {
    /// A line for each pipeline that can run.
    fine: Vec<String>,
    notes: Vec<String>,
    problems: Vec<Problem>,
}

fn check(arguments: &Arguments) -> Checked {
    let mut checked = Checked::default();
    let folder = match load_folder(&arguments.folder) {
        Ok(folder) => folder,
        Err(problems) => return Checked { problems, ..checked },
    };
    checked.notes.clone_from(&folder.notes);
    for object in &folder.pipelines {
        match pipeline::resolved(object, &folder) {
            Ok(config) => {
                let features = config.plan.columns().len();
                let models: Vec<&str> = config.models.iter().map(|model| model.name.as_str()).collect();
                let text = format!("{}: fine; {features} columns, models {}", config.name, models.join(", "));
                checked.fine.push(text);
                checked.notes.extend(pipeline::cluster_only_note(object));
            }
            Err(problems) => checked.problems.extend(problems),
        }
    }
    // Two pipelines that use the same wrong model report it twice.
    let mut seen: Vec<Problem> = Vec::new();
    checked.problems.retain(|problem| {
        let new = !seen.contains(problem);
        seen.push(problem.clone());
        new
    });
    checked
}

fn as_json(problem: &Problem) -> Value {
    json!({"file": problem.file, "line": problem.line, "path": problem.path, "message": problem.message})
}

//! Files against files: generated files are what the types make, bad objects have the problems written beside them,
//! good ones resolve. `UPDATE_GOLDEN=1 cargo test -p faultline-crds` writes what is compared; look at the difference.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use faultline_crds::{Problem, WorkerConfig, generated, load_folder, resolve};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn compare(path: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, found).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(found, expected, "{} differs", path.display());
}

fn read(path: &Path) -> Result<WorkerConfig, Vec<Problem>> {
    let folder = load_folder(path)?;
    let pipeline = folder.pipeline(None).map_err(|problem| vec![problem])?;
    resolve(pipeline, &folder.models)
}

/// A line each; the place of this crate, which differs from machine to machine, left out.
fn lines(problems: &[Problem]) -> String {
    let lines: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    lines.replace(&format!("{}/", env!("CARGO_MANIFEST_DIR")), "")
}

fn sorted(folder: &str, extension: Option<&str>) -> Vec<PathBuf> {
    let entries = fs::read_dir(here(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().and_then(|e| e.to_str()) == extension).collect();
    paths.sort();
    paths
}

#[test]
fn generated_files_are_what_the_types_make() {
    for (path, text) in generated() {
        compare(&here(&path), &text);
    }
}

#[test]
fn bad_objects_have_the_problems_written_beside_them() {
    let files = sorted("tests/bad", Some("yaml"));
    assert!(files.len() >= 10);
    for file in files {
        let Err(problems) = read(&file) else { panic!("{} resolves", file.display()) };
        compare(&file.with_extension("txt"), &lines(&problems));
    }
}

#[test]
fn good_objects_resolve() {
    let folders = sorted("tests/good", None);
    assert!(folders.len() >= 2);
    for folder in folders {
        let config = read(&folder).unwrap_or_else(|problems| panic!("{}:\n{}", folder.display(), lines(&problems)));
        let columns: Vec<&str> = config.plan.columns().iter().map(|column| column.name.as_str()).collect();
        let models: Vec<String> = config
            .models
            .iter()
            .map(|model| {
                let inputs: Vec<&str> = model.columns.iter().map(|column| columns[*column]).collect();
                format!("{} = {}@{} {} on {inputs:?}", model.name, model.model_ref, model.version, model.revision)
            })
            .collect();
        let text = format!(
            "identity: {}\nkafka: {:#?}\nstart: {:?}\npaths: {:?}\nfields: {:?}\ncolumns: {columns:?}\nmodels: {models:#?}\nseverities: {:?}\ncombine: {:?}\n\
             quiet: {} escalate: {} new keys: {:?}\noutputs: {:#?}\ndelivery: {:?}\nsource: lateness {} skew {} deduplicate {:?} expiry {} keys {}\nannotations: {:?}\n",
            config.identity,
            config.kafka,
            config.source.start_from,
            config.paths.names(),
            config.source.fields.iter().map(|field| field.spec.name.as_str()).collect::<Vec<_>>(),
            config.decision.severities,
            config.decision.combine,
            config.decision.quiet_period_ms,
            config.decision.escalate_by,
            config.decision.new_keys,
            config.outputs,
            config.delivery,
            config.source.allowed_lateness_ms,
            config.source.max_future_skew_ms,
            config.source.deduplicate_ms,
            config.source.key_expiry_ms,
            config.source.max_keys_per_partition,
            config.annotations,
        );
        compare(&folder.join("resolved.txt"), &text);
    }
}

#[test]
fn examples_resolve() {
    let folders = sorted("../examples", None);
    assert!(!folders.is_empty());
    for folder in folders {
        read(&folder).unwrap_or_else(|problems| panic!("{}:\n{}", folder.display(), lines(&problems)));
    }
}

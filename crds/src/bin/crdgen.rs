//! Writes the definitions of our kinds to `deploy/crds`, or with `--check` says whether they are what the types say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bulkhead_crds::kinds::definitions;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

const HEADER: &str = "# Generated from the types in crds/src/kinds by `cargo run -p bulkhead-crds --bin crdgen`. Do not edit.\n";

enum Task {
    Write,
    Check,
}

fn main() -> ExitCode {
    let task = match std::env::args().nth(1).as_deref() {
        None => Task::Write,
        Some("--check") => Task::Check,
        Some(other) => {
            eprintln!("crdgen: unknown argument {other}; it takes --check or nothing");
            return ExitCode::from(2);
        }
    };
    match run(&task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("crdgen: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    for definition in definitions() {
        let path = folder.join(file_name(&definition));
        let text = render(&definition)?;
        match task {
            Task::Write => {
                fs::create_dir_all(&folder).map_err(|error| describe(&folder, &error))?;
                fs::write(&path, text).map_err(|error| describe(&path, &error))?;
            }
            Task::Check => {
                let present = fs::read_to_string(&path).map_err(|error| describe(&path, &error))?;
                if present != text {
                    return Err(format!(
                        "{} is not what the types say; run `cargo run -p bulkhead-crds --bin crdgen`",
                        path.display()
                    ));
                }
            }
        }
    }
    Ok(())
}

fn file_name(definition: &CustomResourceDefinition) -> PathBuf {
    PathBuf::from(format!("{}.yaml", definition.spec.names.plural))
}

fn render(definition: &CustomResourceDefinition) -> Result<String, String> {
    // By way of a JSON value, whose maps are sorted, so that the text is the same every time.
    let value = serde_json::to_value(definition).map_err(|error| error.to_string())?;
    let yaml = serde_saphyr::to_string(&value).map_err(|error| error.to_string())?;
    Ok(format!("{HEADER}{yaml}"))
}

fn describe(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

//! What criterion kept of a run, looked at before the run's own parts are removed: criterion leaves a benchmark
//! out, or a file of it, where it cannot write, and ends as if all were well.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::file_error::FileError;
use crate::record::RunFolder;
use crate::store::read_json;

/// Checks that criterion has every configuration that was measured, with all of its samples.
///
/// # Errors
/// [`FileError`] with the first file that is missing, cut, or of something else.
pub fn check(run: &RunFolder, home: &Path, baseline: &str) -> Result<(), FileError> {
    for id in &run.header().plan.ids {
        if let Some(samples) = run.samples(id)? {
            check_one(&home.join(id).join(baseline), id, samples).map_err(|error| {
                error.with_hint("what was measured is safe: repeat the command to resume")
            })?;
        }
    }
    Ok(())
}

fn check_one(folder: &Path, id: &str, samples: usize) -> Result<(), FileError> {
    #[derive(Deserialize)]
    struct Benchmark {
        full_id: String,
    }
    #[derive(Deserialize)]
    struct Sample {
        iters: Vec<IgnoredAny>,
        times: Vec<IgnoredAny>,
    }
    let path = folder.join("benchmark.json");
    let Benchmark { full_id } = read_json(&path)?;
    if full_id != id {
        return Err(FileError::read(&path, format!("it is of {full_id}, expected {id}")));
    }
    let path = folder.join("sample.json");
    let Sample { iters, times } = read_json(&path)?;
    if [iters.len(), times.len()] != [samples; 2] {
        let cause = format!("{} samples, expected {samples}", times.len().min(iters.len()));
        return Err(FileError::read(&path, cause));
    }
    ["estimates.json", "tukey.json"]
        .iter()
        .try_for_each(|name| read_json::<IgnoredAny>(&folder.join(name)).map(drop))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SOUND: [(&str, &str); 4] = [
        ("benchmark.json", r#"{"full_id":"A/h=1","throughput":{"Elements":5}}"#),
        ("sample.json", r#"{"iters":[1.0,1.0],"times":[3.5,null]}"#),
        ("estimates.json", r#"{"median":{"point_estimate":3.5}}"#),
        ("tukey.json", "[1.0,2.0,3.0,4.0]"),
    ];

    /// What is said of these files where one has another text, or is missing.
    fn said(name: &str, text: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (own, sound) in SOUND {
            let text = if own == name { text } else { Some(sound) };
            if let Some(text) = text {
                fs::write(folder.path().join(own), text).unwrap();
            }
        }
        check_one(folder.path(), "A/h=1", 2)
            .map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_file_of_criterions_that_is_missing_cut_or_of_something_else_is_named() {
        assert_eq!(said("none", None), "");
        for (name, text) in SOUND {
            let missing = said(name, None);
            assert!(missing.contains(name) && missing.contains("No such file"), "{missing}");
            let cut = said(name, Some(&text[..text.len() / 2]));
            assert!(cut.contains(name) && cut.contains("EOF"), "{cut}");
        }
        let other = said("benchmark.json", Some(r#"{"full_id":"A/h=2"}"#));
        assert!(other.contains("it is of A/h=2, expected A/h=1"), "{other}");
        for text in [r#"{"iters":[1.0],"times":[3.5]}"#, r#"{"iters":[1.0,1.0],"times":[3.5]}"#] {
            let few = said("sample.json", Some(text));
            assert!(few.contains("sample.json: 1 samples, expected 2"), "{few}");
        }
    }
}

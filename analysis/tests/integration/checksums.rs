use std::fs;
use std::path::Path;

use alpha_flops::protocol::Profile;
use alpha_flops_analysis::archive;
use alpha_flops_analysis::dataset::Dataset;
use alpha_flops_analysis::run::Run;

use crate::fixtures::runs::write_run;

#[path = "../../../tests/fixtures/flipped_bits.rs"]
mod flipped_bits;
use flipped_bits::check_flips;

fn small_run(folder: &Path) -> Run {
    let launches: Vec<_> = (1..4).map(|ns| vec![1e3 * f64::from(ns); 20]).collect();
    Run::open(&write_run(folder, Profile::Smoke, 1, &launches)).unwrap()
}

#[test]
fn a_flipped_bit_changes_no_dataset_in_parquet_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.parquet");
    small_run(folder.path()).dataset.write(&path).unwrap();
    check_flips(&path, 1500, || Dataset::read(&path).map_err(|error| error.to_string()));
}

#[test]
fn a_flipped_bit_changes_no_record_of_a_run_and_no_archived_environment_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let run = small_run(folder.path());
    let open = || Run::open(&run.path).map_err(|error| error.to_string());
    check_flips(&run.path.join("run.json"), 1000, open);
    let archived = folder.path().join(format!("{}.csv", run.header.run_id));
    run.dataset.write(&archived).unwrap();
    let environment = archived.with_extension("environment.json");
    archive::write_environment(&run.header, &environment).unwrap();
    let read = || archive::read_run(&archived).map_err(|error| error.to_string());
    check_flips(&environment, 500, read);
}

#[test]
fn what_other_programs_took_over_from_a_dataset_is_no_checksum_of_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.parquet");
    let dataset = small_run(folder.path()).dataset;
    dataset.write(&path).unwrap();
    let sealed = fs::read(&path).unwrap();
    let place = sealed.windows(17).position(|bytes| bytes == b"alpha_flops_crc32").unwrap() + 19;
    let digits = place..place + 8;
    // as a program does that keeps the metadata and names itself as the writer
    let writer = digits.end + 3;
    assert_eq!(&sealed[writer..writer + 11], b"alpha-flops");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sealed.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        Dataset::read(&path).map_err(|error| error.to_string())
    };
    let stale = |bytes: &mut Vec<u8>| bytes[digits.clone()].copy_from_slice(b"01234567");
    let error = with(&stale).unwrap_err();
    assert!(error.contains("expected 01234567: it is damaged, or was changed"), "{error}");
    let rewritten = with(&|bytes| {
        stale(bytes);
        bytes[writer..writer + 11].copy_from_slice(b"another one");
    });
    assert_eq!(rewritten.unwrap(), dataset);
}

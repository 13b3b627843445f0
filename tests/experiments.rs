//! The configurations of A–G against Python's ranges and rounding (goldens/experiments.py).

use alpha_flops::experiment::{Experiment, Resolution};

#[test]
fn every_line_has_the_shapes_that_python_computes() {
    let mut lines = vec!["resolution,experiment,series,n,macs,ids_fnv1a".to_owned()];
    for resolution in [Resolution::Full, Resolution::Original] {
        let all: Vec<_> =
            Experiment::all().iter().flat_map(|e| e.configurations(resolution)).collect();
        for line in all.chunk_by(|a, b| (a.experiment, &a.series) == (b.experiment, &b.series)) {
            let macs: u64 = line.iter().map(|c| c.shape.macs().0).sum();
            let ids: String = line.iter().map(|c| c.id() + "\n").collect();
            let (experiment, series, n) = (line[0].experiment, &line[0].series, line.len());
            lines.push(format!(
                "{resolution},{experiment},{series},{n},{macs},{:016x}",
                fnv1a(&ids)
            ));
        }
    }
    let expected: Vec<&str> = include_str!("goldens/experiments.csv").lines().collect();
    assert_eq!(lines, expected);
}

/// FNV-1a, 64 bits: any changed, missing or reordered id changes it.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |value, byte| {
        (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

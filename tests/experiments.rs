//! The configurations of A–G against Python's ranges and rounding (goldens/experiments.py).

use alpha_flops::experiment::{Experiment, Resolution};

#[test]
fn every_line_has_the_shapes_that_python_computes() {
    let mut lines = vec!["resolution,experiment,series,n,macs,weighted_dimensions".to_owned()];
    for resolution in [Resolution::Full, Resolution::Original] {
        let all: Vec<_> =
            Experiment::ALL.iter().flat_map(|e| e.configurations(resolution)).collect();
        for line in all.chunk_by(|a, b| (a.experiment, &a.series) == (b.experiment, &b.series)) {
            let macs: u64 = line.iter().map(|c| c.shape.macs().0).sum();
            let weighted: usize = line
                .iter()
                .enumerate()
                .map(|(index, c)| {
                    let s = c.shape;
                    let spatial = 2 * s.height() + 3 * s.width();
                    let channels = 5 * s.in_channels() + 7 * s.out_channels();
                    (index + 1) * (spatial + channels + 11 * s.kernel())
                })
                .sum();
            let (experiment, series, n) = (line[0].experiment, &line[0].series, line.len());
            lines.push(format!("{resolution},{experiment},{series},{n},{macs},{weighted}"));
        }
    }
    let expected: Vec<&str> = include_str!("goldens/experiments.csv").lines().collect();
    assert_eq!(lines, expected);
}

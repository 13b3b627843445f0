//! Times the CPU backend on the shapes it reads, one JSON line for each line of input, so that
//! `compare_with_pytorch.py` can alternate between this and PyTorch.
//!
//! A line of input is `SHAPE THREADS ALGORITHM LAUNCHES`, as in
//! `h=10_w=10_in=500_out=500_k=3 2 auto 20`.

use std::error::Error;
use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

use alpha_flops::backend::Backend;
use alpha_flops::backend::cpu::{AlgorithmChoice, CpuBackend};
use alpha_flops::shape::ConvShape;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let result = time(&line?)?;
        writeln!(out, "{result}")?;
        out.flush()?;
    }
    Ok(())
}

/// Launches once unmeasured, then as often as asked.
fn time(line: &str) -> Result<serde_json::Value, Box<dyn Error>> {
    let [shape, threads, algorithm, launches] = line.split_whitespace().collect::<Vec<_>>()[..]
    else {
        return Err(format!("`{line}` is not `SHAPE THREADS ALGORITHM LAUNCHES`").into());
    };
    let (shape, threads) = (shape.parse::<ConvShape>()?, threads.parse::<NonZeroUsize>()?);
    let algorithm = algorithm.parse::<AlgorithmChoice>()?;
    let mut backend = CpuBackend::new(threads, algorithm)?;
    let mut prepared = backend.prepare(shape, 1)?;
    prepared.verify()?;
    let mut nanoseconds = Vec::new();
    for _ in 0..launches.parse::<usize>()? {
        let start = Instant::now();
        prepared.launch()?;
        prepared.synchronize()?;
        nanoseconds.push(start.elapsed().as_nanos() as u64);
    }
    Ok(json!({
        "shape": shape.to_string(),
        "algorithm": prepared.algorithm(),
        "workspace_bytes": prepared.workspace_bytes(),
        "nanoseconds": nanoseconds,
    }))
}

//! Times the CPU backend as `compare_with_pytorch.py` asks, so that the two can take turns.
//!
//! It reads lines and answers each with a line of JSON. `SHAPE THREADS ALGORITHM`, as in
//! `h=10_w=10_in=500_out=500_k=3 2 auto`, prepares and verifies a convolution; a number launches it
//! once unmeasured and then that many times.

use std::error::Error;
use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

use alpha_flops::backend::cpu::{AlgorithmChoice, CpuBackend};
use alpha_flops::backend::{Backend, PreparedConv};
use alpha_flops::shape::ConvShape;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut lines = std::io::stdin().lock().lines();
    let mut request = lines.next().transpose()?;
    while let Some(line) = request.take() {
        let (shape, mut backend) = parse(&line)?;
        let mut prepared = backend.prepare(shape, 1)?;
        prepared.verify()?;
        answer(json!({
            "algorithm": prepared.algorithm(),
            "workspace_bytes": prepared.workspace_bytes(),
        }))?;
        for line in lines.by_ref() {
            let line = line?;
            let Ok(launches) = line.parse::<usize>() else {
                request = Some(line);
                break;
            };
            answer(json!({ "nanoseconds": time(prepared.as_mut(), launches)? }))?;
        }
    }
    Ok(())
}

fn parse(line: &str) -> Result<(ConvShape, CpuBackend), Box<dyn Error>> {
    let [shape, threads, algorithm] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err(format!("`{line}` is not `SHAPE THREADS ALGORITHM`").into());
    };
    let threads = threads.parse::<NonZeroUsize>()?;
    let backend = CpuBackend::new(threads, algorithm.parse::<AlgorithmChoice>()?)?;
    Ok((shape.parse()?, backend))
}

fn time(prepared: &mut dyn PreparedConv, launches: usize) -> Result<Vec<u64>, Box<dyn Error>> {
    prepared.launch()?;
    let mut nanoseconds = Vec::with_capacity(launches);
    for _ in 0..launches {
        let start = Instant::now();
        prepared.launch()?;
        prepared.synchronize()?;
        nanoseconds.push(start.elapsed().as_nanos() as u64);
    }
    Ok(nanoseconds)
}

fn answer(value: Value) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

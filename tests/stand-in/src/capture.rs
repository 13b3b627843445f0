//! Launches that are captured instead of run, and replayed.

use crate::convolution::Layout;
use crate::driver::{INVALID_HANDLE, INVALID_VALUE, LAUNCH_FAILED, driver};
use crate::ffi::Out;
use crate::state::State;

/// What a stream is given to do.
#[derive(Clone)]
pub enum Captured {
    /// A plan on a variant pack, both of cuDNN's.
    Execute { plan: u64, pack: u64 },
    /// The values at an address, copied to another layout at another.
    Transform { from: (u64, Layout), to: (u64, Layout) },
    /// The biases at an address, added to the channels at another.
    Add { bias: u64, to: (u64, Layout) },
    /// A byte.
    Fill { to: u64, byte: u8, size: usize },
}

impl Captured {
    pub fn run(self, state: &mut State) -> Result<(), i32> {
        match self {
            Self::Execute { plan, pack } => crate::cudnn::execute(state, plan, pack),
            Self::Transform { from, to } => crate::tensors::transform(state, from, to),
            Self::Add { bias, to } => crate::tensors::add(state, bias, to),
            Self::Fill { to, byte, size } => crate::driver::fill(state, to, byte, size),
        }
    }
}

impl State {
    /// Runs it, unless the stream is captured.
    pub fn launch(&mut self, stream: u64, launch: Captured) -> Result<(), i32> {
        match &mut self.driver.capture {
            Some((captured, launches)) if *captured == stream => {
                launches.push(launch);
                Ok(())
            }
            _ => launch.run(self),
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamBeginCapture_v2(stream: u64, mode: u32) -> i32 {
    driver("cuStreamBeginCapture_v2", |state| {
        state.context()?;
        state.stream(stream)?;
        if mode > 2 || state.driver.capture.is_some() {
            return Err(INVALID_VALUE);
        }
        state.driver.capture = Some((stream, Vec::new()));
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamEndCapture(stream: u64, graph: Out<u64>) -> i32 {
    driver("cuStreamEndCapture", |state| {
        state.context()?;
        let (captured, launches) = state.driver.capture.take().ok_or(INVALID_VALUE)?;
        if captured != stream {
            return Err(INVALID_VALUE);
        }
        let new = state.opaque();
        state.driver.graphs.insert(new, launches);
        graph.put(new, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphInstantiateWithFlags(executable: Out<u64>, graph: u64, _flags: u64) -> i32 {
    driver("cuGraphInstantiateWithFlags", |state| {
        state.context()?;
        let launches = state.driver.graphs.get(&graph).ok_or(INVALID_HANDLE)?.clone();
        let new = state.opaque();
        state.driver.graphs.insert(new, launches);
        executable.put(new, INVALID_VALUE)
    })
}

fn destroy_graph(state: &mut State, graph: u64) -> Result<(), i32> {
    state.has_context()?;
    match state.driver.graphs.remove(&graph) {
        Some(_) => state.context(),
        None => Err(state.not_released(graph, INVALID_HANDLE)),
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphDestroy(graph: u64) -> i32 {
    driver("cuGraphDestroy", |state| destroy_graph(state, graph))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphExecDestroy(executable: u64) -> i32 {
    driver("cuGraphExecDestroy", |state| destroy_graph(state, executable))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphLaunch(executable: u64, stream: u64) -> i32 {
    driver("cuGraphLaunch", |state| {
        state.context()?;
        state.stream(stream)?;
        let launches = state.driver.graphs.get(&executable).ok_or(INVALID_HANDLE)?.clone();
        for launch in launches {
            state.driver.executions += u64::from(matches!(launch, Captured::Execute { .. }));
            launch.run(state).map_err(|_| LAUNCH_FAILED)?;
        }
        Ok(())
    })
}

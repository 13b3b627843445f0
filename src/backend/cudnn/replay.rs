//! A launch that was captured once, and can be replayed: a CUDA graph.

use std::rc::Rc;

use cudarc::driver::sys::{CUgraph, CUgraphExec};

use super::driver::{Context, Stream};
use super::error::GpuError;

/// What `launch` enqueued while it was captured.
pub(super) struct Replay {
    context: Rc<Context>,
    graph: CUgraphExec,
}

impl Replay {
    /// Captures what `launch` enqueues; nothing of it is executed.
    ///
    /// # Errors
    /// [`GpuError`] where the launch fails, or does what cannot be captured.
    pub(super) fn capture(
        context: &Rc<Context>,
        stream: &Stream,
        launch: impl FnOnce() -> Result<(), GpuError>,
    ) -> Result<Self, GpuError> {
        /// Only this thread's calls are held to what may be done meanwhile.
        const THREAD_LOCAL: u32 = 1;
        let functions = &context.functions;
        // SAFETY: the stream lives.
        let status = unsafe { (functions.cuStreamBeginCapture_v2)(stream.raw(), THREAD_LOCAL) };
        context.check("cuStreamBeginCapture_v2", status)?;
        let launched = launch();
        let mut captured: CUgraph = std::ptr::null_mut();
        // SAFETY: the stream lives, and is being captured; the pointer is to a live pointer. The capture is
        // ended whatever became of the launch, so that the stream can be used again.
        let status = unsafe { (functions.cuStreamEndCapture)(stream.raw(), &raw mut captured) };
        // SAFETY: it was captured just now, is not needed any more, and nobody else destroys it.
        let destroy = || unsafe { (functions.cuGraphDestroy)(captured) };
        if let Err(error) = launched.and_then(|()| context.check("cuStreamEndCapture", status)) {
            if !captured.is_null() {
                destroy();
            }
            return Err(error);
        }
        let mut graph: CUgraphExec = std::ptr::null_mut();
        // SAFETY: the pointer is to a live pointer, the graph was captured just now.
        let status =
            unsafe { (functions.cuGraphInstantiateWithFlags)(&raw mut graph, captured, 0) };
        destroy();
        context.check("cuGraphInstantiateWithFlags", status)?;
        Ok(Self { context: Rc::clone(context), graph })
    }

    /// Enqueues it once more.
    pub(super) fn launch(&self, stream: &Stream) -> Result<(), GpuError> {
        // SAFETY: both live, as does what was captured: its owner owns this, too.
        let status = unsafe { (self.context.functions.cuGraphLaunch)(self.graph, stream.raw()) };
        self.context.check("cuGraphLaunch", status)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if !self.context.hangs() {
            // SAFETY: it was instantiated by `capture`, and nobody else destroys it.
            unsafe { (self.context.functions.cuGraphExecDestroy)(self.graph) };
        }
    }
}

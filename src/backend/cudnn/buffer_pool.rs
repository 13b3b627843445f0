//! Device memory that one convolution leaves to the next.
//!
//! Only memory is reused: a graph, its plan and its pack belong to one shape, and a sweep, which
//! reuses memory, measures no shape twice. Handle, stream and events belong to the backend anyway.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::driver::Context;
use super::error::GpuError;
use super::memory::Memory;
use crate::units::Bytes;

/// Left free beside a convolution, for what the driver and cuDNN load at a first launch.
pub(super) const RESERVE: Bytes = Bytes(256 << 20);

/// What memory is for. Each purpose has its own, so that input and weights find their earlier values.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Input,
    Weights,
    Output,
    Workspace,
    Image,
    Bias,
}

/// Memory between convolutions: for each purpose, the largest so far.
#[derive(Default)]
pub(super) struct BufferPool {
    memories: RefCell<[Option<Memory>; 6]>,
    scarce: Cell<bool>,
}

impl BufferPool {
    pub(super) fn bytes(&self) -> Bytes {
        let memories = self.memories.borrow();
        Bytes(memories.iter().flatten().map(|memory| memory.bytes().0).sum())
    }

    /// Memory of at least this size: what was put back for the purpose if it suffices, else new.
    pub(super) fn take(
        &self,
        context: &Rc<Context>,
        purpose: Purpose,
        bytes: Bytes,
    ) -> Result<Memory, GpuError> {
        let pooled = self.memories.borrow_mut()[purpose as usize].take();
        // what is too small is freed before: there are never both
        if let Some(memory) = pooled.filter(|memory| memory.bytes() >= bytes) {
            return Ok(memory);
        }
        let memory = Memory::new(context, bytes);
        let scarce = match &memory {
            Ok(_) => context.free_memory().is_ok_and(|free| free < RESERVE),
            Err(error) => error.is_out_of_memory(),
        };
        self.scarce.set(self.scarce.get() || scarce);
        memory
    }

    pub(super) fn put(&self, purpose: Purpose, memory: Memory) {
        self.memories.borrow_mut()[purpose as usize] = Some(memory);
    }

    /// Whether, since it was last asked, memory was refused or became less than [`RESERVE`].
    pub(super) fn was_scarce(&self) -> bool {
        self.scarce.take()
    }

    pub(super) fn free(&self) {
        self.memories.take();
    }
}

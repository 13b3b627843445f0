//! A gate that holds a stream back until a launch and the events around it are all queued. Then nothing
//! between the events waits for the host, and the time between them is the device's own.
//!
//! The stream waits for a word in the host's memory, which the host writes once everything is queued. Two
//! things must never be: that a stream is left waiting, and that a launch which waits for the stream waits
//! for ever. So the word is written whatever happens in between, and a thread of its own writes it if the
//! host is stuck. A plan's first launch must not be held: the driver may load its kernels then, for which it
//! waits for the device.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cudarc::driver::sys::CUdeviceptr;

use super::driver::{Context, Stream};
use super::error::GpuError;
use super::memory::HostMemory;
use crate::units::Bytes;

/// So long a stream is held at most: queueing takes microseconds.
const LONGEST: Duration = Duration::from_secs(1);

/// So often launches may be stuck before none is tried any more.
const MOST_STUCK: u32 = 3;

/// How often the watchdog looks.
const WATCH: Duration = Duration::from_millis(50);

/// A word for which a stream can wait.
pub(super) struct Gate {
    word: Arc<Word>,
    /// Where the device sees the word.
    address: CUdeviceptr,
    last: Cell<u32>,
    /// How often the watchdog had to let the stream go.
    stuck: Cell<u32>,
    watchdog: Option<JoinHandle<()>>,
    /// What the word is in: freed last.
    _memory: HostMemory,
}

/// The word, and what the watchdog knows.
struct Word {
    pointer: NonNull<AtomicU32>,
    begun: Instant,
    /// What the stream waits for; 0 where it waits for nothing.
    held: AtomicU32,
    /// Since when, in milliseconds since the beginning.
    since_ms: AtomicU64,
    ended: AtomicBool,
}

// SAFETY: the pointer is to an atomic in memory that the gate frees after its watchdog has ended.
unsafe impl Send for Word {}
// SAFETY: as above.
unsafe impl Sync for Word {}

/// A stream that is held, until this is dropped.
pub(super) struct Held<'g> {
    gate: &'g Gate,
    value: u32,
}

impl Gate {
    /// A gate that has held a stream once and let it go.
    ///
    /// # Errors
    /// [`GpuError`] where the driver cannot do that.
    pub(super) fn open(context: &Rc<Context>) -> Result<Self, GpuError> {
        let memory = HostMemory::new(context, Bytes(size_of::<AtomicU32>() as u64))?;
        let address = memory.device_address()?;
        let pointer = memory.pointer().cast::<AtomicU32>();
        // SAFETY: as long as an atomic, aligned to a page, and nobody else uses it yet.
        unsafe { pointer.write(AtomicU32::new(0)) };
        let word = Arc::new(Word {
            pointer,
            begun: Instant::now(),
            held: AtomicU32::new(0),
            since_ms: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let watched = Arc::clone(&word);
        let watchdog = std::thread::Builder::new().name("gate".to_owned());
        let watchdog = watchdog.spawn(move || watched.watch());
        let watchdog = Some(
            watchdog.map_err(|error| GpuError::NoWatchdog { reason: error.to_string().into() })?,
        );
        let (last, stuck) = (Cell::new(0), Cell::new(0));
        let gate = Self { word, address, last, stuck, watchdog, _memory: memory };
        // of its own: should it wait for ever after all, nothing else does
        let stream = Stream::new(context, LONGEST)?;
        gate.hold(&stream)?.release()?;
        if !stream.is_done_in_time()? {
            // releasing either would wait, too
            std::mem::forget((stream, gate));
            return Err(GpuError::Stuck { after: LONGEST });
        }
        Ok(gate)
    }

    /// Has the stream wait until what is returned is released or dropped.
    pub(super) fn hold(&self, stream: &Stream) -> Result<Held<'_>, GpuError> {
        if self.stuck.get() >= MOST_STUCK {
            return Err(GpuError::Stuck { after: LONGEST });
        }
        let value = self.last.get().wrapping_add(1).max(1);
        self.last.set(value);
        let word = &*self.word;
        word.since_ms.store(word.now_ms(), Ordering::Relaxed);
        word.held.store(value, Ordering::Release);
        // let go whatever becomes of the call
        let held = Held { gate: self, value };
        stream.wait_for(self.address, value)?;
        Ok(held)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.word.ended.store(true, Ordering::Relaxed);
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.thread().unpark();
            // it cannot panic
            let _ = watchdog.join();
        }
    }
}

impl Word {
    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn value(&self) -> &AtomicU32 {
        // SAFETY: the memory lives as long as the gate, which ends its watchdog before it frees it.
        unsafe { self.pointer.as_ref() }
    }

    fn watch(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::park_timeout(WATCH);
            let held = self.held.load(Ordering::Acquire);
            let since_ms = self.since_ms.load(Ordering::Relaxed);
            if held != 0 && self.now_ms().saturating_sub(since_ms) > LONGEST.as_millis() as u64 {
                // not over a later value, for which the stream may wait by now
                let before = held.wrapping_sub(1);
                let order = (Ordering::AcqRel, Ordering::Relaxed);
                let _ = self.value().compare_exchange(before, held, order.0, order.1);
            }
        }
    }
}

impl Held<'_> {
    /// Lets the stream go.
    ///
    /// # Errors
    /// [`GpuError::Stuck`] where it was held for so long that the watchdog had to.
    pub(super) fn release(self) -> Result<(), GpuError> {
        let was_stuck = self.let_go();
        // it is let go
        std::mem::forget(self);
        if was_stuck { Err(GpuError::Stuck { after: LONGEST }) } else { Ok(()) }
    }

    /// Whether the watchdog had let it go.
    fn let_go(&self) -> bool {
        let Self { gate, value } = self;
        let was_stuck = gate.word.value().swap(*value, Ordering::AcqRel) == *value;
        gate.word.held.store(0, Ordering::Release);
        gate.stuck.set(gate.stuck.get() + u32::from(was_stuck));
        was_stuck
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}

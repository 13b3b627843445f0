//! Device memory, which is the host's, and the convolutions whose output nobody has read yet.

use std::alloc::{Layout as BlockLayout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::convolution::{Convolution, Layout};

/// The driver aligns allocations so.
const ALIGNMENT: usize = 256;

/// So many bytes of a new allocation are NaN, like the garbage of a real one and unlike zeros.
/// No more, so that the pages of large allocations exist only where they are used.
const POISONED: usize = 16 << 20;

/// Bytes from the host's allocator, so that valgrind and AddressSanitizer watch them too.
struct Block {
    start: *mut u8,
    layout: BlockLayout,
}

// SAFETY: a block owns its bytes, and all access to them is behind the one lock of the state
unsafe impl Send for Block {}
// SAFETY: as above
unsafe impl Sync for Block {}

impl Block {
    fn new(size: usize) -> Option<Self> {
        let layout = BlockLayout::from_size_align(size, ALIGNMENT).ok()?;
        // SAFETY: the layout's size is not zero: `Memory::allocate` refuses that
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return None;
        }
        // SAFETY: within the allocation just made
        unsafe { start.write_bytes(0xff, size.min(POISONED)) };
        Some(Self { start, layout })
    }

    fn address(&self) -> u64 {
        self.start as u64
    }

    fn range(&self) -> Range<u64> {
        self.address()..self.address() + self.layout.size() as u64
    }

    /// The `count` values at `address`, which lie inside.
    fn values(&self, address: u64, count: usize) -> &[f32] {
        let offset = (address - self.address()) as usize;
        assert!(
            offset + count * size_of::<f32>() <= self.layout.size() && address.is_multiple_of(4)
        );
        // SAFETY: inside, aligned, initialised from the start on; writers hold the state's lock,
        // as whoever calls this, and write to no convolution's sources while they are borrowed
        unsafe { std::slice::from_raw_parts(self.start.add(offset).cast(), count) }
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        let offset = (address - self.address()) as usize;
        assert!(offset + bytes.len() <= self.layout.size());
        // SAFETY: inside; nobody borrows what is written (see `values`)
        unsafe { self.start.add(offset).copy_from(bytes.as_ptr(), bytes.len()) };
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout
        unsafe { dealloc(self.start, self.layout) };
    }
}

/// Values that a pending convolution will read, as they were when it was launched.
struct Source {
    address: u64,
    count: usize,
    /// Kept when the client frees it, since a launch that came before reads what was there.
    block: Arc<Block>,
    /// Taken before the client overwrites them.
    copy: Option<Vec<f32>>,
}

impl Source {
    fn values(&self) -> &[f32] {
        self.copy.as_deref().unwrap_or_else(|| self.block.values(self.address, self.count))
    }

    /// The memory that is read, which matters while it is not copied.
    fn range(&self) -> Range<u64> {
        if self.copy.is_some() { 0..0 } else { bytes(self.address, self.count) }
    }
}

/// A launched convolution: what of its output is not overwritten is computed where it is read.
struct Pending {
    convolution: Convolution,
    input: Source,
    weights: Source,
    /// Added to each channel, one after the other.
    biases: Vec<Vec<f32>>,
    output: Range<u64>,
    /// What of the output is not overwritten: whole elements.
    left: Range<u64>,
    block: Arc<Block>,
}

impl Pending {
    /// Computes the elements of the output that lie in `range` or reach into it.
    fn compute(&self, range: &Range<u64>) {
        let size = size_of::<f32>() as u64;
        let offset = |address: u64| address.saturating_sub(self.output.start);
        let first = offset(range.start.max(self.left.start)) / size;
        let last = offset(range.end.min(self.left.end)).div_ceil(size);
        for offset in first..last {
            if let Some(position) = self.convolution.output.position(offset as usize) {
                let (input, weights) = (self.input.values(), self.weights.values());
                let sum = self.convolution.value(input, weights, position);
                let value = self.biases.iter().fold(sum, |value, bias| value + bias[position[1]]);
                self.block.write(self.output.start + offset * size, &value.to_ne_bytes());
            }
        }
    }

    /// Forgets what is overwritten, where that is at one end of what is left: memory that is used
    /// again gets smaller outputs after larger ones. Whether anything is left.
    fn forget(&mut self, range: &Range<u64>) -> bool {
        let left = &mut self.left;
        let is_element = |address: u64| address.abs_diff(self.output.start).is_multiple_of(4);
        let (start, end) = (range.start.max(left.start), range.end.min(left.end));
        if start < end && start == left.start && is_element(end) {
            left.start = end;
        } else if start < end && end == left.end && is_element(start) {
            left.end = start;
        }
        left.start < left.end
    }
}

fn bytes(address: u64, count: usize) -> Range<u64> {
    address..address + (count * size_of::<f32>()) as u64
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn covers(outer: &Range<u64>, inner: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Why an access is refused.
#[derive(Debug, PartialEq)]
pub enum Refused {
    /// Something was there, but is freed.
    Freed,
    /// Not inside one allocation.
    Outside,
}

/// All allocations and pending convolutions.
#[derive(Default)]
pub struct Memory {
    allocations: BTreeMap<u64, Arc<Block>>,
    freed: BTreeMap<u64, u64>,
    pending: Vec<Pending>,
    pub bytes: u64,
    pub peak_bytes: u64,
}

impl Memory {
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// `None` if `size` is zero or the host has no more either.
    pub fn allocate(&mut self, size: u64) -> Option<u64> {
        let size_here = usize::try_from(size).ok().filter(|size| *size > 0)?;
        let block = Block::new(size_here)?;
        let range = block.range();
        self.freed.retain(|start, end| !overlap(&(*start..*end), &range));
        self.allocations.insert(range.start, Arc::new(block));
        self.bytes += size;
        self.peak_bytes = self.peak_bytes.max(self.bytes);
        Some(range.start)
    }

    /// `address` must be where an allocation starts.
    pub fn free(&mut self, address: u64) -> Result<(), Refused> {
        let Some(block) = self.allocations.remove(&address) else {
            return Err(self.refusal(address));
        };
        let range = block.range();
        self.pending.retain(|pending| !overlap(&pending.output, &range));
        self.freed.insert(range.start, range.end);
        self.bytes -= range.end - range.start;
        Ok(())
    }

    /// Whether all `size` bytes at `address` lie inside one allocation.
    pub fn check(&self, address: u64, size: u64) -> Result<(), Refused> {
        self.find(address, size).map(drop)
    }

    /// What is there, of which pending convolutions are computed as far as it is read.
    pub fn read(&self, address: u64, size: u64) -> Result<*const u8, Refused> {
        let block = self.find(address, size)?;
        let range = address..address + size;
        for pending in self.pending.iter().filter(|pending| overlap(&pending.left, &range)) {
            pending.compute(&range);
        }
        Ok(block.start.wrapping_add((address - block.address()) as usize))
    }

    /// Where to write: pending convolutions then no longer read what is there, nor write to it.
    pub fn write(&mut self, address: u64, size: u64) -> Result<*mut u8, Refused> {
        let block = self.find(address, size)?;
        let start = block.start.wrapping_add((address - block.address()) as usize);
        self.overwrites(&(address..address + size), true);
        Ok(start)
    }

    /// Enters a convolution whose tensors have been checked to lie in allocations.
    pub fn launch(
        &mut self,
        convolution: Convolution,
        [input, weights, output]: [u64; 3],
    ) -> Result<(), Refused> {
        let layouts = [&convolution.input, &convolution.weights, &convolution.output];
        let [input_len, weights_len, output_len] =
            layouts.map(|layout| layout.span().unwrap_or(usize::MAX / 8));
        let source = |address, count| {
            let range = bytes(address, count);
            // the output of an earlier launch: with chains of them, laziness would not pay
            self.read(address, range.end - range.start)?;
            let block = self.find(address, range.end - range.start)?.clone();
            let copy = overlap(&range, &bytes(output, output_len))
                .then(|| block.values(address, count).to_vec());
            Ok(Source { address, count, block, copy })
        };
        let (input, weights) = (source(input, input_len)?, source(weights, weights_len)?);
        let range = bytes(output, output_len);
        let block = self.find(output, range.end - range.start)?.clone();
        // gaps in the output keep what an earlier launch has to write there
        let dense = convolution.output.sizes.iter().product::<usize>() == output_len;
        self.overwrites(&range, dense);
        let (output, left) = (range.clone(), range);
        let biases = Vec::new();
        self.pending.push(Pending { convolution, input, weights, biases, output, left, block });
        Ok(())
    }

    /// Adds biases to the channels of an output that was just launched; whether there is one.
    pub fn add_bias(&mut self, address: u64, layout: &Layout, bias: Vec<f32>) -> bool {
        let is_whole = |pending: &&mut Pending| {
            pending.output.start == address
                && pending.left == pending.output
                && pending.convolution.output == *layout
        };
        let pending = self.pending.iter_mut().rev().find(is_whole);
        pending.map(|pending| pending.biases.push(bias)).is_some()
    }

    /// The values there, of which pending convolutions are computed.
    pub fn values(&self, address: u64, count: usize) -> Result<Vec<f32>, Refused> {
        let range = bytes(address, count);
        self.read(address, range.end - range.start)?;
        Ok(self.find(address, range.end - range.start)?.values(address, count).to_vec())
    }

    /// Writes values, each so many elements behind the first.
    pub fn scatter(
        &mut self,
        address: u64,
        span: usize,
        values: impl Iterator<Item = (usize, f32)>,
    ) -> Result<(), Refused> {
        let range = bytes(address, span);
        self.write(address, range.end - range.start)?;
        let block = self.find(address, range.end - range.start)?;
        for (offset, value) in values {
            block.write(address + (offset * size_of::<f32>()) as u64, &value.to_ne_bytes());
        }
        Ok(())
    }

    /// Prepares for `range` to be written, `all` of it or only some.
    fn overwrites(&mut self, range: &Range<u64>, all: bool) {
        self.pending.retain_mut(|pending| !all || pending.forget(range));
        let (lost, mut kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| overlap(&pending.left, range));
        // what is written reaches into their outputs: they must be there before
        lost.iter().for_each(|pending| pending.compute(&pending.left));
        for pending in &mut kept {
            for source in [&mut pending.input, &mut pending.weights] {
                if overlap(&source.range(), range) {
                    source.copy = Some(source.values().to_vec());
                }
            }
        }
        self.pending = kept;
    }

    fn find(&self, address: u64, size: u64) -> Result<&Arc<Block>, Refused> {
        let end = address.checked_add(size).ok_or(Refused::Outside)?;
        self.allocations
            .range(..=address)
            .next_back()
            .map(|(_, block)| block)
            .filter(|block| covers(&block.range(), &(address..end)))
            .ok_or_else(|| self.refusal(address))
    }

    fn refusal(&self, address: u64) -> Refused {
        let before = self.freed.range(..=address).next_back();
        if before.is_some_and(|(_, end)| address < *end) {
            Refused::Freed
        } else {
            Refused::Outside
        }
    }
}

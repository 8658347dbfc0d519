//! Tables of tensors, as the entries of the PTX take them, and the ring of memory they travel through.
//!
//! ```text
//! operands  [tensors][inputs, then outputs]   device addresses
//! scalars   [tensors][scalars]                words, f64 for a map
//! dims      [tensors][2]
//! starts    [tensors + 1]                     work items before each tensor, and in all
//! ```
//!
//! All tables of one run are written to pinned memory and sent with one copy, which no host thread waits for. A slot of
//! the ring is written again once the device is past what was launched with it.

use super::device::{Buffer, Device, Mark, Pinned};
use super::driver::{Address, Function, Launch};
use super::error::CudaError;

/// Where a table lies among the words of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table {
    /// Its first word.
    pub(crate) at: usize,
    /// Tensors it has room for.
    pub(crate) lines: usize,
    /// Operands of a tensor.
    pub(crate) operands: usize,
    /// Scalars of a tensor.
    pub(crate) scalars: usize,
}

/// How much of a table is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    tensors: u32,
    items: u64,
}

impl Table {
    /// Behind the tables made so far, whose words `end` counts.
    pub(crate) fn new(end: &mut usize, lines: usize, operands: usize, scalars: usize) -> Table {
        let table = Table {
            at: *end,
            lines,
            operands,
            scalars,
        };
        *end = table.words();
        table
    }

    /// Words up to its end.
    pub(crate) fn words(&self) -> usize {
        self.starts() + self.lines + 1
    }

    fn scalars_at(&self) -> usize {
        self.at + self.lines * self.operands
    }

    fn dims(&self) -> usize {
        self.scalars_at() + self.lines * self.scalars
    }

    fn starts(&self) -> usize {
        self.dims() + 2 * self.lines
    }

    /// Starts to fill the table.
    pub(crate) fn writer<'a>(&self, words: &'a mut [u64]) -> Writer<'a> {
        words[self.starts()] = 0;
        Writer {
            table: *self,
            words,
            filled: Filled::default(),
        }
    }

    /// The launch of a filled table that was sent to `base`; none if there is nothing to do.
    pub(crate) fn launch(
        &self,
        function: Function,
        filled: Filled,
        base: Address,
    ) -> Option<Launch> {
        let starts = [self.at, self.scalars_at(), self.dims(), self.starts()];
        // More items than blocks can be counted are taken in turn.
        let blocks = filled.items.min(i32::MAX as u64) as u32;
        (blocks > 0).then_some(Launch {
            function,
            blocks,
            tables: starts.map(|word| base + 8 * word as u64),
            tensors: filled.tensors,
        })
    }
}

/// A table being filled, a tensor at a time.
pub(crate) struct Writer<'a> {
    table: Table,
    words: &'a mut [u64],
    filled: Filled,
}

impl Writer<'_> {
    /// Adds a tensor with so many work items.
    pub(crate) fn line(
        &mut self,
        operands: impl Iterator<Item = Address>,
        scalars: impl Iterator<Item = u64>,
        dims: [u64; 2],
        items: u64,
    ) {
        let (table, n) = (self.table, self.filled.tensors as usize);
        self.put(table.at + n * table.operands, operands);
        self.put(table.scalars_at() + n * table.scalars, scalars);
        self.put(table.dims() + 2 * n, dims.into_iter());
        self.filled.tensors += 1;
        self.filled.items += items;
        self.words[table.starts() + n + 1] = self.filled.items;
    }

    fn put(&mut self, at: usize, values: impl Iterator<Item = u64>) {
        self.words[at..]
            .iter_mut()
            .zip(values)
            .for_each(|(word, value)| *word = value);
    }

    pub(crate) fn finish(self) -> Filled {
        self.filled
    }
}

/// Slots of pinned memory, and the device's copy of the one in use.
#[derive(Debug)]
pub(crate) struct Ring {
    device: Device,
    slots: Vec<Slot>,
    /// The slot in use, or used last.
    current: usize,
    tables: Buffer,
}

#[derive(Debug)]
struct Slot {
    memory: Pinned,
    /// Behind the launches that read it.
    done: Mark,
}

impl Ring {
    /// Runs that a host thread may be ahead of its device.
    const SLOTS: usize = 8;

    /// Room for runs of that many words.
    pub(crate) fn new(device: &Device, words: usize) -> Result<Ring, CudaError> {
        let slot = |_| {
            Ok(Slot {
                memory: device.pinned(words)?,
                done: device.event()?,
            })
        };
        Ok(Ring {
            device: device.clone(),
            slots: (0..Ring::SLOTS)
                .map(slot)
                .collect::<Result<Vec<Slot>, CudaError>>()?,
            current: 0,
            tables: device.allocate(8 * words as u64)?,
        })
    }

    /// Fills the next slot with `write` and sends its first `words` words; then `launch` runs what reads them, given
    /// their place on the device. What `write` returns is handed on.
    pub(crate) fn run<T>(
        &mut self,
        words: usize,
        write: impl FnOnce(&mut [u64]) -> T,
        launch: impl FnOnce(T, Address) -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let _entered = self.device.enter()?;
        self.current = (self.current + 1) % self.slots.len();
        let slot = &mut self.slots[self.current];
        slot.done.wait()?;
        let written = write(slot.memory.words());
        let (to, bytes, stream) = (
            self.tables.address(),
            8 * words as u64,
            self.device.stream(),
        );
        // SAFETY: slot and buffer hold the words; the slot is not written before its mark is reached, and earlier
        // launches that read the buffer come before this copy in the stream.
        unsafe {
            self.device
                .api()
                .upload(to, slot.memory.as_ptr(), bytes, stream)?
        };
        let launched = launch(written, to);
        slot.done.set().and(launched)
    }

    /// Goes over to another stream, which first waits for all that was asked on this one.
    pub(crate) fn change_stream(&self, stream: super::Stream) -> Result<(), CudaError> {
        let _entered = self.device.enter()?;
        self.device.set_stream(stream);
        self.slots[self.current].done.follow()
    }
}

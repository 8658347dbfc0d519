//! Looks for NaN and infinities in the gradients of a device.
//!
//! A kernel adds `0 · x` over each gradient, and one number per parameter is read back: 0, or NaN if any element is
//! not finite. It costs one more pass over the gradients and a wait for the device, in every step.

use super::super::Param;
use super::program::Lack;
use crate::cuda::device::{Device, Pinned};
use crate::cuda::driver::Function;
use crate::cuda::entries::{Entries, Entry};
use crate::cuda::table::{Filled, Ring, Table};
use crate::cuda::{Buffer, CudaError};
use optc_core::dtype::DType;
use optc_core::kernel::{CHUNK, Fold};
use optc_core::kernel_support::zero_or_nan;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// The tables of the look.
#[derive(Debug)]
pub(super) struct Scan {
    /// One for each dtype of gradients.
    looks: Vec<Look>,
    sums: Function,
    totals: Table,
    words: usize,
    members: Vec<Member>,
    /// Partial sums, then a total for each member.
    memory: Buffer,
    totals_at: u64,
    /// The totals as read back.
    read: Pinned,
}

#[derive(Debug)]
struct Look {
    dtype: DType,
    function: Function,
    table: Table,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    param: usize,
    /// Where its partial sums begin.
    partial: u64,
    chunks: u64,
}

impl Scan {
    pub(super) fn new(
        device: &Device,
        entries: &Entries,
        params: &[Param],
        on_device: &[usize],
    ) -> Result<Scan, Lack> {
        let first = on_device.first().copied().unwrap_or(0);
        let mut totals_at = 0;
        let member = |&param: &usize| {
            let (partial, chunks) = (totals_at, params[param].elements().div_ceil(CHUNK));
            totals_at += 8 * chunks;
            Member {
                param,
                partial,
                chunks,
            }
        };
        let members: Vec<Member> = on_device.iter().map(member).collect();
        let mut words = 0;
        let looks = looks(entries, params, on_device, &mut words)?;
        let totals = Table::new(&mut words, members.len(), 2, 0);
        let sums = entries
            .find(Entry::Totals(Fold::Sum, DType::F64))
            .map_err(|lack| (first, lack))?;
        let memory = device.zeroed(totals_at + 8 * members.len() as u64);
        let memory = memory.map_err(|error| (first, error.into()))?;
        let read = device
            .pinned(members.len())
            .map_err(|error| (first, error.into()))?;
        Ok(Scan {
            looks,
            sums,
            totals,
            words,
            members,
            memory,
            totals_at,
            read,
        })
    }

    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Marks active parameters whose gradient is not finite.
    pub(super) fn run(
        &mut self,
        ring: &mut Ring,
        device: &Device,
        params: &[Param],
    ) -> Result<(), CudaError> {
        for look in &self.looks {
            let write = |words: &mut [u64]| self.write_look(look, words, params);
            ring.run(self.words, write, |filled, base| {
                launch(device, &look.table, look.function, filled, base)
            })?;
        }
        let write = |words: &mut [u64]| self.write_totals(words, params);
        ring.run(self.words, write, |filled, base| {
            launch(device, &self.totals, self.sums, filled, base)
        })?;
        // SAFETY: the totals lie at the end of the memory, a word each.
        unsafe { self.read.download(self.memory.address() + self.totals_at)? };
        for (member, total) in self.members.iter().zip(self.read.words().iter()) {
            let param = &params[member.param];
            let bad = param.active && f64::from_bits(*total).is_nan();
            param.bad.store(bad, Ordering::Relaxed);
        }
        Ok(())
    }

    fn write_look(&self, look: &Look, words: &mut [u64], params: &[Param]) -> Filled {
        let mut writer = look.table.writer(words);
        for member in &self.members {
            let param = &params[member.param];
            if param.active && param.prepared.plan.slots[1].dtype == look.dtype {
                let operands = [
                    param.slots[1].address(),
                    self.memory.address() + member.partial,
                ];
                writer.line(
                    operands.into_iter(),
                    std::iter::empty(),
                    [param.elements(), 1],
                    member.chunks,
                );
            }
        }
        writer.finish()
    }

    fn write_totals(&self, words: &mut [u64], params: &[Param]) -> Filled {
        let mut writer = self.totals.writer(words);
        for (n, member) in self
            .members
            .iter()
            .enumerate()
            .filter(|(_, member)| params[member.param].active)
        {
            let base = self.memory.address();
            let operands = [base + member.partial, base + self.totals_at + 8 * n as u64];
            writer.line(
                operands.into_iter(),
                std::iter::empty(),
                [member.chunks, 1],
                1,
            );
        }
        writer.finish()
    }
}

fn looks(
    entries: &Entries,
    params: &[Param],
    on_device: &[usize],
    words: &mut usize,
) -> Result<Vec<Look>, Lack> {
    let mut dtypes: BTreeMap<DType, Vec<usize>> = BTreeMap::new();
    for &n in on_device {
        dtypes
            .entry(params[n].prepared.plan.slots[1].dtype)
            .or_default()
            .push(n);
    }
    let look = |(dtype, members): (DType, Vec<usize>)| {
        let function = entries
            .find(Entry::Map(&zero_or_nan(dtype)))
            .map_err(|lack| (members[0], lack))?;
        Ok(Look {
            dtype,
            function,
            table: Table::new(words, members.len(), 2, 0),
        })
    };
    dtypes.into_iter().map(look).collect()
}

fn launch(
    device: &Device,
    table: &Table,
    function: Function,
    filled: Filled,
    base: u64,
) -> Result<(), CudaError> {
    match table.launch(function, filled, base) {
        // SAFETY: gradients of active parameters have all their elements, and the memory has room for every sum.
        Some(launch) => unsafe { device.api().launch(&launch, device.stream()) },
        None => Ok(()),
    }
}

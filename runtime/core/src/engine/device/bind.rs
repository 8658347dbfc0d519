//! Binding to devices: which plans may, which code they take, and the parts that step them.

use super::super::{Entry, Param};
use super::Part;
use super::program::{Builder, Lack, waves};
use super::scan::Scan;
use super::strided::Strided;
use crate::cuda::CudaError;
use crate::cuda::device::Device;
use crate::cuda::driver::Driver;
use crate::cuda::entries::{Entries, NoEntry};
use crate::cuda::table::Ring;
use crate::engine::NonFinite;
use crate::error::BindError;
use crate::memory::Pointer;
use crate::view;
use optc_core::plan::{Plan, Routine, Thunk};
use std::collections::BTreeMap;

/// The PTX of an artifact by target, and the driver to take.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ptx<'a> {
    pub(crate) targets: Option<&'a BTreeMap<String, String>>,
    pub(crate) driver: Option<&'a Driver>,
}

/// The devices in use so far, by number.
#[derive(Default)]
pub(in crate::engine) struct Devices<'a> {
    ptx: Ptx<'a>,
    open: BTreeMap<u32, (Device, Entries)>,
}

impl<'a> Devices<'a> {
    pub(in crate::engine) fn new(ptx: Ptx<'a>) -> Devices<'a> {
        Devices {
            ptx,
            open: BTreeMap::new(),
        }
    }

    /// The device of an entry, ready for its plan.
    pub(in crate::engine) fn device(
        &mut self,
        entry: &Entry,
        ordinal: u32,
    ) -> Result<&Device, BindError> {
        check_operations(entry)?;
        if !self.open.contains_key(&ordinal) {
            let opened = self.open(entry, ordinal)?;
            self.open.insert(ordinal, opened);
        }
        Ok(&self.open[&ordinal].0)
    }

    fn open(&self, entry: &Entry, ordinal: u32) -> Result<(Device, Entries), BindError> {
        let targets = self.ptx.targets.ok_or_else(|| BindError::NoCudaCode {
            name: entry.name.clone(),
            device: entry.device,
        })?;
        let driver = self.ptx.driver.cloned().map_or_else(Driver::system, Ok)?;
        let device = Device::open(&driver, ordinal)?;
        let (major, minor) = device.capability();
        let target = optc_artifact::best_gpu(targets.keys().map(String::as_str), major, minor)?;
        let entries = Entries::load(&device, &targets[target])?;
        Ok((device, entries))
    }

    /// A part for each device.
    pub(in crate::engine) fn parts(self, params: &[Param]) -> Result<Vec<Part>, BindError> {
        let each = self.open.into_iter().map(|(ordinal, (device, entries))| {
            let here = |&n: &usize| params[n].device == view::Device::Cuda(ordinal);
            let on_device: Vec<usize> = (0..params.len()).filter(here).collect();
            part(device, entries, params, &on_device).map_err(|lack| lacking(params, lack))
        });
        each.collect()
    }
}

fn part(
    device: Device,
    entries: Entries,
    params: &[Param],
    on_device: &[usize],
) -> Result<Part, Lack> {
    let largest = largest(params, on_device);
    let failed = |error: CudaError| (largest, NoEntry::Cuda(error));
    let (waves, bytes) = waves(params, on_device);
    let arena = device.zeroed(bytes).map_err(failed)?;
    let builder = Builder {
        params,
        entries: &entries,
        arena: Pointer::on_device(arena.address()),
    };
    let init = builder.program(&waves, |plan| &plan.init)?;
    let body = builder.program(&waves, |plan| &plan.body)?;
    let strided = Strided::new(&entries, on_device)?;
    let looked_at: Vec<usize> = on_device
        .iter()
        .copied()
        .filter(|&n| params[n].non_finite != NonFinite::Propagate)
        .collect();
    let scan = match looked_at.is_empty() {
        true => None,
        false => Some(Scan::new(&device, &entries, params, &looked_at)?),
    };
    let scanned = scan.as_ref().map_or(0, Scan::words);
    let words = [init.words(), body.words(), strided.words(), scanned]
        .into_iter()
        .max()
        .unwrap_or(0);
    let ring = Ring::new(&device, words).map_err(failed)?;
    let zeros = device
        .zeroed(zeros_bytes(params, on_device))
        .map_err(failed)?;
    Ok(Part {
        device,
        ring,
        init,
        body,
        scan,
        strided,
        zeros,
        arena,
        entries,
    })
}

/// Bytes of the largest gradient that may be missing.
fn zeros_bytes(params: &[Param], on_device: &[usize]) -> u64 {
    let members = on_device
        .iter()
        .map(|&n| &params[n])
        .filter(|param| param.absent_zeros);
    members
        .map(|param| param.prepared.slot_bytes(1))
        .max()
        .unwrap_or(0)
}

fn largest(params: &[Param], on_device: &[usize]) -> usize {
    let bytes = |&n: &usize| params[n].prepared.slot_bytes(0);
    on_device.iter().copied().max_by_key(bytes).unwrap_or(0)
}

fn lacking(params: &[Param], (n, lack): Lack) -> BindError {
    let (name, device) = (params[n].name.clone(), params[n].device);
    match lack {
        NoEntry::Missing(symbol) => BindError::MissingCudaKernel {
            name,
            device,
            symbol,
        },
        NoEntry::Cuda(error) => failed(error, &name, device),
    }
}

/// A device's failure while it makes room for a parameter.
pub(in crate::engine) fn failed(error: CudaError, name: &str, device: view::Device) -> BindError {
    match error {
        CudaError::OutOfMemory { .. } => BindError::OutOfMemory {
            name: name.to_owned(),
            device,
        },
        error => error.into(),
    }
}

fn check_operations(entry: &Entry) -> Result<(), BindError> {
    let Plan {
        init, body, sums, ..
    } = &*entry.plan;
    let sum = sums.first().map(|_| "a sum over parameters");
    match sum.or_else(|| init.iter().chain(body).find_map(unsupported)) {
        None => Ok(()),
        Some(operation) => Err(BindError::CudaOperation {
            name: entry.name.clone(),
            rule: entry.rule.clone(),
            operation,
            device: entry.device,
        }),
    }
}

/// What of a thunk devices do not do.
fn unsupported(thunk: &Thunk) -> Option<&'static str> {
    match thunk {
        Thunk::Map { .. } | Thunk::Copy { .. } | Thunk::Fill { .. } => None,
        Thunk::If {
            then, otherwise, ..
        } => then.iter().chain(otherwise).find_map(unsupported),
        Thunk::IfFlag { .. } => Some("a loop that ends by a tensor"),
        Thunk::Gemm(_) => Some("a matrix product"),
        Thunk::Call { routine, .. } => Some(match routine {
            Routine::Eigh { .. } => "eigh",
            Routine::Qr => "qr",
            Routine::Svd { .. } => "svd",
            Routine::Cholesky => "cholesky",
            Routine::SolveTriangular { .. } => "solve_triangular",
        }),
        Thunk::Permute { .. } => Some("a permutation of axes"),
        Thunk::Gather { .. } => Some("a choice of elements by index"),
        Thunk::Scatter { .. } => Some("scatter"),
        Thunk::Quantize { .. } | Thunk::Dequantize { .. } => Some("state in 8 bits"),
        Thunk::Slice { .. } | Thunk::Paste { .. } => Some("a view of parts"),
        Thunk::Pack { .. } | Thunk::Unpack { .. } => Some("a packed triangle"),
        Thunk::Limit { .. } => Some("a count of failures"),
        Thunk::Argsort { .. } => Some("argsort"),
        Thunk::Diag { .. } => Some("diag"),
        Thunk::Identity { .. } => Some("an identity matrix"),
        Thunk::Triangle { .. } => Some("a triangle of a matrix"),
        Thunk::Random { .. } => Some("random numbers"),
    }
}

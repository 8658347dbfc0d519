//! The kernels of a plan, each once.

use crate::kernel::{Inst, MapKernel};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;

/// Kernels in the order in which they were met.
#[derive(Debug, Default)]
pub(super) struct Kernels {
    pub(super) all: Vec<MapKernel>,
    /// Where kernels are that look alike.
    alike: HashMap<u64, Vec<u32>>,
}

impl Kernels {
    /// The place of a kernel, which is added if it is new.
    pub(super) fn place(&mut self, kernel: &MapKernel) -> u32 {
        let alike = self.alike.entry(likeness(kernel)).or_default();
        let mut known = alike.iter().copied();
        let found = known.find(|&n| same(&self.all[n as usize], kernel));
        found.unwrap_or_else(|| {
            let place = self.all.len() as u32;
            alike.push(place);
            self.all.push(kernel.clone());
            place
        })
    }
}

/// A number that equal kernels have in common.
fn likeness(kernel: &MapKernel) -> u64 {
    let mut hasher = DefaultHasher::new();
    let shape = (kernel.space, kernel.compute, kernel.scalars);
    (shape, &kernel.inputs, &kernel.outputs).hash(&mut hasher);
    for inst in &kernel.insts {
        match inst {
            Inst::Const(x) => x.to_bits().hash(&mut hasher),
            other => discriminant(other).hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// Equality; constants by their bits.
fn same(a: &MapKernel, b: &MapKernel) -> bool {
    let insts = || a.insts.iter().zip(&b.insts);
    a.space == b.space
        && a.compute == b.compute
        && a.inputs == b.inputs
        && a.scalars == b.scalars
        && a.outputs == b.outputs
        && a.insts.len() == b.insts.len()
        && insts().all(|(a, b)| a.same(b))
}

#[cfg(test)]
mod tests {
    use super::Kernels;
    use crate::dtype::DType;
    use crate::kernel::{Inst, MapKernel, Output, OutputKind, Space};

    fn constant(x: f64) -> MapKernel {
        let output = Output {
            value: 0,
            dtype: DType::F32,
            kind: OutputKind::Store,
        };
        MapKernel {
            space: Space::Flat,
            compute: DType::F32,
            inputs: Vec::new(),
            scalars: 0,
            insts: vec![Inst::Const(x)],
            outputs: vec![output],
        }
    }

    #[test]
    fn constants_are_compared_by_their_bits() {
        let mut kernels = Kernels::default();
        let places = [0.0, -0.0, f64::NAN, 0.0, f64::NAN].map(|x| kernels.place(&constant(x)));
        assert_eq!(places, [0, 1, 2, 0, 2]);
    }
}

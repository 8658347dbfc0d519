//! What has to be compiled for a program.

use optc_core::dtype::DType;
use optc_core::kernel::MapKernel;
use optc_core::variants::Variants;
use std::collections::{BTreeMap, BTreeSet};

/// What the machine code of a program must offer.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// By hash.
    pub kernels: Vec<MapKernel>,
    /// The element types of matrix products.
    pub products: Vec<DType>,
    /// Whether factorizations are called.
    pub calls: bool,
}

impl Needs {
    /// With those of one more optimizer.
    pub(crate) fn and(self, variants: Variants) -> Needs {
        let hashed = self
            .kernels
            .into_iter()
            .map(|kernel| (kernel.hash(), kernel));
        let kernels: BTreeMap<String, MapKernel> = hashed.chain(variants.kernels).collect();
        let products: BTreeSet<DType> =
            self.products.into_iter().chain(variants.products).collect();
        Needs {
            kernels: kernels.into_values().collect(),
            products: products.into_iter().collect(),
            calls: self.calls || variants.calls,
        }
    }

    /// What a loader must offer.
    #[cfg(feature = "compile")]
    pub(crate) fn capabilities(&self) -> BTreeSet<String> {
        let products = (!self.products.is_empty()).then(|| "products".to_owned());
        let routines = self.calls.then(|| "routines".to_owned());
        products.into_iter().chain(routines).collect()
    }
}

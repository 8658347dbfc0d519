//! What was bound, and which code runs it.

use crate::kernels::{KernelSet, Tier};
use crate::view::Device;
use optc_artifact::Isa;
use optc_core::dtype::DType;
use optc_core::kernel::MapKernel;
use std::fmt;

/// Which rule took each parameter, and where the code of kernels and products comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The level of the artifact's machine code, if there is any.
    pub isa: Option<Isa>,
    /// Each parameter and its rule.
    pub rules: Vec<(String, String)>,
    /// Each kernel's hash and tier.
    pub kernels: Vec<(String, Tier)>,
    /// Each dtype of matrix products, and whether the artifact has a family for it; otherwise faer multiplies.
    pub products: Vec<(DType, bool)>,
    /// Each CUDA device with parameters, and how many kernels it runs; all are from the artifact.
    pub devices: Vec<(Device, usize)>,
}

impl Report {
    pub(crate) fn new(
        isa: Option<Isa>,
        rules: Vec<(String, String)>,
        kernels: &[MapKernel],
        products: &[DType],
        set: &KernelSet,
    ) -> Report {
        let tier = |kernel: &MapKernel| {
            let hash = kernel.hash();
            set.tier(&hash).map(|tier| (hash, tier))
        };
        let products = products
            .iter()
            .map(|&dtype| (dtype, set.products(dtype).is_some()))
            .collect();
        Report {
            isa,
            rules,
            kernels: kernels.iter().filter_map(tier).collect(),
            products,
            devices: Vec::new(),
        }
    }

    /// Kernels of that tier.
    pub fn count(&self, tier: Tier) -> usize {
        self.kernels
            .iter()
            .filter(|(_, found)| *found == tier)
            .count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (artifact, quick) = (self.count(Tier::Artifact), self.count(Tier::Quick));
        write!(
            f,
            "{} parameters, {artifact} kernels from the artifact",
            self.rules.len()
        )?;
        if let Some(isa) = self.isa {
            write!(f, " ({isa})")?;
        }
        write!(f, ", {quick} from the quick tier")?;
        for (dtype, compiled) in &self.products {
            write!(
                f,
                ", {dtype} products by {}",
                if *compiled { "the artifact" } else { "faer" }
            )?;
        }
        for (device, kernels) in &self.devices {
            write!(f, ", {kernels} on {device}")?;
        }
        Ok(())
    }
}

//! Machine code by name: the map kernels and product families that plans refer to.
//!
//! A [`KernelSet`] is filled from an artifact's object and from the quick tier; what was found where is the tier
//! report. Code stays loaded while the set lives.

use crate::object::Object;
use optc_core::dtype::DType;
use optc_core::kernel::MapKernel;
use std::any::Any;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

/// A compiled map kernel; the convention is that of [`optc_core::kernel`].
pub type MapFn = unsafe extern "C" fn(*const *mut c_void, *const f64, *const u64, u64, u64);

/// Writes `mr` and `nr`: the rows and the columns of a tile.
pub type ShapeFn = unsafe extern "C" fn(*mut u64);

/// Packs a block into panels: `(dst, src, row stride, column stride, rows, columns)`, strides in elements.
pub type PackFn = unsafe extern "C" fn(*mut c_void, *const c_void, u64, u64, u64, u64);

/// One tile: `(k, a panel, b panel, out, out row stride, c or null, c row stride, alpha, beta, m, n)`.
pub type TileFn = unsafe extern "C" fn(
    u64,
    *const c_void,
    *const c_void,
    *mut c_void,
    u64,
    *const c_void,
    u64,
    f64,
    f64,
    u64,
    u64,
);

/// The three functions that make a product of one dtype.
#[derive(Debug, Clone, Copy)]
pub struct GemmFamily {
    /// Rows of a tile.
    pub mr: u64,
    /// Columns of a tile.
    pub nr: u64,
    /// Panels of `mr` rows of the left factor.
    pub pack_a: PackFn,
    /// Panels of `nr` columns of the right factor.
    pub pack_b: PackFn,
    /// The micro-kernel.
    pub tile: TileFn,
}

/// Where a kernel's code comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Compiled ahead of time, from the artifact.
    Artifact,
    /// Compiled at bind by the quick tier.
    Quick,
}

/// Compiled kernels by content hash.
#[derive(Debug, Clone, Default)]
pub struct KernelSet {
    maps: HashMap<String, (MapFn, Tier)>,
    products: HashMap<DType, GemmFamily>,
    /// Keeps the code mapped.
    owners: Vec<Owner>,
}

#[derive(Clone)]
struct Owner(#[expect(dead_code, reason = "held for its destructor")] Arc<dyn Any + Send + Sync>);

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("code")
    }
}

impl KernelSet {
    /// Adds one kernel under its hash.
    ///
    /// # Safety
    ///
    /// `function` does what the kernel of that hash means, under the calling convention of [`optc_core::kernel`], and
    /// stays callable while `owner` lives.
    pub unsafe fn insert(
        &mut self,
        hash: &str,
        function: MapFn,
        tier: Tier,
        owner: Arc<dyn Any + Send + Sync>,
    ) {
        self.maps.insert(hash.to_owned(), (function, tier));
        self.owners.push(Owner(owner));
    }

    /// Adds the product family of one dtype.
    ///
    /// # Safety
    ///
    /// The functions keep the contract of their types, with tiles of `mr` × `nr`, both above 0, and stay callable
    /// while `owner` lives.
    pub unsafe fn insert_products(
        &mut self,
        dtype: DType,
        family: GemmFamily,
        owner: Arc<dyn Any + Send + Sync>,
    ) {
        self.products.insert(dtype, family);
        self.owners.push(Owner(owner));
    }

    /// The kernel's code, if it is here.
    pub fn get(&self, kernel: &MapKernel) -> Option<MapFn> {
        self.maps.get(&kernel.hash()).map(|&(function, _)| function)
    }

    /// Where the kernel's code came from.
    pub fn tier(&self, hash: &str) -> Option<Tier> {
        self.maps.get(hash).map(|&(_, tier)| tier)
    }

    /// The product family of a dtype, if there is one.
    pub fn products(&self, dtype: DType) -> Option<&GemmFamily> {
        self.products.get(&dtype)
    }

    /// Looks up each kernel's symbol, and the product families, in a loaded object.
    ///
    /// # Safety
    ///
    /// The object was made by this compiler: each `optc_…` symbol is the function that its name says.
    pub(crate) unsafe fn add_object(&mut self, object: Arc<Object>, kernels: &[MapKernel]) {
        for kernel in kernels {
            // SAFETY: the symbol of a kernel has the type of a kernel, by the caller's promise.
            if let Some(function) = unsafe { object.symbol::<MapFn>(&kernel.symbol()) } {
                self.maps.insert(kernel.hash(), (function, Tier::Artifact));
            }
        }
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            // SAFETY: by the caller's promise.
            if let Some(family) = unsafe { family(&object, dtype) } {
                self.products.insert(dtype, family);
            }
        }
        self.owners.push(Owner(object));
    }

    /// Compiles with the quick tier those of `kernels` that are not here yet.
    ///
    /// # Errors
    ///
    /// The quick tier's own message.
    #[cfg(feature = "quick")]
    pub(crate) fn add_quick(&mut self, kernels: &[MapKernel]) -> Result<(), String> {
        let missing: Vec<MapKernel> = kernels
            .iter()
            .filter(|k| !self.maps.contains_key(&k.hash()))
            .cloned()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let code = Arc::new(optc_cranelift::compile(&missing).map_err(|error| error.to_string())?);
        for hash in missing.iter().map(MapKernel::hash) {
            if let Some(function) = code.get(&hash) {
                self.maps.insert(hash, (function, Tier::Quick));
            }
        }
        self.owners.push(Owner(code));
        Ok(())
    }
}

/// # Safety
///
/// As for [`KernelSet::add_object`].
unsafe fn family(object: &Object, dtype: DType) -> Option<GemmFamily> {
    let name = |part: &str| format!("optc_gemm_{dtype}_{part}");
    let mut shape = [0u64; 2];
    // SAFETY: by the caller's promise each symbol has the type asked for, and `shape` writes two numbers.
    unsafe {
        object.symbol::<ShapeFn>(&name("shape"))?(shape.as_mut_ptr());
        let pack_a = object.symbol::<PackFn>(&name("pack_a"))?;
        let pack_b = object.symbol::<PackFn>(&name("pack_b"))?;
        let tile = object.symbol::<TileFn>(&name("tile"))?;
        let [mr, nr] = shape;
        (mr > 0 && nr > 0).then_some(GemmFamily {
            mr,
            nr,
            pack_a,
            pack_b,
            tile,
        })
    }
}

//! The quick tier: map kernels to machine code in memory, in milliseconds, without LLVM.
//!
//! ```
//! use optc_core::{dtype::DType, kernel_random};
//!
//! let kernel = kernel_random::adamw(DType::F32);
//! let compiled = optc_cranelift::compile(std::slice::from_ref(&kernel)).unwrap();
//! assert!(compiled.get(&kernel.hash()).is_some());
//! ```
//!
//! Every result equals that of `optc_core::kernel_eval`, bit for bit. Code is made for this machine and uses 128-bit
//! vectors; what has no vector instruction here is done lane by lane, and a kernel whose vector form the code
//! generator refuses is compiled once more one element at a time. Products and factorizations are not here.

mod code;
mod half;
mod memory;
mod point;
mod rounding;
#[cfg(test)]
mod tests;

use code::Width;
use cranelift::codegen::{Context, settings};
use cranelift::prelude::{
    AbiParam, Configurable, FunctionBuilderContext, isa::OwnedTargetIsa, types,
};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleError, default_libcall_names};
use miette::Diagnostic;
use optc_core::kernel::MapKernel;
use optc_core::kernel_verify::verify;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::Mutex;
use thiserror::Error;

/// A compiled kernel; the arguments are those of the calling convention in `optc_core::kernel`: operands, scalars,
/// dims, begin, end.
pub type MapFn = unsafe extern "C" fn(*const *mut c_void, *const f64, *const u64, u64, u64);

/// Why kernels could not be compiled.
#[derive(Debug, Error, Diagnostic)]
pub enum CompileError {
    /// There is no code generator for this machine, or it is not a 64-bit one.
    #[error("the quick tier makes no code for this machine: {reason}")]
    #[diagnostic(
        code(opt::quick::machine),
        help("compile the optimizer ahead of time with `optc compile`")
    )]
    Machine {
        /// What the code generator said.
        reason: String,
    },
    /// The kernel breaks the rules of `optc_core::kernel_verify`.
    #[error("kernel {hash} is malformed: {reason}")]
    #[diagnostic(
        code(opt::quick::malformed),
        help("this is a bug in optc; please report it")
    )]
    Malformed {
        /// The kernel's hash.
        hash: String,
        /// Every violation, one per line.
        reason: String,
    },
    /// The code generator refused the kernel.
    #[error("kernel {hash} cannot be compiled here: {reason}")]
    #[diagnostic(
        code(opt::quick::refused),
        help("compile the optimizer ahead of time with `optc compile`")
    )]
    Refused {
        /// The kernel's hash.
        hash: String,
        /// What the code generator said.
        reason: String,
    },
    /// The system gave no executable memory.
    #[error("no executable memory: {reason}")]
    #[diagnostic(
        code(opt::quick::memory),
        help(
            "allow this process to map executable memory, or compile ahead of time with `optc compile`"
        )
    )]
    Memory {
        /// What the system said.
        reason: String,
    },
}

/// Machine code of kernels; freed when dropped.
pub struct Compiled {
    functions: HashMap<String, MapFn>,
    /// Kept for its memory; `None` only while being dropped.
    module: Option<Mutex<JITModule>>,
}

impl Compiled {
    /// The kernel of that hash. The pointer is valid as long as `self` lives.
    pub fn get(&self, hash: &str) -> Option<MapFn> {
        self.functions.get(hash).copied()
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            let module = module
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            // SAFETY: `get` lends pointers for the life of `self` only, and `self` is gone after this.
            unsafe { module.free_memory() };
        }
    }
}

/// Compiles kernels for this machine. Equal kernels are compiled once.
pub fn compile(kernels: &[MapKernel]) -> Result<Compiled, CompileError> {
    compile_for(&machine()?, kernels, Width::Vector)
}

fn compile_for(
    isa: &OwnedTargetIsa,
    kernels: &[MapKernel],
    width: Width,
) -> Result<Compiled, CompileError> {
    let mut compiler = Compiler::new(isa.clone());
    let mut ids = HashMap::new();
    for kernel in kernels {
        if let Entry::Vacant(entry) = ids.entry(kernel.hash()) {
            let id = compiler.define(kernel, entry.key(), width)?;
            entry.insert(id);
        }
    }
    compiler.finish(ids)
}

/// Code generation for the processor this runs on.
fn machine() -> Result<OwnedTargetIsa, CompileError> {
    let builder = cranelift_native::builder().map_err(|reason| CompileError::Machine {
        reason: reason.to_owned(),
    })?;
    let isa = builder
        .finish(flags()?)
        .map_err(|error| CompileError::Machine {
            reason: error.to_string(),
        })?;
    if isa.pointer_bits() == 64 {
        Ok(isa)
    } else {
        Err(CompileError::Machine {
            reason: "not 64-bit".to_owned(),
        })
    }
}

fn flags() -> Result<settings::Flags, CompileError> {
    let mut builder = settings::builder();
    let verify = if cfg!(debug_assertions) {
        "true"
    } else {
        "false"
    };
    // Library calls may lie further away than a short call reaches.
    let wanted = [
        ("opt_level", "speed"),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        ("enable_verifier", verify),
    ];
    for (name, value) in wanted {
        builder
            .set(name, value)
            .map_err(|error| CompileError::Machine {
                reason: error.to_string(),
            })?;
    }
    Ok(settings::Flags::new(builder))
}

struct Compiler {
    module: JITModule,
    context: Context,
    builder: FunctionBuilderContext,
}

impl Compiler {
    fn new(isa: OwnedTargetIsa) -> Compiler {
        let mut jit = JITBuilder::with_isa(isa, default_libcall_names());
        jit.symbols(rounding::symbols());
        let module = JITModule::new(jit);
        Compiler {
            context: module.make_context(),
            builder: FunctionBuilderContext::new(),
            module,
        }
    }

    fn define(
        &mut self,
        kernel: &MapKernel,
        hash: &str,
        width: Width,
    ) -> Result<FuncId, CompileError> {
        verify(kernel).map_err(|reason| CompileError::Malformed {
            hash: hash.to_owned(),
            reason,
        })?;
        let refused = |error: ModuleError| CompileError::Refused {
            hash: hash.to_owned(),
            reason: error.to_string(),
        };
        self.build(kernel, width);
        let signature = &self.context.func.signature;
        let id = self
            .module
            .declare_function(&kernel.symbol(), Linkage::Local, signature)
            .map_err(refused)?;
        let defined = match (self.module.define_function(id, &mut self.context), width) {
            (Err(ModuleError::Compilation(_)), Width::Vector) => {
                self.build(kernel, Width::Scalar);
                self.module.define_function(id, &mut self.context)
            }
            (result, _) => result,
        };
        defined.map_err(refused)?;
        Ok(id)
    }

    /// Leaves the kernel's function in the context.
    fn build(&mut self, kernel: &MapKernel, width: Width) {
        self.module.clear_context(&mut self.context);
        self.context.func.signature.params = vec![AbiParam::new(types::I64); 5];
        let target = self.module.target_config();
        code::build(
            kernel,
            width,
            target,
            &mut self.context.func,
            &mut self.builder,
        );
    }

    fn finish(mut self, ids: HashMap<String, FuncId>) -> Result<Compiled, CompileError> {
        self.module
            .finalize_definitions()
            .map_err(|error| CompileError::Memory {
                reason: error.to_string(),
            })?;
        let function = |id| {
            let code = self.module.get_finalized_function(id);
            // SAFETY: `define` gave this function the five 64-bit parameters of a `MapFn`, no result, and the
            // machine's default calling convention.
            unsafe { std::mem::transmute::<*const u8, MapFn>(code) }
        };
        let functions = ids
            .into_iter()
            .map(|(hash, id)| (hash, function(id)))
            .collect();
        Ok(Compiled {
            functions,
            module: Some(Mutex::new(self.module)),
        })
    }
}

//! Where code runs: ISA levels of the CPU, architectures of the GPU, and LLVM's machines for them.

use crate::error::EmitError;
use crate::lower::LlvmModule;
use llvm_sys::core::{
    LLVMDisposeMemoryBuffer, LLVMDisposeMessage, LLVMGetBufferSize, LLVMGetBufferStart,
};
use llvm_sys::core::{LLVMPrintModuleToString, LLVMSetTarget};
use llvm_sys::error::{LLVMDisposeErrorMessage, LLVMGetErrorMessage};
use llvm_sys::prelude::LLVMMemoryBufferRef;
use llvm_sys::target::{self, LLVMDisposeTargetData, LLVMSetModuleDataLayout};
use llvm_sys::target_machine::{
    LLVMCodeGenFileType, LLVMCodeGenOptLevel, LLVMCodeModel, LLVMCreateTargetDataLayout,
    LLVMCreateTargetMachine, LLVMDisposeTargetMachine, LLVMGetTargetFromTriple, LLVMRelocMode,
    LLVMTargetMachineEmitToMemoryBuffer, LLVMTargetMachineRef, LLVMTargetRef,
};
use llvm_sys::transforms::pass_builder::{
    LLVMCreatePassBuilderOptions, LLVMDisposePassBuilderOptions, LLVMRunPasses,
};
use optc_artifact::Isa;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::Once;

/// Floats of `bits` in one register.
pub(crate) fn lanes(isa: Isa, bits: u32) -> u32 {
    let register = if isa == Isa::X86_64V3 { 256 } else { 512 };
    register / bits
}

fn cpu_of(isa: Isa) -> &'static CStr {
    match isa {
        Isa::X86_64V3 => c"x86-64-v3",
        Isa::X86_64V4 | Isa::X86_64V4Bf16 => c"x86-64-v4",
    }
}

/// LLVM would split 512-bit vectors on `x86-64-v4`, as old machines want it.
fn features_of(isa: Isa) -> &'static CStr {
    match isa {
        Isa::X86_64V3 => c"",
        Isa::X86_64V4 => c"-prefer-256-bit",
        Isa::X86_64V4Bf16 => c"-prefer-256-bit,+avx512bf16",
    }
}

/// LLVM's code generator for one target.
pub(crate) struct Machine {
    raw: LLVMTargetMachineRef,
    triple: &'static CStr,
}

impl Machine {
    pub(crate) fn cpu(isa: Isa) -> Result<Machine, EmitError> {
        Machine::new(c"x86_64-unknown-linux-gnu", cpu_of(isa), features_of(isa))
    }

    /// `arch` is an architecture such as `sm_80`.
    pub(crate) fn gpu(arch: &str) -> Result<Machine, EmitError> {
        let known = arch
            .strip_prefix("sm_")
            .map(|digits| digits.trim_end_matches(['a', 'f']));
        let number = known.and_then(|digits| digits.parse::<u32>().ok());
        let unknown = || EmitError::UnknownArch {
            arch: arch.to_owned(),
        };
        if !number.is_some_and(|number| (80..=121).contains(&number)) {
            return Err(unknown());
        }
        let cpu = CString::new(arch).map_err(|_| unknown())?;
        Machine::new(c"nvptx64-nvidia-cuda", &cpu, c"")
    }

    fn new(triple: &'static CStr, cpu: &CStr, features: &CStr) -> Result<Machine, EmitError> {
        initialize();
        let mut target: LLVMTargetRef = ptr::null_mut();
        let mut message: *mut c_char = ptr::null_mut();
        // SAFETY: the strings end in NUL and outlive the calls; the out-pointers are valid; a target is looked at
        // only after success; a message is freed once by `take_message`.
        let raw = unsafe {
            if LLVMGetTargetFromTriple(triple.as_ptr(), &mut target, &mut message) != 0 {
                return Err(internal("target", take_message(message)));
            }
            LLVMCreateTargetMachine(
                target,
                triple.as_ptr(),
                cpu.as_ptr(),
                features.as_ptr(),
                LLVMCodeGenOptLevel::LLVMCodeGenLevelDefault,
                LLVMRelocMode::LLVMRelocPIC,
                LLVMCodeModel::LLVMCodeModelDefault,
            )
        };
        match raw.is_null() {
            true => Err(internal("target", "no machine".to_owned())),
            false => Ok(Machine { raw, triple }),
        }
    }

    /// Runs LLVM's passes over `module`, for this machine.
    pub(crate) fn optimize(&self, module: &LlvmModule<'_>, passes: &CStr) -> Result<(), EmitError> {
        // SAFETY: module and machine are alive; the layout and the options are freed here; the error, if any, is
        // consumed by `LLVMGetErrorMessage` and its text freed once.
        unsafe {
            LLVMSetTarget(module.raw(), self.triple.as_ptr());
            let layout = LLVMCreateTargetDataLayout(self.raw);
            LLVMSetModuleDataLayout(module.raw(), layout);
            LLVMDisposeTargetData(layout);
            let options = LLVMCreatePassBuilderOptions();
            let error = LLVMRunPasses(module.raw(), passes.as_ptr(), self.raw, options);
            LLVMDisposePassBuilderOptions(options);
            if error.is_null() {
                return Ok(());
            }
            let text = LLVMGetErrorMessage(error);
            let message = CStr::from_ptr(text).to_string_lossy().into_owned();
            LLVMDisposeErrorMessage(text);
            Err(internal("llvm passes", message))
        }
    }

    /// An object file.
    pub(crate) fn object(&self, module: &LlvmModule<'_>) -> Result<Vec<u8>, EmitError> {
        self.emit(module, LLVMCodeGenFileType::LLVMObjectFile)
    }

    /// Assembly, or PTX.
    pub(crate) fn assembly(&self, module: &LlvmModule<'_>) -> Result<String, EmitError> {
        let bytes = self.emit(module, LLVMCodeGenFileType::LLVMAssemblyFile)?;
        String::from_utf8(bytes).map_err(|error| internal("llvm codegen", error.to_string()))
    }

    fn emit(
        &self,
        module: &LlvmModule<'_>,
        kind: LLVMCodeGenFileType,
    ) -> Result<Vec<u8>, EmitError> {
        let mut message: *mut c_char = ptr::null_mut();
        let mut buffer: LLVMMemoryBufferRef = ptr::null_mut();
        // SAFETY: module and machine are alive and the out-pointers valid; the buffer exists after success, is
        // copied while alive and freed once.
        unsafe {
            if LLVMTargetMachineEmitToMemoryBuffer(
                self.raw,
                module.raw(),
                kind,
                &mut message,
                &mut buffer,
            ) != 0
            {
                return Err(internal("llvm codegen", take_message(message)));
            }
            let start = LLVMGetBufferStart(buffer).cast::<u8>();
            let bytes = std::slice::from_raw_parts(start, LLVMGetBufferSize(buffer)).to_vec();
            LLVMDisposeMemoryBuffer(buffer);
            match module.context().errors() {
                None => Ok(bytes),
                Some(errors) => Err(internal("llvm codegen", errors)),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `LLVMCreateTargetMachine` and is freed once.
        unsafe { LLVMDisposeTargetMachine(self.raw) }
    }
}

/// The text of an LLVM module.
pub(crate) fn llvm_text(module: &LlvmModule<'_>) -> String {
    // SAFETY: the module is alive; LLVM returns a fresh string.
    unsafe { take_message(LLVMPrintModuleToString(module.raw())) }
}

/// Copies and frees a string that LLVM made; null is the empty string.
///
/// # Safety
///
/// `message` is null or came from LLVM and is not used again.
pub(crate) unsafe fn take_message(message: *mut c_char) -> String {
    if message.is_null() {
        return String::new();
    }
    // SAFETY: a string from LLVM ends in NUL and is ours to free.
    unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        LLVMDisposeMessage(message);
        text
    }
}

fn initialize() {
    static ONCE: Once = Once::new();
    // SAFETY: registration touches LLVM's global tables; `Once` makes it happen alone and once.
    ONCE.call_once(|| unsafe {
        target::LLVMInitializeX86TargetInfo();
        target::LLVMInitializeX86Target();
        target::LLVMInitializeX86TargetMC();
        target::LLVMInitializeX86AsmPrinter();
        target::LLVMInitializeNVPTXTargetInfo();
        target::LLVMInitializeNVPTXTarget();
        target::LLVMInitializeNVPTXTargetMC();
        target::LLVMInitializeNVPTXAsmPrinter();
    });
}

fn internal(stage: &'static str, message: String) -> EmitError {
    EmitError::Internal {
        kernel: "unit".to_owned(),
        stage,
        message,
    }
}

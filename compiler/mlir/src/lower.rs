//! From MLIR text to an LLVM module: parse, verify, convert pass by pass, translate.
//!
//! Each pass runs alone, so that a refusal can name it; the verifier runs after each. A diagnostic carries the line it
//! speaks of, which gives the kernel. Contexts are made and dropped inside [`lower`] and [`translate`].

use crate::error::EmitError;
use crate::target::take_message;
use llvm_sys::analysis::{LLVMVerifierFailureAction, LLVMVerifyModule};
use llvm_sys::core::{LLVMContextCreate, LLVMContextDispose, LLVMDisposeModule};
use llvm_sys::prelude::{LLVMContextRef, LLVMModuleRef};
use melior::Context;
use melior::dialect::DialectRegistry;
use melior::ir::Module;
use melior::ir::operation::OperationLike;
use melior::pass::{Pass, PassManager, conversion};
use melior::utility::{register_all_dialects, register_all_llvm_translations};
use mlir_sys::{MlirOperation, mlirTranslateModuleToLLVMIR};
use std::cell::RefCell;
use std::ffi::c_char;
use std::marker::PhantomData;
use std::ptr;
use std::rc::Rc;

/// A pass by name, and the op inside the module that it runs on, if not the module.
pub(crate) struct Step {
    name: &'static str,
    pass: fn() -> Pass,
    inside: Option<&'static str>,
}

const fn step(name: &'static str, pass: fn() -> Pass) -> Step {
    Step {
        name,
        pass,
        inside: None,
    }
}

/// Structured control flow first, so that what remains is one op at a time.
pub(crate) const TO_LLVM: &[Step] = &[
    step("convert-scf-to-cf", conversion::create_scf_to_control_flow),
    step("convert-vector-to-llvm", conversion::create_vector_to_llvm),
    step("convert-arith-to-llvm", conversion::create_arith_to_llvm),
    step(
        "convert-cf-to-llvm",
        conversion::create_control_flow_to_llvm,
    ),
    step(
        "reconcile-unrealized-casts",
        conversion::create_reconcile_unrealized_casts,
    ),
];

/// The same with threads, blocks and barriers; there are no vectors.
pub(crate) const TO_NVVM: &[Step] = &[
    step("convert-scf-to-cf", conversion::create_scf_to_control_flow),
    Step {
        inside: Some("gpu.module"),
        ..step(
            "convert-gpu-to-nvvm",
            conversion::create_gpu_ops_to_nvvm_ops,
        )
    },
    step("convert-arith-to-llvm", conversion::create_arith_to_llvm),
    step(
        "convert-cf-to-llvm",
        conversion::create_control_flow_to_llvm,
    ),
    step(
        "reconcile-unrealized-casts",
        conversion::create_reconcile_unrealized_casts,
    ),
];

/// An LLVM context of our own.
pub(crate) struct LlvmContext {
    raw: LLVMContextRef,
}

impl LlvmContext {
    pub(crate) fn new() -> LlvmContext {
        // SAFETY: no precondition.
        LlvmContext {
            raw: unsafe { LLVMContextCreate() },
        }
    }
}

impl Drop for LlvmContext {
    fn drop(&mut self) {
        // SAFETY: every module of the context borrows it and is gone; freed once.
        unsafe { LLVMContextDispose(self.raw) }
    }
}

/// An LLVM module.
pub(crate) struct LlvmModule<'c> {
    raw: LLVMModuleRef,
    context: PhantomData<&'c LlvmContext>,
}

impl LlvmModule<'_> {
    pub(crate) fn raw(&self) -> LLVMModuleRef {
        self.raw
    }
}

impl Drop for LlvmModule<'_> {
    fn drop(&mut self) {
        // SAFETY: the module is ours and freed once, before its context.
        unsafe { LLVMDisposeModule(self.raw) }
    }
}

/// Parses MLIR, runs `steps` over it and hands the result to `then`.
pub(crate) fn lower<R>(
    source: &str,
    steps: &[Step],
    then: impl FnOnce(&Module<'_>) -> Result<R, EmitError>,
) -> Result<R, EmitError> {
    let registry = DialectRegistry::new();
    register_all_dialects(&registry);
    let context = Context::new_with_registry(&registry, false);
    register_all_llvm_translations(&context);
    let said = Rc::new(RefCell::new(Vec::new()));
    let listener = Rc::clone(&said);
    context.attach_diagnostic_handler(move |diagnostic| {
        listener
            .borrow_mut()
            .push((diagnostic.location().to_string(), diagnostic.to_string()));
        true
    });
    let refused = |stage| refusal(source, stage, &said.borrow());
    let mut module = Module::parse(&context, source).ok_or_else(|| refused("parse"))?;
    if !module.as_operation().verify() {
        return Err(refused("verify"));
    }
    for step in steps {
        let manager = PassManager::new(&context);
        match step.inside {
            None => manager.add_pass((step.pass)()),
            Some(op) => manager.nested_under(op).add_pass((step.pass)()),
        }
        manager.run(&mut module).map_err(|_| refused(step.name))?;
    }
    then(&module)
}

/// Translates an op that holds only the LLVM dialect.
pub(crate) fn translate<'c>(
    op: MlirOperation,
    context: &'c LlvmContext,
) -> Result<LlvmModule<'c>, EmitError> {
    let internal = |stage, message| EmitError::Internal {
        kernel: "unit".to_owned(),
        stage,
        message,
    };
    let mut message: *mut c_char = ptr::null_mut();
    // SAFETY: `op` is alive for the call; both bindings name the same C type of an LLVM context; the module is ours
    // if not null; the verifier's message is freed by `take_message`.
    unsafe {
        let raw = mlirTranslateModuleToLLVMIR(op, context.raw.cast()).cast();
        if ptr::eq(raw, ptr::null_mut()) {
            return Err(internal("translate", "no LLVM module".to_owned()));
        }
        let module = LlvmModule {
            raw,
            context: PhantomData,
        };
        let broken = LLVMVerifyModule(
            raw,
            LLVMVerifierFailureAction::LLVMReturnStatusAction,
            &mut message,
        ) != 0;
        let message = take_message(message);
        if broken {
            Err(internal("llvm verify", message))
        } else {
            Ok(module)
        }
    }
}

fn refusal(source: &str, stage: &'static str, said: &[(String, String)]) -> EmitError {
    let first = said
        .first()
        .map(|(location, _)| location.as_str())
        .unwrap_or_default();
    let message = said
        .iter()
        .map(|(location, text)| format!("{text} {location}"))
        .collect::<Vec<_>>()
        .join("; ");
    EmitError::Internal {
        kernel: function_at(source, first),
        stage,
        message,
    }
}

/// The function around a location such as `loc("-":12:5)`.
fn function_at(source: &str, location: &str) -> String {
    let line = location
        .split(':')
        .nth(1)
        .and_then(|line| line.parse().ok())
        .unwrap_or(0);
    let header = source
        .lines()
        .take(line)
        .filter_map(|line| line.split_once("func @"))
        .last();
    let name = header.and_then(|(_, rest)| rest.split('(').next());
    name.unwrap_or("unit").to_owned()
}

//! From MLIR text to an LLVM module: parse, verify, convert pass by pass, translate.
//!
//! Each pass runs alone, so that a refusal can name it; the verifier runs after each. A diagnostic carries the line it
//! speaks of, which gives the kernel. Contexts are made and dropped inside [`lower`] and [`translate`].

use crate::error::EmitError;
use crate::target::take_message;
use llvm_sys::LLVMDiagnosticSeverity;
use llvm_sys::analysis::{LLVMVerifierFailureAction, LLVMVerifyModule};
use llvm_sys::core::{
    LLVMContextCreate, LLVMContextDispose, LLVMContextSetDiagnosticHandler, LLVMDisposeModule,
    LLVMGetDiagInfoDescription, LLVMGetDiagInfoSeverity,
};
use llvm_sys::prelude::{LLVMContextRef, LLVMDiagnosticInfoRef, LLVMModuleRef};
use melior::Context;
use melior::dialect::DialectRegistry;
use melior::ir::Module;
use melior::ir::operation::OperationLike;
use melior::pass::{Pass, PassManager, conversion};
use melior::utility::{register_all_dialects, register_all_llvm_translations};
use mlir_sys::{MlirOperation, mlirTranslateModuleToLLVMIR};
use std::cell::RefCell;
use std::ffi::{c_char, c_void};
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

/// An LLVM context of our own. Errors are kept: without a handler LLVM would print them and exit.
pub(crate) struct LlvmContext {
    raw: LLVMContextRef,
    errors: Box<RefCell<Vec<String>>>,
}

impl LlvmContext {
    pub(crate) fn new() -> LlvmContext {
        let errors = Box::new(RefCell::new(Vec::new()));
        let place = ptr::from_ref(&*errors).cast_mut().cast::<c_void>();
        // SAFETY: the handler gets `place`, which is boxed and lives as long as the context.
        let raw = unsafe {
            let raw = LLVMContextCreate();
            LLVMContextSetDiagnosticHandler(raw, Some(keep_error), place);
            raw
        };
        LlvmContext { raw, errors }
    }

    /// The errors since the context was made, if any.
    pub(crate) fn errors(&self) -> Option<String> {
        let errors = self.errors.borrow();
        (!errors.is_empty()).then(|| errors.join("; "))
    }
}

extern "C" fn keep_error(info: LLVMDiagnosticInfoRef, place: *mut c_void) {
    // SAFETY: LLVM passes a live diagnostic and the pointer given by `LlvmContext::new`, on the thread that owns it.
    unsafe {
        if LLVMGetDiagInfoSeverity(info) == LLVMDiagnosticSeverity::LLVMDSError {
            let text = take_message(LLVMGetDiagInfoDescription(info));
            (*place.cast::<RefCell<Vec<String>>>())
                .borrow_mut()
                .push(text);
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
    context: &'c LlvmContext,
}

impl LlvmModule<'_> {
    pub(crate) fn raw(&self) -> LLVMModuleRef {
        self.raw
    }

    pub(crate) fn context(&self) -> &LlvmContext {
        self.context
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
    // What MLIR said while translating is more than the translation's own error.
    then(&module).map_err(|error| match error {
        EmitError::Internal { stage, .. } if !said.borrow().is_empty() => refused(stage),
        error => error,
    })
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
        let module = LlvmModule { raw, context };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> (String, &'static str) {
        let done = lower(source, TO_LLVM, |module| {
            let context = LlvmContext::new();
            translate(module.as_operation().to_raw(), &context).map(drop)
        });
        match done {
            Err(EmitError::Internal {
                kernel,
                stage,
                message,
            }) => {
                assert!(!message.is_empty());
                (kernel, stage)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_mlir_refuses_names_kernel_and_stage() {
        let function = |body: &str| {
            let fine = "llvm.func @fine() { llvm.return }";
            format!(
                "module {{\n{fine}\nllvm.func @broken(%0: i64, %1: f32) {{\n{body}\nllvm.return\n}}\n}}"
            )
        };
        let broken = |stage| ("broken".to_owned(), stage);
        assert_eq!(
            refused(&function("%2 = arith.addi %0, %1 : i64")),
            broken("parse")
        );
        assert_eq!(refused(&function("%2 = no.such %0 : i64")), broken("parse"));
        assert_eq!(refused(&function("gpu.barrier")), broken("translate"));
    }

    #[test]
    fn a_text_that_is_none_is_refused() {
        assert_eq!(refused("module {").1, "parse");
        assert_eq!(refused("module {\n  ^").1, "parse");
    }
}

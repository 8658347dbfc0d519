//! Calls: arguments to parameters, functions of the language and of the program.

use super::body::Body;
use super::error::CheckError;
use super::expr::error;
use super::foreign;
use super::names::{Binding, did_you_mean};
use super::phase::Level;
use super::shapes::Substitution;
use super::signatures::{self, Kind, Signature};
use super::types::{fact_name, implies};
use crate::hir::{Builtin, Expr, ExprKind, FunctionId, Shape, Type};
use optc_grammar::ast::{self, Arg, Name, Span};

/// What a call can name: parameters in order, the first ones required.
struct Params<'a> {
    callee: &'a str,
    names: Vec<&'a str>,
    required: usize,
    usage: String,
}

impl Params<'_> {
    /// How a call is written, and what it is not for.
    fn help(&self) -> String {
        let write = format!("write `{}`", self.usage);
        match foreign::reduction(self.callee) {
            Some(other) => format!("{write}; {other}"),
            None => write,
        }
    }
}

impl Body<'_> {
    pub(super) fn call(&mut self, callee: &Name, args: &[Arg], span: Span) -> Expr {
        let bound_as = self.bound_as.take();
        let meaning = self.names.get(&callee.text).map(|entry| entry.binding);
        if let Some(Binding::Base(base)) = meaning {
            return self.apply(base, callee, args, span);
        }
        if let Some(signature) = signatures::find_for(&callee.text, args.len()) {
            return self.call_builtin(signature, args, span);
        }
        if let Some(function) = self.items.functions.get(&callee.text) {
            return self.call_function(*function, bound_as, args, span);
        }
        if self.items.missing.contains(&callee.text) {
            return self.silent_call(args, span);
        }
        let help = self.suggest_function(&callee.text);
        self.report(CheckError::UnknownFunction {
            name: callee.text.clone(),
            help,
            at: callee.span,
        });
        self.silent_call(args, span)
    }

    /// A call of something that was reported: its arguments still have their own mistakes, and use names.
    fn silent_call(&mut self, args: &[Arg], span: Span) -> Expr {
        for arg in args {
            self.expr(&arg.value);
        }
        error(span)
    }

    fn suggest_function(&self, name: &str) -> String {
        let fallback = if self.names.get(name).is_some() {
            format!("`{name}` is a value: write `*` to multiply by a parenthesis")
        } else if let Some(here) = foreign::function(name) {
            return here.to_owned();
        } else if name == "merge" {
            "`merge` is a view of the parameter: write it after `on`, as in `= each on merge(w, limit: 1000, from: left)`".to_owned()
        } else {
            format!("declare `fn {name}(…) -> […] {{ … }}`, or import it with `use`")
        };
        let mut known: Vec<&str> = signatures::names().collect();
        known.extend(self.items.functions.keys().map(String::as_str));
        did_you_mean(name, known, fallback)
    }

    /// Arguments in the order of the parameters; a wrong number or name is reported.
    fn arrange<'e>(
        &mut self,
        params: &Params,
        args: &'e [Arg],
        span: Span,
    ) -> Option<Vec<Option<&'e ast::Expr>>> {
        let mut arranged = vec![None; params.names.len()];
        let mut next = 0;
        for arg in args {
            let index = match &arg.name {
                None => next,
                Some(name) => self.named_argument(params, name)?,
            };
            match arranged.get_mut(index) {
                Some(place @ None) => *place = Some(&arg.value),
                Some(Some(_)) | None => return self.argument_count(params, args.len(), span),
            }
            next = index + 1;
        }
        if arranged.iter().take(params.required).any(Option::is_none) {
            return self.argument_count(params, args.len(), span);
        }
        Some(arranged)
    }

    fn named_argument(&mut self, params: &Params, name: &Name) -> Option<usize> {
        let index = params.names.iter().position(|param| *param == name.text);
        if index.is_none() {
            let help = did_you_mean(&name.text, params.names.iter().copied(), params.help());
            let (of, name, at) = (params.callee.to_owned(), name.text.clone(), name.span);
            self.report(CheckError::UnknownArgument { of, name, help, at });
        }
        index
    }

    fn argument_count<T>(&mut self, params: &Params, found: usize, at: Span) -> Option<T> {
        let (least, most) = (params.required, params.names.len());
        let expected = match (least, most) {
            (1, 1) => "1 argument".to_owned(),
            _ if least == most => format!("{most} arguments"),
            _ if least + 1 == most => format!("{least} or {most} arguments"),
            _ => format!("{least} to {most} arguments"),
        };
        let (name, help) = (params.callee.to_owned(), params.help());
        self.report(CheckError::ArgumentCount {
            name,
            expected,
            found,
            help,
            at,
        });
        None
    }

    fn call_builtin(&mut self, signature: &'static Signature, args: &[Arg], span: Span) -> Expr {
        let rounds = std::mem::replace(&mut self.rounds, false);
        if signature.builtin == Builtin::Stochastic && !rounds {
            let help = "write it around all that is assigned to the parameter or to state, as in \
                        `w = stochastic(w - lr * u)`";
            self.rounds_nothing(help, span);
        }
        let params = Params {
            callee: signature.name,
            names: signature.params.iter().map(|(name, _)| *name).collect(),
            required: signature.required(),
            usage: signature.usage(),
        };
        let Some(arranged) = self.arrange(&params, args, span) else {
            return error(span);
        };
        let kinds = signature.params.iter().map(|(_, kind)| *kind);
        let args: Vec<Expr> = kinds
            .zip(arranged)
            .map(|(kind, arg)| self.builtin_argument(kind, arg, span))
            .collect();
        if args.iter().any(|arg| arg.ty == Type::Error) {
            return error(span);
        }
        let ty = self.builtin_type(signature, &args, span);
        Expr {
            kind: ExprKind::Builtin(signature.builtin, args),
            ty,
            span,
        }
    }

    pub(super) fn rounds_nothing(&mut self, help: &str, at: Span) {
        let help = help.to_owned();
        self.report(CheckError::RoundsNothing { help, at });
    }

    fn builtin_argument(&mut self, kind: Kind, arg: Option<&ast::Expr>, span: Span) -> Expr {
        match (kind, arg) {
            (Kind::Value, Some(arg)) => self.expr(arg),
            (Kind::Word(words), Some(arg)) => self.expr_as(arg, &choice(words)),
            (Kind::Flag, Some(arg)) => self.flag(arg),
            (Kind::Family, Some(arg)) => self.family(arg),
            (Kind::Text, Some(arg)) => self.words(arg),
            (Kind::Word(words), None) => Expr {
                kind: ExprKind::Word(words[0].to_owned()),
                ty: choice(words),
                span,
            },
            (_, None) => Expr {
                kind: ExprKind::Bool(false),
                ty: Type::Bool,
                span,
            },
        }
    }

    /// A truth value that is known at bind.
    fn flag(&mut self, arg: &ast::Expr) -> Expr {
        let checked = self.expr_as(arg, &Type::Bool);
        self.require(&checked, Level::Bind, "an option of a function");
        checked
    }

    /// `"bias|norm"`: at least one word, none of them empty.
    fn words(&mut self, arg: &ast::Expr) -> Expr {
        if let ast::ExprKind::Text(words) = &arg.kind
            && words.split('|').all(|word| !word.trim().is_empty())
        {
            return Expr {
                kind: ExprKind::Text(words.clone()),
                ty: Type::Choice(Vec::new()),
                span: arg.span,
            };
        }
        self.report(CheckError::ArgumentType {
            name: "named".to_owned(),
            argument: "words".to_owned(),
            expected: "words in quotes".to_owned(),
            found: format!("`{}`", self.cx.sink.text(self.file, arg.span)),
            usage: "named(\"bias|norm\")".to_owned(),
            at: arg.span,
        });
        error(arg.span)
    }

    /// A state with one tensor per mode, by its bare name.
    fn family(&mut self, arg: &ast::Expr) -> Expr {
        if let ast::ExprKind::Name(name) = &arg.kind
            && let Some(entry) = self.names.get(name)
            && let Binding::State(state) = entry.binding
            && let Some(modes) = self.states[state].modes
        {
            self.names.mark_used(name);
            return Expr {
                kind: ExprKind::Family(state),
                ty: Type::Family(modes),
                span: arg.span,
            };
        }
        let checked = self.expr(arg);
        if checked.ty != Type::Error {
            let help =
                "write the bare name of a state that is declared in a `modes` block".to_owned();
            let name = self.cx.sink.text(self.file, arg.span).to_owned();
            self.report(CheckError::NotModes {
                name,
                help,
                at: arg.span,
            });
        }
        error(arg.span)
    }

    fn call_function(
        &mut self,
        id: FunctionId,
        bound_as: Option<String>,
        args: &[Arg],
        span: Span,
    ) -> Expr {
        let function = &self.cx.program.functions[id];
        let (callee, result) = (function.name.clone(), function.result.clone());
        let types: Vec<Type> = function
            .params
            .iter()
            .map(|(local, _)| function.locals[*local].ty.clone())
            .collect();
        let declared = self.cx.functions[id].params.clone();
        let names: Vec<&str> = declared.iter().map(|param| param.text.as_str()).collect();
        let usage = format!("{callee}({})", names.join(", "));
        let params = Params {
            callee: &callee,
            required: names.len(),
            names,
            usage,
        };
        let Some(arranged) = self.arrange(&params, args, span) else {
            return error(span);
        };

        let mut call = Substitution::default();
        let pairs = types.iter().zip(arranged.into_iter().flatten()).enumerate();
        let checked: Vec<Expr> = pairs
            .map(|(index, (ty, arg))| self.argument(&params, index, ty, arg, &mut call))
            .collect();
        let size = self.cx.functions[id].size.saturating_mul(self.copies);
        self.size = self.size.saturating_add(size);
        self.can_fail |= self.cx.functions[id].can_fail;
        self.require_fixed(id, &declared, &callee, &checked);
        if checked.iter().any(|arg| arg.ty == Type::Error) {
            return error(span);
        }
        let component = self.cx.program.functions[id].component;
        let name = bound_as.unwrap_or_else(|| callee.clone());
        if component && !self.used_here(&callee, &name, span) {
            return error(span);
        }
        let ty = match result {
            Type::Tensor { shape, fact } => Type::Tensor {
                shape: call.apply(&shape),
                fact,
            },
            other => other,
        };
        let kind = match component {
            true => ExprKind::Use(id, name, checked),
            false => ExprKind::Call(id, checked),
        };
        Expr { kind, ty, span }
    }

    fn argument(
        &mut self,
        params: &Params,
        index: usize,
        ty: &Type,
        arg: &ast::Expr,
        call: &mut Substitution,
    ) -> Expr {
        let checked = self.expr_towards(arg, Some(ty));
        match (ty, &checked.ty) {
            (_, Type::Error) | (Type::Error, _) => checked,
            (
                Type::Tensor { shape, fact },
                Type::Tensor {
                    shape: found,
                    fact: known,
                },
            ) => {
                if call.unify(shape, found).is_none() {
                    let (seen, found) = (call.apply(shape), found.clone());
                    return self.misfit(params, index, &seen, &found, arg.span);
                }
                if !implies(*known, *fact) {
                    let name =
                        format!("parameter `{}` of `{}`", params.names[index], params.callee);
                    let declared = fact_name(*fact).to_owned();
                    self.report(CheckError::UnprovenFact {
                        name,
                        declared,
                        at: arg.span,
                    });
                }
                checked
            }
            (expected, found) if super::types::fits(expected, found) => checked,
            (expected, found) => {
                let (expected, found) = (self.describe(expected), self.describe(found));
                let argument = params.names[index].to_owned();
                let (name, usage, at) = (params.callee.to_owned(), params.usage.clone(), arg.span);
                self.report(CheckError::ArgumentType {
                    name,
                    argument,
                    expected,
                    found,
                    usage,
                    at,
                });
                error(arg.span)
            }
        }
    }

    fn misfit(
        &mut self,
        params: &Params,
        index: usize,
        expected: &Shape,
        found: &Shape,
        at: Span,
    ) -> Expr {
        let (param, callee) = (params.names[index], params.callee);
        let help = format!(
            "parameter `{param}` of `{callee}` has shape `{}` here",
            self.show_shape(expected)
        );
        self.shape_mismatch(expected, found, &help, at, None, Some(at));
        error(at)
    }

    fn require_fixed(&mut self, id: FunctionId, declared: &[Name], callee: &str, args: &[Expr]) {
        let fixed = self.cx.functions[id].fixed.clone();
        for ((arg, fixed), param) in args.iter().zip(fixed).zip(declared) {
            if fixed && arg.ty != Type::Error {
                self.require(
                    arg,
                    Level::Bind,
                    &format!("argument `{}` of `{callee}`", param.text),
                );
            }
        }
    }
}

/// `identity`, the initial value of a square state.
pub(super) fn identity(ty: Type, span: Span) -> Expr {
    Expr {
        kind: ExprKind::Builtin(Builtin::Identity, Vec::new()),
        ty,
        span,
    }
}

fn choice(words: &[&str]) -> Type {
    Type::Choice(words.iter().map(|word| (*word).to_owned()).collect())
}

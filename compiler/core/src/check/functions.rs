//! Functions: signatures first, then bodies, callees before callers.

use super::body::{Body, Context, Room};
use super::error::CheckError;
use super::graph;
use super::items::{FunctionInfo, Items, Scope};
use super::phase::{Phase, is_host};
use crate::hir::{self, Block, FileId, Function, FunctionId, Local, Pattern, Type};
use optc_grammar::ast::{self, ExprKind, Item, Span, StmtKind};
use std::collections::HashMap;

/// Enters a function by its signature; the body comes later.
pub(super) fn declare(cx: &mut Context, file: FileId, function: &ast::Function) -> FunctionId {
    let items = Items::new(file);
    let mut body = Body::new(cx, &items, Room::Function);
    let params = function
        .params
        .iter()
        .enumerate()
        .map(|(index, param)| body.param(index, param))
        .collect();
    let result = body.result_type(&function.result);
    let (symbols, locals) = (body.symbols, body.locals);
    let scope = Scope {
        names: body.names,
        local_info: body.local_info,
    };
    cx.functions.push(FunctionInfo {
        fixed: vec![false; function.params.len()],
        size: 0,
        can_fail: false,
        params: function
            .params
            .iter()
            .map(|param| param.name.clone())
            .collect(),
        scope: Some(scope),
    });
    cx.program.functions.push(Function {
        name: function.name.text.clone(),
        docs: function.docs.clone(),
        file,
        symbols,
        locals,
        params,
        result,
        body: Block {
            stmts: Vec::new(),
            tail: None,
        },
    })
}

impl Body<'_> {
    fn param(&mut self, index: usize, param: &ast::Param) -> (Local, Option<Pattern>) {
        let (ty, pattern) = self.param_type(&param.ty);
        let phase = if is_host(&ty) {
            Phase::of_param(index)
        } else {
            Phase::at(super::phase::Level::Device)
        };
        (
            self.add_local(&param.name, ty, false, phase, false),
            pattern,
        )
    }

    fn param_type(&mut self, ty: &ast::Type) -> (Type, Option<Pattern>) {
        let (fact, shape) = match ty {
            ast::Type::Tensor(shape) => (hir::Fact::General, shape),
            ast::Type::Applied { word, shape } => match self.fact(word) {
                Some(fact) => (fact, shape),
                None => return (Type::Error, None),
            },
            other => return (self.host_type(other, HOST).unwrap_or(Type::Error), None),
        };
        let Some(pattern) = self.pattern(shape) else {
            return (Type::Error, None);
        };
        let pattern = if fact == hir::Fact::General {
            pattern
        } else {
            square(pattern)
        };
        (
            Type::Tensor {
                shape: self.shape_of_pattern(&pattern),
                fact,
            },
            Some(pattern),
        )
    }

    fn result_type(&mut self, ty: &ast::Type) -> Type {
        match ty {
            ast::Type::Tensor(_) | ast::Type::Applied { .. } => {
                let declared = self.tensor_type(ty);
                let open = declared.iter().flat_map(|declared| &declared.shape.axes);
                if open
                    .into_iter()
                    .any(|axis| matches!(axis, hir::Axis::Dim(hir::Dim::Fresh(_))))
                {
                    let what = "a computed length".to_owned();
                    self.report(CheckError::BadPattern {
                        what,
                        at: type_span(ty),
                    });
                    return Type::Error;
                }
                declared.map_or(Type::Error, |declared| Type::Tensor {
                    shape: declared.shape,
                    fact: declared.fact,
                })
            }
            other => self.host_type(other, HOST).unwrap_or(Type::Error),
        }
    }
}

const HOST: &str =
    "a shape such as `[m, n]`, or `int`, `float`, `bool`, `dtype`, `choice(a, b)` or `table(3)`";

/// `sym[n]` means `[n, n]`.
fn square(mut pattern: Pattern) -> Pattern {
    if let [only] = pattern.axes.as_slice() {
        pattern.axes.push(*only);
    }
    pattern
}

pub(super) fn type_span(ty: &ast::Type) -> Span {
    match ty {
        ast::Type::Tensor(shape) => shape.span,
        ast::Type::Applied { word, shape } => word.span.to(shape.span),
        ast::Type::Word(word) => word.span,
        ast::Type::Choice { span, .. } | ast::Type::Table { span, .. } => *span,
    }
}

/// Checks the bodies of a file's functions.
pub(super) fn bodies(cx: &mut Context, items: &Items, ast: &ast::Module) {
    let functions: Vec<&ast::Function> = ast
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Function(function) => Some(function),
            _ => None,
        })
        .collect();
    for index in call_order(cx, items.file, &functions) {
        if let Some(id) = items.functions.get(&functions[index].name.text) {
            check_body(cx, items, *id, functions[index]);
        }
    }
}

/// Callees first; recursion is reported.
fn call_order(cx: &mut Context, file: FileId, functions: &[&ast::Function]) -> Vec<usize> {
    // Of functions that share a name, which was reported, the last is meant everywhere.
    let indices: HashMap<&str, usize> = functions
        .iter()
        .enumerate()
        .map(|(index, function)| (function.name.text.as_str(), index))
        .collect();
    let mut edges = Vec::new();
    let mut places: Vec<Vec<Span>> = Vec::new();
    for function in functions {
        let mut calls = Vec::new();
        calls_of_block(&function.body, &mut calls);
        let own: Vec<(usize, Span)> = calls
            .iter()
            .filter_map(|name| Some((*indices.get(name.text.as_str())?, name.span)))
            .collect();
        edges.push(own.iter().map(|(callee, _)| *callee).collect());
        places.push(own.iter().map(|(_, span)| *span).collect());
    }
    let found = graph::order(&edges);
    for circle in found.circles {
        let names = circle
            .path
            .iter()
            .map(|index| format!("`{}`", functions[*index].name.text));
        let path = names.collect::<Vec<_>>().join(" → ");
        let at = places[circle.closed_by.0][circle.closed_by.1];
        cx.sink.report(file, CheckError::Recursion { path, at });
    }
    found.nodes
}

fn check_body(cx: &mut Context, items: &Items, id: FunctionId, function: &ast::Function) {
    let Some(scope) = cx.functions[id].scope.take() else {
        return;
    };
    let declared = &cx.program.functions[id];
    let (symbols, locals, result) = (
        declared.symbols.clone(),
        declared.locals.clone(),
        declared.result.clone(),
    );
    let mut body = Body::new(cx, items, Room::Function);
    body.function = Some(id);
    body.symbols = symbols;
    body.locals = locals;
    body.names = scope.names;
    body.local_info = scope.local_info;
    body.source = Some(&function.body);
    let flow = body.flow;
    let checked = body.within(flow, |body| body.value_block(&function.body, Some(&result)));
    body.check_size(&function.name);
    let (locals, size, can_fail) = (body.locals, body.size, body.can_fail);
    cx.functions[id].size = size;
    cx.functions[id].can_fail = can_fail;
    let into = &mut cx.program.functions[id];
    into.locals = locals;
    into.body = checked;
}

/// The names of all functions that a block calls, in order.
fn calls_of_block(block: &ast::Block, into: &mut Vec<ast::Name>) {
    for stmt in &block.stmts {
        calls_of_stmt(stmt, into);
    }
    block.tail.iter().for_each(|tail| calls_of_expr(tail, into));
}

fn calls_of_stmt(stmt: &ast::Stmt, into: &mut Vec<ast::Name>) {
    match &stmt.kind {
        StmtKind::State { init: value, .. }
        | StmtKind::Let { value, .. }
        | StmtKind::Assign { value, .. } => {
            calls_of_expr(value, into);
        }
        StmtKind::If {
            cond,
            then,
            otherwise,
        } => {
            calls_of_expr(cond, into);
            calls_of_block(then, into);
            otherwise
                .iter()
                .for_each(|block| calls_of_block(block, into));
        }
        StmtKind::Every { period, from, body } => {
            calls_of_expr(period, into);
            from.iter().for_each(|from| calls_of_expr(from, into));
            calls_of_block(body, into);
        }
        StmtKind::Until { cond, most, body } => {
            calls_of_expr(cond, into);
            calls_of_expr(most, into);
            calls_of_block(body, into);
        }
        StmtKind::Chance { probability, body } => {
            calls_of_expr(probability, into);
            calls_of_block(body, into);
        }
        StmtKind::Repeat {
            table, count, body, ..
        } => {
            table
                .iter()
                .chain(count)
                .for_each(|expr| calls_of_expr(expr, into));
            calls_of_block(body, into);
        }
        StmtKind::OnFirst(body) | StmtKind::Modes { body, .. } | StmtKind::Each { body, .. } => {
            calls_of_block(body, into);
        }
        StmtKind::Skip => {}
    }
}

fn calls_of_expr(expr: &ast::Expr, into: &mut Vec<ast::Name>) {
    match &expr.kind {
        ExprKind::Number(_)
        | ExprKind::Text(_)
        | ExprKind::Bool(_)
        | ExprKind::Name(_)
        | ExprKind::Index { .. } => {}
        ExprKind::Unary(_, x)
        | ExprKind::Transpose(x)
        | ExprKind::Field(x, _)
        | ExprKind::OrElse { value: x, .. } => {
            calls_of_expr(x, into);
        }
        ExprKind::Binary(_, x, y) => {
            calls_of_expr(x, into);
            calls_of_expr(y, into);
        }
        ExprKind::Call { callee, args } => {
            into.push(callee.clone());
            args.iter().for_each(|arg| calls_of_expr(&arg.value, into));
        }
        ExprKind::If {
            cond,
            then,
            otherwise,
        } => {
            calls_of_expr(cond, into);
            calls_of_block(then, into);
            calls_of_block(otherwise, into);
        }
        ExprKind::In { body, .. } | ExprKind::Across { body, .. } => calls_of_block(body, into),
        ExprKind::Table(rows) => rows
            .iter()
            .flatten()
            .for_each(|cell| calls_of_expr(cell, into)),
    }
}

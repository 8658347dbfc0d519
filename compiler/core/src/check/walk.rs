//! Every expression of a syntax tree, in order, each before those inside it.

use optc_grammar::ast::{Block, Composed, Expr, ExprKind, Policy, Stmt, StmtKind};

/// Visits all expressions of a block and of the blocks in it.
pub(super) fn block<'a>(block: &'a Block, visit: &mut dyn FnMut(&'a Expr)) {
    for stmt in &block.stmts {
        self::stmt(stmt, visit);
    }
    block.tail.iter().for_each(|tail| expr(tail, visit));
}

fn stmt<'a>(stmt: &'a Stmt, visit: &mut dyn FnMut(&'a Expr)) {
    match &stmt.kind {
        StmtKind::State { init: value, .. }
        | StmtKind::Let { value, .. }
        | StmtKind::Assign { value, .. } => expr(value, visit),
        StmtKind::If {
            cond,
            then,
            otherwise,
        } => {
            expr(cond, visit);
            block(then, visit);
            otherwise.iter().for_each(|inner| block(inner, visit));
        }
        StmtKind::Every { period, from, body } => {
            expr(period, visit);
            from.iter().for_each(|from| expr(from, visit));
            block(body, visit);
        }
        StmtKind::Until { cond, most, body } => {
            expr(cond, visit);
            expr(most, visit);
            block(body, visit);
        }
        StmtKind::Chance { probability, body } => {
            expr(probability, visit);
            block(body, visit);
        }
        StmtKind::Repeat {
            table, count, body, ..
        } => {
            table.iter().chain(count).for_each(|x| expr(x, visit));
            block(body, visit);
        }
        StmtKind::OnFirst(body)
        | StmtKind::Modes { body, .. }
        | StmtKind::Each { body, .. }
        | StmtKind::Entry { body, .. } => block(body, visit),
        StmtKind::Skip => {}
    }
}

/// Visits an expression and all inside it.
pub(super) fn expr<'a>(value: &'a Expr, visit: &mut dyn FnMut(&'a Expr)) {
    visit(value);
    match &value.kind {
        ExprKind::Number(_)
        | ExprKind::Text(_)
        | ExprKind::Bool(_)
        | ExprKind::Name(_)
        | ExprKind::Index { .. } => {}
        ExprKind::Unary(_, x) | ExprKind::Transpose(x) | ExprKind::Field(x, _) => expr(x, visit),
        ExprKind::OrElse { value, policies } => {
            expr(value, visit);
            for policy in policies {
                match policy {
                    Policy::Keep {
                        most: Some(inner), ..
                    }
                    | Policy::Else(inner) => expr(inner, visit),
                    Policy::Keep { most: None, .. } | Policy::Retry(_) => {}
                }
            }
        }
        ExprKind::Binary(_, x, y) => {
            expr(x, visit);
            expr(y, visit);
        }
        ExprKind::Call { args, .. } => args.iter().for_each(|arg| expr(&arg.value, visit)),
        ExprKind::If {
            cond,
            then,
            otherwise,
        } => {
            expr(cond, visit);
            block(then, visit);
            block(otherwise, visit);
        }
        ExprKind::In { body, .. } | ExprKind::Across { body, .. } => block(body, visit),
        ExprKind::Composed(composed) => settings(composed, visit),
        ExprKind::Table(rows) => rows.iter().flatten().for_each(|cell| expr(cell, visit)),
    }
}

fn settings<'a>(composed: &'a Composed, visit: &mut dyn FnMut(&'a Expr)) {
    for (_, value) in &composed.settings {
        expr(value, visit);
    }
}

//! What a parameter's name decides: `named("bias|norm")`.
//!
//! A name matters only through the answers to the questions that the program asks, so parameters that answer alike
//! share plans.

use crate::hir::{Block, Builtin, Expr, ExprKind, Program, RuleBody, Stmt, StmtKind, Target};

/// Whether a name contains one of the words between bars; capitals do not matter.
pub(super) fn matches(words: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    words
        .split('|')
        .any(|word| name.contains(&word.trim().to_lowercase()))
}

/// The answers of a name to all questions of the program, in order.
pub fn answers(program: &Program, name: &str) -> Vec<bool> {
    let questions = questions(program);
    questions.iter().map(|words| matches(words, name)).collect()
}

/// Names that answer differently: none of the words, and each word by itself.
pub fn examples(program: &Program) -> Vec<String> {
    let mut names = vec![String::new()];
    for words in questions(program) {
        names.extend(words.split('|').map(|word| word.trim().to_owned()));
    }
    names
}

fn questions(program: &Program) -> Vec<&str> {
    let mut found = Vec::new();
    let rules = program
        .optimizers
        .values()
        .flat_map(|optimizer| &optimizer.rules);
    for rule in rules {
        let modes = rule.modes.values().filter_map(|modes| modes.guard.as_ref());
        let guards = rule.guard.iter().chain(modes);
        let states = rule.states.values().map(|state| &state.init);
        guards
            .chain(states)
            .for_each(|expr| in_expr(expr, &mut found));
        in_body(&rule.body, &mut found);
        let entries = rule.entries.iter();
        entries.for_each(|entry| in_block(&entry.body, &mut found));
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn in_body<'p>(body: &'p RuleBody, found: &mut Vec<&'p str>) {
    match body {
        RuleBody::Block(block) => in_block(block, found),
        RuleBody::Delegate {
            target: Target::Optimizer {
                hypers, statics, ..
            },
            ..
        } => {
            let given = hypers.iter().chain(statics);
            given.for_each(|(_, value)| in_expr(value, found));
        }
        RuleBody::Delegate { .. } => {}
    }
}

fn in_block<'p>(block: &'p Block, found: &mut Vec<&'p str>) {
    block.stmts.iter().for_each(|stmt| in_stmt(stmt, found));
    block.tail.iter().for_each(|tail| in_expr(tail, found));
}

fn in_stmt<'p>(stmt: &'p Stmt, found: &mut Vec<&'p str>) {
    match &stmt.kind {
        StmtKind::Let(_, value) | StmtKind::Assign(_, value) => in_expr(value, found),
        StmtKind::If {
            cond,
            then,
            otherwise,
        } => {
            in_expr(cond, found);
            in_block(then, found);
            in_block(otherwise, found);
        }
        StmtKind::Until { cond, most, body } => {
            [cond, most].into_iter().for_each(|x| in_expr(x, found));
            in_block(body, found);
        }
        StmtKind::Every { period, from, body } => {
            [period, from].into_iter().for_each(|x| in_expr(x, found));
            in_block(body, found);
        }
        StmtKind::Repeat {
            table, count, body, ..
        } => {
            let given = table.iter().chain(count);
            given.for_each(|x| in_expr(x, found));
            in_block(body, found);
        }
        StmtKind::OnFirst(body) | StmtKind::Each(_, body) => in_block(body, found),
        StmtKind::State(_) | StmtKind::Skip => {}
    }
}

fn in_expr<'p>(expr: &'p Expr, found: &mut Vec<&'p str>) {
    match &expr.kind {
        ExprKind::Builtin(Builtin::Named, args) => {
            if let [
                Expr {
                    kind: ExprKind::Text(words),
                    ..
                },
            ] = &args[..]
            {
                found.push(words);
            }
        }
        ExprKind::Unary(_, x) | ExprKind::Transpose(x) | ExprKind::Field(x, _) => in_expr(x, found),
        ExprKind::OrElse(policy) => {
            let most = policy.keep.as_ref().and_then(|keep| keep.most.as_deref());
            let others = most.into_iter().chain(&policy.instead);
            std::iter::once(&policy.value)
                .chain(others)
                .for_each(|x| in_expr(x, found));
        }
        ExprKind::Binary(_, x, y) => [x, y].into_iter().for_each(|x| in_expr(x, found)),
        ExprKind::Apply {
            param,
            grad,
            hypers,
            ..
        } => {
            in_expr(param, found);
            in_expr(grad, found);
            hypers.iter().for_each(|(_, value)| in_expr(value, found));
        }
        ExprKind::Call(_, args) | ExprKind::Use(_, _, args) | ExprKind::Builtin(_, args) => {
            args.iter().for_each(|arg| in_expr(arg, found))
        }
        ExprKind::In(_, body) | ExprKind::Across(_, _, body) => in_block(body, found),
        ExprKind::If {
            cond,
            then,
            otherwise,
        } => {
            in_expr(cond, found);
            in_block(then, found);
            in_block(otherwise, found);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn one_word_of_several_is_enough() {
        assert!(matches("wq | wk", "layers.0.attn.WQ.weight"));
        assert!(matches("bias", "fc.bias"));
        assert!(!matches("wq|wk", "layers.0.attn.wv.weight"));
        assert!(!matches("bias", ""));
    }
}

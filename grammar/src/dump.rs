//! The tree as S-expressions, for `--emit ast` and for snapshots; spans are left out.

use crate::ast::*;
use crate::parse::with_stack;

/// Columns of a line before a list is broken over several.
const WIDTH: usize = 100;

/// The tree of a file as text, one item after another, each ending its line.
pub fn dump(module: &Module) -> String {
    with_stack(|| items(module))
}

fn items(module: &Module) -> String {
    let mut out = String::new();
    let docs = docs(&module.docs).map(|docs| list("docs", [docs]));
    for item in docs.into_iter().chain(module.items.iter().map(item)) {
        item.write(0, &mut out);
        out.push('\n');
    }
    out
}

/// What is printed: a word or a list.
enum Sexp {
    Atom(String),
    List { parts: Vec<Sexp>, width: usize },
}

impl Sexp {
    fn width(&self) -> usize {
        match self {
            Self::Atom(text) => text.chars().count(),
            Self::List { width, .. } => *width,
        }
    }

    fn write(&self, indent: usize, out: &mut String) {
        match self {
            Self::Atom(text) => out.push_str(text),
            Self::List { parts, width } => {
                let flat = indent + width <= WIDTH;
                // The words at the head stay on the first line: `(let m` above its value.
                let head = parts
                    .iter()
                    .take_while(|part| matches!(part, Self::Atom(_)))
                    .count();
                out.push('(');
                for (at, part) in parts.iter().enumerate() {
                    match at {
                        0 => {}
                        _ if flat || at < head => out.push(' '),
                        _ => out.push_str(&format!("\n{:1$}", "", indent + 2)),
                    }
                    part.write(indent + 2, out);
                }
                out.push(')');
            }
        }
    }
}

fn atom(text: impl Into<String>) -> Sexp {
    Sexp::Atom(text.into())
}

fn row(parts: impl IntoIterator<Item = Sexp>) -> Sexp {
    let parts: Vec<Sexp> = parts.into_iter().collect();
    let width = parts
        .iter()
        .map(|part| part.width() + 1)
        .sum::<usize>()
        .max(1)
        + 1;
    Sexp::List { parts, width }
}

fn list(head: &str, parts: impl IntoIterator<Item = Sexp>) -> Sexp {
    row([atom(head)].into_iter().chain(parts))
}

fn name(name: &Name) -> Sexp {
    atom(&name.text)
}

fn docs(docs: &str) -> Option<Sexp> {
    (!docs.is_empty()).then(|| atom(format!("{docs:?}")))
}

fn item(item: &Item) -> Sexp {
    match item {
        Item::Use(item) => list(
            "use",
            [
                row(item.module.iter().map(name)),
                row(item.names.iter().map(name)),
            ],
        ),
        Item::Function(item) => function(item),
        Item::Table(item) => {
            let head = [name(&item.name)].into_iter().chain(docs(&item.docs));
            list("table", head.chain(rows(&item.rows)))
        }
        Item::Optimizer(item) => optimizer(item),
        Item::Composition(item) => {
            let head = [name(&item.name)].into_iter().chain(docs(&item.docs));
            list("optimizer", head.chain([composed(&item.value)]))
        }
    }
}

fn function(function: &Function) -> Sexp {
    let params = function
        .params
        .iter()
        .map(|param| row([name(&param.name), ty(&param.ty)]));
    let head = [name(&function.name)]
        .into_iter()
        .chain(docs(&function.docs));
    list(
        if function.component {
            "component"
        } else {
            "fn"
        },
        head.chain([row(params), ty(&function.result), block(&function.body)]),
    )
}

fn optimizer(optimizer: &Optimizer) -> Sexp {
    let parts = [name(&optimizer.name)]
        .into_iter()
        .chain(docs(&optimizer.docs));
    let bases = optimizer.bases.iter();
    let bases = bases.map(|base| list("base", [name(&base.name), composed(&base.default)]));
    let parts = parts
        .chain(bases)
        .chain(optimizer.hypers.iter().map(hyper))
        .chain(optimizer.statics.iter().map(static_))
        .chain(optimizer.shared.iter().map(shared));
    let absent = optimizer
        .absent_grad
        .iter()
        .map(|policy| list("absent-grad", [name(policy)]));
    let nonfinite = optimizer
        .nonfinite_grad
        .iter()
        .map(|policy| list("nonfinite-grad", [name(policy)]));
    let version = optimizer.version.iter();
    let version = version.map(|version| list("version", [name(version)]));
    list(
        "optimizer",
        parts
            .chain(absent)
            .chain(nonfinite)
            .chain(version)
            .chain(optimizer.migrations.iter().map(migration))
            .chain(optimizer.rules.iter().map(rule)),
    )
}

fn composed(composed: &Composed) -> Sexp {
    let settings = settings(&composed.settings);
    list(
        "compose",
        [name(&composed.target)].into_iter().chain(settings),
    )
}

fn settings(settings: &[(Name, Expr)]) -> impl Iterator<Item = Sexp> {
    settings
        .iter()
        .map(|(key, value)| list("=", [name(key), expr(value)]))
}

fn migration(migration: &Migration) -> Sexp {
    let changes = migration.changes.iter().map(change);
    list(
        "migrate",
        [name(&migration.from)].into_iter().chain(changes),
    )
}

fn change(change: &Change) -> Sexp {
    match change {
        Change::Rename { from, to } => list("rename", [name(from), name(to)]),
        Change::Drop(old) => list("drop", [name(old)]),
        Change::Add { name: new, value } => list("add", [name(new), expr(value)]),
    }
}

fn hyper(hyper: &Hyper) -> Sexp {
    let parts = [name(&hyper.name)].into_iter().chain(docs(&hyper.docs));
    list(
        "hyper",
        parts
            .chain([expr(&hyper.default)])
            .chain(hyper.range.as_ref().map(range)),
    )
}

fn static_(entry: &Static) -> Sexp {
    let parts = [name(&entry.name)].into_iter().chain(docs(&entry.docs));
    list(
        "static",
        parts
            .chain([ty(&entry.ty), expr(&entry.default)])
            .chain(entry.range.as_ref().map(range)),
    )
}

fn shared(shared: &Shared) -> Sexp {
    let parts = [name(&shared.name)].into_iter().chain(docs(&shared.docs));
    list("shared", parts.chain([expr(&shared.initial)]))
}

fn range(range: &Range) -> Sexp {
    let lo = if range.lo_closed { "from" } else { "above" };
    let hi = if range.hi_closed { "to" } else { "below" };
    list(
        "in",
        [list(lo, [expr(&range.lo)]), list(hi, [expr(&range.hi)])],
    )
}

fn rule(rule: &Rule) -> Sexp {
    let parts = [name(&rule.name)].into_iter().chain(docs(&rule.docs));
    let head = parts
        .chain([name(&rule.param), shape(&rule.pattern)])
        .chain(guard(&rule.guard));
    list("rule", head.chain([rule_body(&rule.body)]))
}

fn rule_body(body: &RuleBody) -> Sexp {
    match body {
        RuleBody::Block(body) => block(body),
        RuleBody::Delegate {
            target, args, view, ..
        } => {
            let args = settings(args);
            let view = view.iter().map(|view| list("on", [expr(view)]));
            list(
                "delegate",
                [name(target)].into_iter().chain(args).chain(view),
            )
        }
    }
}

fn guard(guard: &Option<Expr>) -> Option<Sexp> {
    guard.as_ref().map(|guard| list("where", [expr(guard)]))
}

fn ty(ty: &Type) -> Sexp {
    match ty {
        Type::Tensor(axes) => shape(axes),
        Type::Applied { word, shape: axes } => row([name(word), shape(axes)]),
        Type::Word(word) => name(word),
        Type::Choice { names, .. } => list("choice", names.iter().map(name)),
        Type::Table { width, .. } => list("table", [atom(width.to_string())]),
    }
}

fn shape(shape: &Shape) -> Sexp {
    list(
        "shape",
        shape.axes.iter().map(|axis| match axis {
            Axis::Dim(dim) => expr(dim),
            Axis::Rest(_) => atom("..."),
        }),
    )
}

fn block(block: &Block) -> Sexp {
    let tail = block.tail.iter().map(|tail| list("value", [expr(tail)]));
    list("do", block.stmts.iter().map(statement).chain(tail))
}

fn statement(stmt: &Stmt) -> Sexp {
    match &stmt.kind {
        StmtKind::State {
            name,
            index,
            packed,
            ty: written,
            init,
        } => {
            let parts = [indexed(name, index.as_ref())]
                .into_iter()
                .chain(packed.map(|_| atom("packed")))
                .chain(written.as_ref().map(ty));
            list("state", parts.chain([expr(init)]))
        }
        StmtKind::Let {
            name: bound,
            mutable,
            ty: written,
            value,
        } => {
            let parts = [name(bound)].into_iter().chain(written.as_ref().map(ty));
            list(
                if *mutable { "var" } else { "let" },
                parts.chain([expr(value)]),
            )
        }
        StmtKind::Assign {
            target,
            index,
            op,
            value,
        } => {
            let op = format!("{}=", op.map_or("", symbol));
            list(&op, [indexed(target, index.as_ref()), expr(value)])
        }
        StmtKind::If {
            cond,
            then,
            otherwise,
        } => if_(cond, then, otherwise.as_ref()),
        StmtKind::OnFirst(body) => list("on-first", [block(body)]),
        StmtKind::Every { period, from, body } => {
            let from = from.iter().map(|from| list("from", [expr(from)]));
            list(
                "every",
                [expr(period)].into_iter().chain(from).chain([block(body)]),
            )
        }
        StmtKind::Until { cond, most, body } => {
            list("until", [expr(cond), expr(most), block(body)])
        }
        StmtKind::Chance { probability, body } => {
            list("with-probability", [expr(probability), block(body)])
        }
        StmtKind::Modes {
            var,
            of,
            guard: which,
            body,
        } => {
            let parts = [name(var), name(of)].into_iter().chain(guard(which));
            list("modes", parts.chain([block(body)]))
        }
        StmtKind::Each { var, body } => list("each", [name(var), block(body)]),
        StmtKind::Repeat {
            row: names,
            table,
            count,
            body,
        } => {
            let table = table
                .iter()
                .map(|table| list("in", [row(names.iter().map(name)), expr(table)]));
            let count = count.iter().map(|count| list("take", [expr(count)]));
            list("repeat", table.chain(count).chain([block(body)]))
        }
        StmtKind::Skip => list("skip", []),
        StmtKind::Entry {
            name: called,
            inputs,
            body,
        } => {
            let inputs = inputs.iter().map(|input| {
                let ty = match &input.ty {
                    InputType::Like(of) => list("like", [name(of)]),
                    InputType::Written(written) => ty(written),
                };
                row([name(&input.name), ty])
            });
            list("entry", [name(called), row(inputs), block(body)])
        }
    }
}

fn expr(value: &Expr) -> Sexp {
    match &value.kind {
        ExprKind::Number(value) => atom(number(*value)),
        ExprKind::Bool(value) => atom(value.to_string()),
        ExprKind::Name(name) => atom(name),
        ExprKind::Index { name, index } => indexed(name, Some(index)),
        ExprKind::Unary(UnaryOp::Neg, value) => list("-", [expr(value)]),
        ExprKind::Unary(UnaryOp::Not, value) => list("not", [expr(value)]),
        ExprKind::Transpose(value) => list("'", [expr(value)]),
        ExprKind::Binary(op, left, right) => list(symbol(*op), [expr(left), expr(right)]),
        ExprKind::Call { callee, args } => list(
            "call",
            [name(callee)].into_iter().chain(args.iter().map(arg)),
        ),
        ExprKind::Field(value, field) => list(".", [expr(value), name(field)]),
        ExprKind::If {
            cond,
            then,
            otherwise,
        } => if_(cond, then, Some(otherwise)),
        ExprKind::Text(text) => atom(format!("{text:?}")),
        ExprKind::Across { max, body } => {
            list(if *max { "across-max" } else { "across" }, [block(body)])
        }
        ExprKind::In { dtype, body } => list("in", [name(dtype), block(body)]),
        ExprKind::OrElse { value, policies } => list(
            "or-else",
            [expr(value)].into_iter().chain(policies.iter().map(policy)),
        ),
        ExprKind::Composed(value) => composed(value),
        ExprKind::Table(cells) => list("rows", rows(cells)),
    }
}

fn if_(cond: &Expr, then: &Block, otherwise: Option<&Block>) -> Sexp {
    list(
        "if",
        [expr(cond), block(then)]
            .into_iter()
            .chain(otherwise.map(block)),
    )
}

fn arg(arg: &Arg) -> Sexp {
    match &arg.name {
        Some(key) => list(":", [name(key), expr(&arg.value)]),
        None => expr(&arg.value),
    }
}

fn policy(policy: &Policy) -> Sexp {
    match policy {
        Policy::Retry(dtype) => list("retry", [name(dtype)]),
        Policy::Keep { most: None, .. } => atom("keep"),
        Policy::Keep {
            most: Some(most), ..
        } => list("keep", [expr(most)]),
        Policy::Else(instead) => list("else", [expr(instead)]),
    }
}

fn rows(rows: &[Vec<Expr>]) -> impl Iterator<Item = Sexp> {
    rows.iter().map(|cells| row(cells.iter().map(expr)))
}

fn indexed(name: &Name, index: Option<&Name>) -> Sexp {
    match index {
        Some(index) => atom(format!("{}[{}]", name.text, index.text)),
        None => atom(&name.text),
    }
}

/// The shortest text that reads back as the same number.
fn number(value: f64) -> String {
    let text = format!("{value:?}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::ElementMul => ".*",
        BinaryOp::Div => "/",
        BinaryOp::Pow => "^",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        BinaryOp::Eq => "==",
        BinaryOp::Ne => "!=",
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
    }
}

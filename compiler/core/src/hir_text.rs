//! The checked tree as text, for `--emit hir` and for snapshots: names instead of ids, a type behind every declaration.
//!
//! ```text
//! rule each(w: [...])
//!   state exp_avg: [...] = zeros_like(w)
//!   exp_avg = lerp(exp_avg, grad, (1 - beta1))
//! ```
//!
//! Operations are in parentheses. Of two tensors, `*` is the product of matrices and `.*` that of elements.

use crate::hir::*;
use crate::kernel::Fold;
use cranelift_entity::PrimaryMap;
use std::fmt::{self, Display, Formatter};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for table in self.tables.values() {
            writeln!(f, "table {} = {}", table.name, rows(&table.rows))?;
        }
        for function in self.functions.values() {
            write_function(self, function, f)?;
        }
        for optimizer in self.optimizers.values() {
            write_optimizer(self, optimizer, f)?;
        }
        Ok(())
    }
}

/// Whose names the ids of a tree are.
#[derive(Clone, Copy)]
struct Names<'a> {
    program: &'a Program,
    optimizer: Option<&'a Optimizer>,
    rule: Option<&'a Rule>,
    states: Option<&'a PrimaryMap<StateId, State>>,
    symbols: Option<&'a PrimaryMap<Symbol, String>>,
    locals: Option<&'a PrimaryMap<Local, LocalData>>,
}

impl<'a> Names<'a> {
    fn of_program(program: &'a Program) -> Self {
        Self {
            program,
            optimizer: None,
            rule: None,
            states: None,
            symbols: None,
            locals: None,
        }
    }

    fn of_function(program: &'a Program, function: &'a Function) -> Self {
        let (symbols, locals) = (Some(&function.symbols), Some(&function.locals));
        Self {
            states: Some(&function.states),
            symbols,
            locals,
            ..Self::of_program(program)
        }
    }

    fn of_rule(program: &'a Program, optimizer: &'a Optimizer, rule: &'a Rule) -> Self {
        let (symbols, locals) = (Some(&rule.symbols), Some(&rule.locals));
        Self {
            program,
            optimizer: Some(optimizer),
            rule: Some(rule),
            states: Some(&rule.states),
            symbols,
            locals,
        }
    }

    fn symbol(&self, symbol: Symbol) -> &'a str {
        self.symbols
            .and_then(|symbols| symbols.get(symbol))
            .map_or("?", String::as_str)
    }

    fn local(&self, local: Local) -> &'a str {
        self.local_data(local)
            .map_or("?", |data| data.name.as_str())
    }

    fn local_data(&self, local: Local) -> Option<&'a LocalData> {
        self.locals.and_then(|locals| locals.get(local))
    }

    fn state(&self, state: StateId) -> Option<&'a State> {
        self.states.and_then(|states| states.get(state))
    }

    fn state_name(&self, state: StateId) -> &'a str {
        self.state(state).map_or("?", |state| state.name.as_str())
    }

    fn state_of_mode(&self, state: StateId) -> String {
        let modes = self.state(state).and_then(|state| state.modes);
        format!(
            "{}[{}]",
            self.state_name(state),
            modes.map_or("?", |modes| self.mode(modes))
        )
    }

    fn mode(&self, modes: ModesId) -> &'a str {
        self.rule
            .and_then(|rule| rule.modes.get(modes))
            .map_or("?", |modes| modes.var.as_str())
    }

    fn param(&self) -> &'a str {
        self.rule.map_or("?", |rule| rule.param.as_str())
    }

    fn hyper(&self, index: usize) -> &'a str {
        let hyper = self
            .optimizer
            .and_then(|optimizer| optimizer.hypers.get(index));
        hyper.map_or("?", |hyper| hyper.name.as_str())
    }

    fn shared(&self, index: usize) -> &'a str {
        let shared = self
            .optimizer
            .and_then(|optimizer| optimizer.shared.get(index));
        shared.map_or("?", |shared| shared.name.as_str())
    }

    fn base(&self, index: usize) -> &'a str {
        let base = self
            .optimizer
            .and_then(|optimizer| optimizer.bases.get(index));
        base.map_or("?", |base| base.name.as_str())
    }

    fn static_name(&self, index: usize) -> &'a str {
        let entry = self
            .optimizer
            .and_then(|optimizer| optimizer.statics.get(index));
        entry.map_or("?", |entry| entry.name.as_str())
    }

    fn shape(&self, shape: &Shape) -> String {
        let axes = shape.axes.iter().map(|axis| match axis {
            Axis::Rest(_) => "...".to_owned(),
            Axis::Dim(dim) => self.dim(dim),
        });
        format!("[{}]", axes.collect::<Vec<_>>().join(", "))
    }

    fn dim(&self, dim: &Dim) -> String {
        match dim {
            Dim::Const(length) => length.to_string(),
            Dim::Named(name) => name.clone(),
            Dim::Mode(modes) => format!("dim({}, {})", self.param(), self.mode(*modes)),
            Dim::Fresh(id) => format!("_{id}"),
        }
    }

    fn ty(&self, ty: &Type) -> String {
        match ty {
            Type::Error => "error".to_owned(),
            Type::Int => "int".to_owned(),
            Type::Float => "float".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Choice(words) => format!("choice({})", words.join(", ")),
            Type::DType => "dtype".to_owned(),
            Type::Table(width) => format!("table({width})"),
            Type::Tensor { shape, fact } => format!("{}{}", fact_word(*fact), self.shape(shape)),
            Type::Mask(shape) => format!("mask{}", self.shape(shape)),
            Type::Indices { count, of } if count == of => format!("indices[{}]", self.dim(of)),
            Type::Indices { count, of } => {
                format!("indices[{} of {}]", self.dim(count), self.dim(of))
            }
            Type::Eigh(shape) => format!("eigh{}", self.shape(shape)),
            Type::Qr(shape) => format!("qr{}", self.shape(shape)),
            Type::Svd(shape, _) => format!("svd{}", self.shape(shape)),
            Type::Family(modes) => format!("family({})", self.mode(*modes)),
        }
    }

    fn pattern(&self, pattern: &Pattern) -> String {
        let axes = pattern.axes.iter().map(|axis| match axis {
            PatternAxis::Bind(symbol) => self.symbol(*symbol).to_owned(),
            PatternAxis::Fixed(length) => length.to_string(),
            PatternAxis::Rest => "...".to_owned(),
        });
        format!("[{}]", axes.collect::<Vec<_>>().join(", "))
    }

    fn expr(&self, expr: &Expr) -> String {
        match &expr.kind {
            ExprKind::Number(value) => number(*value),
            ExprKind::Bool(value) => value.to_string(),
            ExprKind::Word(word) => word.clone(),
            ExprKind::DType(dtype) => dtype.map_or("same", |dtype| dtype.name()).to_owned(),
            ExprKind::Hyper(index) => self.hyper(*index).to_owned(),
            ExprKind::Static(index) => self.static_name(*index).to_owned(),
            ExprKind::Shared(index) => self.shared(*index).to_owned(),
            ExprKind::Across(Fold::Sum, _, block) => {
                format!("across params {}", self.inline(block))
            }
            ExprKind::Across(Fold::Max, _, block) => {
                format!("across params max {}", self.inline(block))
            }
            ExprKind::Text(words) => format!("{words:?}"),
            ExprKind::Step => "step".to_owned(),
            ExprKind::Param => self.param().to_owned(),
            ExprKind::Grad => "grad".to_owned(),
            ExprKind::State(state) | ExprKind::Family(state) => self.state_name(*state).to_owned(),
            ExprKind::StateOfMode(state) => self.state_of_mode(*state),
            ExprKind::Local(local) => self.local(*local).to_owned(),
            ExprKind::Dim(symbol) => self.symbol(*symbol).to_owned(),
            ExprKind::Mode => "mode".to_owned(),
            ExprKind::Table(table) => self
                .program
                .tables
                .get(*table)
                .map_or("?", |table| &table.name)
                .to_owned(),
            ExprKind::TableLiteral(cells) => rows(cells),
            ExprKind::Unary(UnaryOp::Neg, x) => format!("-{}", self.expr(x)),
            ExprKind::Unary(UnaryOp::Not, x) => format!("not {}", self.expr(x)),
            ExprKind::Binary(op, x, y) => {
                let tensors = [x, y]
                    .iter()
                    .all(|side| matches!(side.ty, Type::Tensor { .. }));
                let op = if *op == BinaryOp::Mul && tensors {
                    ".*"
                } else {
                    symbol_of(*op)
                };
                format!("({} {op} {})", self.expr(x), self.expr(y))
            }
            ExprKind::Transpose(x) => format!("{}'", self.expr(x)),
            ExprKind::If {
                cond,
                then,
                otherwise,
            } => {
                format!(
                    "if {} {} else {}",
                    self.expr(cond),
                    self.inline(then),
                    self.inline(otherwise)
                )
            }
            ExprKind::In(dtype, block) => format!("in {} {}", self.expr(dtype), self.inline(block)),
            ExprKind::Call(function, args) | ExprKind::Use(function, _, args) => {
                let name = self
                    .program
                    .functions
                    .get(*function)
                    .map_or("?", |function| &function.name);
                format!("{name}({})", self.list(args))
            }
            ExprKind::Apply {
                base,
                param,
                grad,
                hypers,
            } => {
                let set = hypers.iter();
                let set = set.map(|(name, value)| format!(", {name}: {}", self.expr(value)));
                let (param, grad) = (self.expr(param), self.expr(grad));
                format!(
                    "{}({param}, {grad}{})",
                    self.base(*base),
                    set.collect::<String>()
                )
            }
            ExprKind::BaseHyper(base, name) => format!("{}.{name}", self.base(*base)),
            ExprKind::Builtin(Builtin::Identity, _) => "identity".to_owned(),
            ExprKind::Builtin(builtin, args) => {
                format!("{}({})", snake_case(*builtin), self.list(args))
            }
            ExprKind::Field(x, field) => {
                format!("{}.{}", self.expr(x), format!("{field:?}").to_lowercase())
            }
            ExprKind::OrElse(policy) => self.or_else(policy),
        }
    }

    fn or_else(&self, policy: &OrElse) -> String {
        let retry = if policy.retry_f64 {
            " or retry f64"
        } else {
            ""
        };
        let keep = match &policy.keep {
            None => String::new(),
            Some(Keep { most: None, .. }) => " or keep".to_owned(),
            Some(Keep {
                most: Some(most), ..
            }) => format!(" or keep at most {} times", self.expr(most)),
        };
        let instead = policy.instead.as_ref();
        let instead = instead.map_or(String::new(), |x| format!(" or else {}", self.expr(x)));
        format!("({}{retry}{keep}{instead})", self.expr(&policy.value))
    }

    fn list(&self, exprs: &[Expr]) -> String {
        exprs
            .iter()
            .map(|expr| self.expr(expr))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// A block inside an expression, on one line.
    fn inline(&self, block: &Block) -> String {
        let mut text = Text {
            names: *self,
            lines: Vec::new(),
            depth: 0,
        };
        text.block(block);
        let lines: Vec<&str> = text.lines.iter().map(|line| line.trim_start()).collect();
        format!("{{ {} }}", lines.join("; "))
    }
}

/// Lines of statements.
struct Text<'a> {
    names: Names<'a>,
    lines: Vec<String>,
    depth: usize,
}

impl Text<'_> {
    fn line(&mut self, text: impl Display) {
        self.lines
            .push(format!("{:indent$}{text}", "", indent = 2 * self.depth));
    }

    fn nested(&mut self, head: impl Display, block: &Block) {
        self.line(head);
        self.depth += 1;
        self.block(block);
        self.depth -= 1;
    }

    fn block(&mut self, block: &Block) {
        for stmt in &block.stmts {
            self.stmt(stmt);
        }
        if let Some(tail) = &block.tail {
            self.line(self.names.expr(tail));
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        let names = self.names;
        match &stmt.kind {
            StmtKind::State(state) => self.state(*state),
            StmtKind::Let(local, value) => {
                let data = names.local_data(*local);
                let word = if data.is_some_and(|data| data.mutable) {
                    "var"
                } else {
                    "let"
                };
                let ty = data.map_or_else(String::new, |data| names.ty(&data.ty));
                self.line(format!(
                    "{word} {}: {ty} = {}",
                    names.local(*local),
                    names.expr(value)
                ));
            }
            StmtKind::Assign(place, value) => {
                self.line(format!("{} = {}", self.place(*place), names.expr(value)))
            }
            StmtKind::If {
                cond,
                then,
                otherwise,
            } => {
                self.nested(format!("if {}", names.expr(cond)), then);
                if !otherwise.stmts.is_empty() {
                    self.nested("else", otherwise);
                }
            }
            StmtKind::OnFirst(body) => self.nested("on first step", body),
            StmtKind::Every { period, from, body } => {
                let head = format!(
                    "every {} steps from {}",
                    names.expr(period),
                    names.expr(from)
                );
                self.nested(head, body);
            }
            StmtKind::Until { cond, most, body } => {
                let head = format!("until {} at most {}", names.expr(cond), names.expr(most));
                self.nested(head, body);
            }
            StmtKind::Each(modes, body) => {
                self.nested(format!("each {}", names.mode(*modes)), body)
            }
            StmtKind::Repeat {
                row,
                table,
                count,
                body,
            } => {
                let row: Vec<&str> = row.iter().map(|local| names.local(*local)).collect();
                let table = table
                    .as_ref()
                    .map(|table| format!(" ({}) in {}", row.join(", "), names.expr(table)));
                let count = count
                    .as_ref()
                    .map(|count| format!(" {}", names.expr(count)));
                let take = if table.is_some() && count.is_some() {
                    " take"
                } else {
                    ""
                };
                let (table, count) = (table.unwrap_or_default(), count.unwrap_or_default());
                self.nested(format!("repeat{table}{take}{count}"), body);
            }
            StmtKind::Skip => self.line("skip"),
        }
    }

    fn state(&mut self, id: StateId) {
        let names = self.names;
        let Some(state) = names.state(id) else { return };
        let name = match state.modes {
            Some(_) => names.state_of_mode(id),
            None => state.name.clone(),
        };
        let dtype = match (state.format, state.dtype) {
            (Some(format), _) => format!("{format} "),
            (None, Some(dtype)) => format!("{dtype} "),
            (None, None) => String::new(),
        };
        self.line(format!(
            "state {name}: {dtype}{} = {}",
            names.ty(&state.ty),
            names.expr(&state.init)
        ));
    }

    fn place(&self, place: Place) -> String {
        match place {
            Place::Param => self.names.param().to_owned(),
            Place::State(state) => self.names.state_name(state).to_owned(),
            Place::StateOfMode(state) => self.names.state_of_mode(state),
            Place::Shared(index) => self.names.shared(index).to_owned(),
            Place::Local(local) => self.names.local(local).to_owned(),
        }
    }

    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn write_function(program: &Program, function: &Function, f: &mut Formatter<'_>) -> fmt::Result {
    let names = Names::of_function(program, function);
    let params = function.params.iter().map(|(local, _)| {
        let ty = names
            .local_data(*local)
            .map_or_else(String::new, |data| names.ty(&data.ty));
        format!("{}: {ty}", names.local(*local))
    });
    let params = params.collect::<Vec<_>>().join(", ");
    writeln!(
        f,
        "{} {}({params}) -> {}",
        if function.component {
            "component"
        } else {
            "fn"
        },
        function.name,
        names.ty(&function.result)
    )?;
    let mut text = Text {
        names,
        lines: Vec::new(),
        depth: 1,
    };
    text.block(&function.body);
    text.write(f)
}

fn write_optimizer(program: &Program, optimizer: &Optimizer, f: &mut Formatter<'_>) -> fmt::Result {
    let names = Names {
        optimizer: Some(optimizer),
        ..Names::of_program(program)
    };
    let range =
        |range: Option<Range>| range.map_or_else(String::new, |range| format!(" in {range}"));
    writeln!(f, "optimizer {}", optimizer.name)?;
    for hyper in &optimizer.hypers {
        writeln!(
            f,
            "  hyper {} = {}{}",
            hyper.name,
            names.expr(&hyper.default),
            range(hyper.range)
        )?;
    }
    for entry in &optimizer.statics {
        let (ty, default) = (static_type(&entry.ty), names.expr(&entry.default));
        writeln!(
            f,
            "  static {}: {ty} = {default}{}",
            entry.name,
            range(entry.range)
        )?;
    }
    for shared in &optimizer.shared {
        writeln!(
            f,
            "  shared {} = {}",
            shared.name,
            names.expr(&shared.initial)
        )?;
    }
    if optimizer.absent_grad_is_zero {
        writeln!(f, "  absent grad: zeros")?;
    }
    match optimizer.nonfinite_grad {
        NonfiniteGrad::Pass => {}
        NonfiniteGrad::Skip => writeln!(f, "  nonfinite grad: skip")?,
        NonfiniteGrad::Raise => writeln!(f, "  nonfinite grad: raise")?,
    }
    if optimizer.version != FIRST_VERSION {
        writeln!(f, "  version {:?}", optimizer.version)?;
    }
    for migration in &optimizer.migrations {
        writeln!(f, "  migrate from {:?}", migration.from)?;
        let mut changes = migration.changes.iter();
        changes.try_for_each(|change| writeln!(f, "    {change}"))?;
    }
    optimizer
        .rules
        .iter()
        .try_for_each(|rule| write_rule(program, optimizer, rule, f))
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rename { from, to } => write!(f, "rename {from} -> {to}"),
            Self::Drop(name) => write!(f, "drop {name}"),
            Self::Add { name, value } => write!(f, "add {name} = {}", number(*value)),
        }
    }
}

fn static_type(ty: &StaticType) -> String {
    match ty {
        StaticType::Int => "int".to_owned(),
        StaticType::Float => "float".to_owned(),
        StaticType::Bool => "bool".to_owned(),
        StaticType::Choice(words) => format!("choice({})", words.join(", ")),
        StaticType::Table(width) => format!("table({width})"),
        StaticType::DType => "dtype".to_owned(),
    }
}

fn write_rule(
    program: &Program,
    optimizer: &Optimizer,
    rule: &Rule,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    let names = Names::of_rule(program, optimizer, rule);
    let guard = rule
        .guard
        .as_ref()
        .map_or_else(String::new, |guard| format!(" where {}", names.expr(guard)));
    write!(
        f,
        "  rule {}({}: {}){guard}",
        rule.name,
        rule.param,
        names.pattern(&rule.pattern)
    )?;
    match &rule.body {
        RuleBody::Block(block) => {
            let mut text = Text {
                names,
                lines: Vec::new(),
                depth: 2,
            };
            for modes in rule.modes.values() {
                let guard = modes
                    .guard
                    .as_ref()
                    .map(|guard| format!(" where {}", names.expr(guard)));
                text.line(format!("modes {}{}", modes.var, guard.unwrap_or_default()));
            }
            text.block(block);
            for entry in &rule.entries {
                let inputs = entry.inputs.iter().map(|input| match input.kind {
                    InputKind::Tensor => format!("{}: like {}", input.name, rule.param),
                    InputKind::Number => format!("{}: float", input.name),
                });
                let inputs = inputs.collect::<Vec<_>>().join(", ");
                text.nested(format!("entry {}({inputs})", entry.name), &entry.body);
            }
            writeln!(f)?;
            text.write(f)
        }
        RuleBody::Delegate { target, view } => {
            let view = view
                .iter()
                .map(|view| format!(" on {}", view_text(names, view)));
            writeln!(
                f,
                " = {}{}",
                target_text(names, target),
                view.collect::<String>()
            )
        }
    }
}

fn view_text(names: Names<'_>, view: &View) -> String {
    match view {
        View::Flatten { from } => format!("flatten(from: {})", names.expr(from)),
        View::Merge { limit, from_right } => {
            format!(
                "merge(limit: {}, from: {})",
                names.expr(limit),
                if *from_right { "right" } else { "left" }
            )
        }
        View::Permute { axes } => format!("permute({axes:?})"),
        View::Unsqueeze { axis } => format!("unsqueeze(axis: {})", names.expr(axis)),
        View::Rows { of } => format!("rows(of: {})", names.expr(of)),
        View::Split { axis, parts } => {
            let parts = match parts {
                Parts::Equal(count) => format!("parts: {}", names.expr(count)),
                Parts::Sizes(sizes) => format!("sizes: {}", names.expr(sizes)),
            };
            format!("split(axis: {}, {parts})", names.expr(axis))
        }
        View::Blocks { size } => format!("blocks(size: {})", names.expr(size)),
    }
}

fn target_text(names: Names<'_>, target: &Target) -> String {
    match target {
        Target::Rule(index) => {
            let rule = names
                .optimizer
                .and_then(|optimizer| optimizer.rules.get(*index));
            rule.map_or("?", |rule| rule.name.as_str()).to_owned()
        }
        Target::Optimizer {
            id,
            hypers,
            statics,
        } => {
            let Some(other) = names.program.optimizers.get(*id) else {
                return "?".to_owned();
            };
            let hypers = hypers
                .iter()
                .map(|(index, value)| (&other.hypers[*index].name, value));
            let statics = statics
                .iter()
                .map(|(index, value)| (&other.statics[*index].name, value));
            let args = hypers
                .chain(statics)
                .map(|(name, value)| format!("{name} = {}", names.expr(value)));
            format!("{}({})", other.name, args.collect::<Vec<_>>().join(", "))
        }
    }
}

/// `1`, `0.95`, `1e-30`
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:?}");
    text.strip_suffix(".0")
        .map_or_else(|| text.clone(), str::to_owned)
}

fn rows(rows: &[Vec<f64>]) -> String {
    let rows = rows.iter().map(|row| {
        let cells: Vec<String> = row.iter().copied().map(number).collect();
        format!("({})", cells.join(", "))
    });
    format!("[{}]", rows.collect::<Vec<_>>().join(", "))
}

fn fact_word(fact: Fact) -> &'static str {
    match fact {
        Fact::General => "",
        Fact::Symmetric => "sym",
        Fact::Spd => "spd",
        Fact::Orthogonal => "orthogonal",
        Fact::Upper => "upper",
        Fact::Lower => "lower",
        Fact::Diagonal => "diagonal",
    }
}

fn symbol_of(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul | BinaryOp::MatMul => "*",
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

/// `ZerosLike` is written `zeros_like`; the two forms of `gram` share a name.
fn snake_case(builtin: Builtin) -> String {
    if builtin == Builtin::GramMode {
        return "gram".to_owned();
    }
    let mut text = String::new();
    for c in format!("{builtin:?}").chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}

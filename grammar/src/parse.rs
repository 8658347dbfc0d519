//! Text → pest pairs → [`ast`](crate::ast): files, items, types and statements; `expr.rs` has the expressions.
//!
//! Pest proves that a pair has the children `opt.pest` gives it, so the code here takes them in order.
//! A text is refused before pest sees it when it is too large or its brackets nest too deep, and the tree built
//! here is never deeper than the same bound, so everything that walks it may recurse.

use std::iter::{Filter, Peekable};

use pest::Parser;
use pest::iterators::{Pair, Pairs};

use crate::ast::*;
use crate::error::ParseError;
use crate::{docs, scan};

/// The largest source, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// How many brackets and operators may stand around a point of the text.
pub const MAX_DEPTH: usize = 256;

/// Reads one `.opt` file.
///
/// # Errors
///
/// The first mistake in the text; its spans are byte ranges of `text`.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    if text.len() > MAX_SIZE {
        return Err(ParseError::TooLarge {
            size: text.len(),
            at: Span::at(MAX_SIZE, 0),
        });
    }
    scan::check_brackets(text)?;
    let mut pairs =
        Grammar::parse(Rule::module, text).map_err(|error| ParseError::from_pest(text, &error))?;
    let module = pairs
        .next()
        .unwrap_or_else(|| unreachable!("pest gives one pair for `module`"));
    Builder { text, depth: 0 }.module(module)
}

pub(crate) use grammar::{Grammar, Rule};

mod grammar {
    //! What pest makes of `opt.pest`.

    /// The parser that pest derives.
    #[derive(pest_derive::Parser)]
    #[grammar = "../opt.pest"]
    pub(crate) struct Grammar;
}

pub(crate) type Result<T, E = ParseError> = std::result::Result<T, E>;

/// Turns pairs into the tree.
pub(crate) struct Builder<'a> {
    pub(crate) text: &'a str,
    /// Levels around the node being built.
    depth: usize,
}

impl<'a> Builder<'a> {
    fn module(&mut self, pair: Pair<'a, Rule>) -> Result<Module> {
        let items = Node::new(pair)
            .all(Rule::item)
            .map(|item| self.item(only(item)))
            .collect::<Result<_>>()?;
        Ok(Module {
            docs: docs::of_module(self.text),
            items,
        })
    }

    fn item(&mut self, pair: Pair<'a, Rule>) -> Result<Item> {
        match pair.as_rule() {
            Rule::use_item => Ok(Item::Use(use_item(pair))),
            Rule::function => self.function(pair).map(Item::Function),
            Rule::table_item => self.table(pair).map(Item::Table),
            _ => self.optimizer(pair).map(Item::Optimizer),
        }
    }

    fn function(&mut self, pair: Pair<'a, Rule>) -> Result<Function> {
        let (span, docs) = (span(&pair), self.docs_above(&pair, ""));
        let mut node = Node::new(pair);
        let name = name(node.need(Rule::name));
        let params = node
            .all(Rule::param)
            .map(|param| self.param(param))
            .collect::<Result<_>>()?;
        let result = self.ty(node.need(Rule::ty))?;
        let body = self.block(node.need(Rule::block))?;
        Ok(Function {
            docs,
            name,
            params,
            result,
            body,
            span,
        })
    }

    fn param(&mut self, pair: Pair<'a, Rule>) -> Result<Param> {
        let mut node = Node::new(pair);
        Ok(Param {
            name: name(node.need(Rule::name)),
            ty: self.ty(node.need(Rule::ty))?,
        })
    }

    fn table(&mut self, pair: Pair<'a, Rule>) -> Result<Table> {
        let (span, docs) = (span(&pair), self.docs_above(&pair, ""));
        let mut node = Node::new(pair);
        let name = name(node.need(Rule::name));
        Ok(Table {
            docs,
            name,
            rows: self.rows(node.need(Rule::list))?,
            span,
        })
    }

    fn optimizer(&mut self, pair: Pair<'a, Rule>) -> Result<Optimizer> {
        let (span, docs) = (span(&pair), self.docs_above(&pair, ""));
        let mut node = Node::new(pair);
        let name = name(node.need(Rule::name));
        let (hypers, statics, rules) = (Vec::new(), Vec::new(), Vec::new());
        let mut optimizer = Optimizer {
            docs,
            name,
            hypers,
            statics,
            absent_grad: None,
            rules,
            span,
        };
        for member in node.all(Rule::member) {
            self.member(only(member), &mut optimizer)?;
        }
        Ok(optimizer)
    }

    fn member(&mut self, pair: Pair<'a, Rule>, into: &mut Optimizer) -> Result<()> {
        match pair.as_rule() {
            Rule::hyper_member => {
                for hyper in Node::new(pair).all(Rule::hyper) {
                    into.hypers.push(self.hyper(hyper)?);
                }
            }
            Rule::static_member => {
                for choice in Node::new(pair).all(Rule::static_choice) {
                    into.statics.push(self.static_choice(choice)?);
                }
            }
            Rule::absent_member => absent(pair, &mut into.absent_grad)?,
            _ => into.rules.push(self.rule(pair)?),
        }
        Ok(())
    }

    fn hyper(&mut self, pair: Pair<'a, Rule>) -> Result<Hyper> {
        let docs = self.docs_around(&pair, "hyper");
        let mut node = Node::new(pair);
        let name = name(node.need(Rule::name));
        let default = self.expr(node.need(Rule::expr))?;
        let range = node
            .maybe(Rule::range)
            .map(|range| self.range(range))
            .transpose()?;
        Ok(Hyper {
            docs,
            name,
            default,
            range,
        })
    }

    fn static_choice(&mut self, pair: Pair<'a, Rule>) -> Result<Static> {
        let docs = self.docs_around(&pair, "static");
        let mut node = Node::new(pair);
        let name = name(node.need(Rule::name));
        let ty = self.ty(node.need(Rule::ty))?;
        let default = self.expr(node.need(Rule::expr))?;
        let range = node
            .maybe(Rule::range)
            .map(|range| self.range(range))
            .transpose()?;
        Ok(Static {
            docs,
            name,
            ty,
            default,
            range,
        })
    }

    fn range(&mut self, pair: Pair<'a, Rule>) -> Result<Range> {
        let end = span(&pair);
        let mut node = Node::new(pair);
        let open = node.need(Rule::range_open);
        let lo = self.expr(node.need(Rule::expr))?;
        let hi = self.expr(node.need(Rule::expr))?;
        let hi_closed = node.need(Rule::range_close).as_str() == "]";
        Ok(Range {
            lo,
            lo_closed: open.as_str() == "[",
            hi,
            hi_closed,
            span: span(&open).to(end),
        })
    }

    fn rule(&mut self, pair: Pair<'a, Rule>) -> Result<crate::ast::Rule> {
        let (span, docs) = (span(&pair), self.docs_above(&pair, ""));
        let mut node = Node::new(pair);
        let name_ = name(node.need(Rule::rule_name));
        let param = name(node.need(Rule::name));
        let pattern = self.shape(node.need(Rule::shape))?;
        let guard = self.guard(&mut node)?;
        let body = match node.maybe(Rule::block) {
            Some(block) => RuleBody::Block(self.block(block)?),
            None => self.delegate(node.need(Rule::delegate))?,
        };
        Ok(crate::ast::Rule {
            docs,
            name: name_,
            param,
            pattern,
            guard,
            body,
            span,
        })
    }

    fn guard(&mut self, node: &mut Node<'a>) -> Result<Option<Expr>> {
        node.maybe(Rule::guard)
            .map(|guard| self.expr(only(guard)))
            .transpose()
    }

    fn delegate(&mut self, pair: Pair<'a, Rule>) -> Result<RuleBody> {
        let end = span(&pair);
        let mut node = Node::new(pair);
        let target = name(node.need(Rule::rule_name));
        let args = match node.maybe(Rule::delegate_args) {
            Some(args) => Node::new(args)
                .all(Rule::setting)
                .map(|arg| self.setting(arg))
                .collect::<Result<_>>()?,
            None => Vec::new(),
        };
        let view = node
            .maybe(Rule::expr)
            .map(|view| self.expr(view))
            .transpose()?;
        let span = target.span.to(end);
        Ok(RuleBody::Delegate {
            target,
            args,
            view,
            span,
        })
    }

    fn setting(&mut self, pair: Pair<'a, Rule>) -> Result<(Name, Expr)> {
        let mut node = Node::new(pair);
        Ok((
            name(node.need(Rule::name)),
            self.expr(node.need(Rule::expr))?,
        ))
    }

    fn ty(&mut self, pair: Pair<'a, Rule>) -> Result<Type> {
        let pair = only(pair);
        let (span, rule) = (span(&pair), pair.as_rule());
        let mut node = Node::new(pair);
        match rule {
            Rule::choice_ty => Ok(Type::Choice {
                names: node.all(Rule::name).map(name).collect(),
                span,
            }),
            Rule::table_ty => Ok(Type::Table {
                width: width(&node.need(Rule::integer))?,
                span,
            }),
            _ => {
                let word = node.maybe(Rule::name).map(name);
                let shape = node
                    .maybe(Rule::shape)
                    .map(|shape| self.shape(shape))
                    .transpose()?;
                Ok(tensor_ty(word, shape))
            }
        }
    }

    fn shape(&mut self, pair: Pair<'a, Rule>) -> Result<Shape> {
        let span = span(&pair);
        let axes = self.nested(1, span, |this| {
            Node::new(pair)
                .all(Rule::axis)
                .map(|axis| this.axis(only(axis)))
                .collect()
        })?;
        Ok(Shape { axes, span })
    }

    fn axis(&mut self, pair: Pair<'a, Rule>) -> Result<Axis> {
        let span = span(&pair);
        match pair.as_rule() {
            Rule::rest => Ok(Axis::Rest(span)),
            Rule::in_axis => Ok(Axis::Dim(Expr {
                kind: ExprKind::Name("in".to_owned()),
                span,
            })),
            _ => self.expr(pair).map(Axis::Dim),
        }
    }

    pub(crate) fn block(&mut self, pair: Pair<'a, Rule>) -> Result<Block> {
        let span = span(&pair);
        let mut node = Node::new(pair);
        self.nested(1, span, |this| {
            let stmts = node
                .all(Rule::statement)
                .map(|stmt| this.statement(only(stmt)))
                .collect::<Result<_>>()?;
            let tail = node
                .maybe(Rule::expr)
                .map(|tail| this.expr(tail))
                .transpose()?;
            Ok(block(stmts, tail, span))
        })
    }

    fn statement(&mut self, pair: Pair<'a, Rule>) -> Result<Stmt> {
        let (span, rule) = (span(&pair), pair.as_rule());
        if rule == Rule::if_form {
            let branches = self.branches(pair)?;
            return Ok(branches.into_statement(span));
        }
        let mut node = Node::new(pair);
        let kind = match rule {
            Rule::state => self.state(&mut node)?,
            Rule::binding => self.binding(&mut node)?,
            Rule::assign => self.assign(&mut node)?,
            Rule::on_first => StmtKind::OnFirst(self.block(node.need(Rule::block))?),
            Rule::every => self.every(&mut node)?,
            Rule::modes => self.modes(&mut node)?,
            Rule::each => {
                let var = name(node.need(Rule::name));
                StmtKind::Each {
                    var,
                    body: self.block(node.need(Rule::block))?,
                }
            }
            Rule::repeat => self.repeat(&mut node)?,
            _ => StmtKind::Skip,
        };
        Ok(Stmt { kind, span })
    }

    fn state(&mut self, node: &mut Node<'a>) -> Result<StmtKind> {
        let name = name(node.need(Rule::name));
        let index = node.maybe(Rule::subscript).map(subscript);
        let ty = node.maybe(Rule::ty).map(|ty| self.ty(ty)).transpose()?;
        Ok(StmtKind::State {
            name,
            index,
            ty,
            init: self.expr(node.need(Rule::expr))?,
        })
    }

    fn binding(&mut self, node: &mut Node<'a>) -> Result<StmtKind> {
        let mutable = node.maybe(Rule::kw_var).is_some();
        let name = name(node.need(Rule::name));
        let ty = node.maybe(Rule::ty).map(|ty| self.ty(ty)).transpose()?;
        Ok(StmtKind::Let {
            name,
            mutable,
            ty,
            value: self.expr(node.need(Rule::expr))?,
        })
    }

    fn assign(&mut self, node: &mut Node<'a>) -> Result<StmtKind> {
        let target = name(node.need(Rule::name));
        let index = node.maybe(Rule::subscript).map(subscript);
        let op = match node.need(Rule::assign_op).as_str() {
            "+=" => Some(BinaryOp::Add),
            "-=" => Some(BinaryOp::Sub),
            "*=" => Some(BinaryOp::Mul),
            "/=" => Some(BinaryOp::Div),
            _ => None,
        };
        Ok(StmtKind::Assign {
            target,
            index,
            op,
            value: self.expr(node.need(Rule::expr))?,
        })
    }

    fn every(&mut self, node: &mut Node<'a>) -> Result<StmtKind> {
        let period = self.expr(node.need(Rule::expr))?;
        let from = node
            .maybe(Rule::expr)
            .map(|from| self.expr(from))
            .transpose()?;
        Ok(StmtKind::Every {
            period,
            from,
            body: self.block(node.need(Rule::block))?,
        })
    }

    fn modes(&mut self, node: &mut Node<'a>) -> Result<StmtKind> {
        let (var, of) = (name(node.need(Rule::name)), name(node.need(Rule::name)));
        let guard = self.guard(node)?;
        Ok(StmtKind::Modes {
            var,
            of,
            guard,
            body: self.block(node.need(Rule::block))?,
        })
    }

    fn repeat(&mut self, node: &mut Node<'a>) -> Result<StmtKind> {
        let row: Option<Vec<Name>> = node
            .maybe(Rule::row)
            .map(|row| Node::new(row).all(Rule::name).map(name).collect());
        let first = self.expr(node.need(Rule::expr))?;
        let (row, table, count) = match row {
            Some(row) => (
                row,
                Some(first),
                node.maybe(Rule::take)
                    .map(|take| self.expr(only(take)))
                    .transpose()?,
            ),
            None => (Vec::new(), None, Some(first)),
        };
        Ok(StmtKind::Repeat {
            row,
            table,
            count,
            body: self.block(node.need(Rule::block))?,
        })
    }

    /// An `if` with all that hangs on it, in either use.
    pub(crate) fn branches(&mut self, pair: Pair<'a, Rule>) -> Result<Branches> {
        let end = span(&pair);
        let mut node = Node::new(pair);
        let mut arms = Vec::new();
        while let Some(start) = node.maybe(Rule::kw_if) {
            arms.push((
                span(&start).to(end),
                node.need(Rule::expr),
                node.need(Rule::block),
            ));
        }
        self.nested(arms.len(), end, |this| {
            let mut otherwise = node
                .maybe(Rule::block)
                .map(|block| this.block(block))
                .transpose()?;
            let complete = otherwise.is_some();
            let (_, cond, then) = arms.remove(0);
            for (span, cond, then) in arms.into_iter().rev() {
                let (cond, then) = (this.expr(cond)?, this.block(then)?);
                let inner = Branches {
                    cond,
                    then,
                    otherwise,
                    complete,
                }
                .into_statement(span);
                otherwise = Some(block(vec![inner], None, span));
            }
            Ok(Branches {
                cond: this.expr(cond)?,
                then: this.block(then)?,
                otherwise,
                complete,
            })
        })
    }

    /// Builds something `levels` deeper.
    pub(crate) fn nested<T>(
        &mut self,
        levels: usize,
        at: Span,
        build: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.depth += levels;
        if self.depth > MAX_DEPTH {
            return Err(ParseError::TooDeep { at });
        }
        let built = build(self);
        self.depth -= levels;
        built
    }

    fn docs_above(&self, pair: &Pair<Rule>, opener: &str) -> String {
        docs::above(self.text, span(pair).start, opener)
    }

    fn docs_around(&self, pair: &Pair<Rule>, opener: &str) -> String {
        match self.docs_above(pair, opener) {
            above if above.is_empty() => docs::beside(self.text, span(pair).end),
            above => above,
        }
    }
}

/// The parts of an `if`; an `else if` is a block of one statement.
pub(crate) struct Branches {
    pub(crate) cond: Expr,
    pub(crate) then: Block,
    pub(crate) otherwise: Option<Block>,
    /// The chain ends in an `else`.
    pub(crate) complete: bool,
}

impl Branches {
    fn into_statement(self, span: Span) -> Stmt {
        let Self {
            cond,
            then,
            otherwise,
            ..
        } = self;
        Stmt {
            kind: StmtKind::If {
                cond,
                then,
                otherwise,
            },
            span,
        }
    }
}

/// A block; an `if` at its end is its value when both branches have one.
fn block(mut stmts: Vec<Stmt>, tail: Option<Expr>, span: Span) -> Block {
    let tail = tail.or_else(|| match stmts.pop()? {
        Stmt {
            kind:
                StmtKind::If {
                    cond,
                    then,
                    otherwise: Some(otherwise),
                },
            span,
        } if then.tail.is_some() && otherwise.tail.is_some() => Some(Expr {
            kind: ExprKind::If {
                cond: Box::new(cond),
                then,
                otherwise,
            },
            span,
        }),
        other => {
            stmts.push(other);
            None
        }
    });
    Block {
        stmts,
        tail: tail.map(Box::new),
        span,
    }
}

fn use_item(pair: Pair<Rule>) -> Use {
    let span = span(&pair);
    let mut node = Node::new(pair);
    let mut module: Vec<Name> = node.all(Rule::name).map(name).collect();
    let names = match node.maybe(Rule::use_list) {
        Some(list) => Node::new(list).all(Rule::name).map(name).collect(),
        None => module.pop().into_iter().collect(),
    };
    Use {
        module,
        names,
        span,
    }
}

fn absent(pair: Pair<Rule>, into: &mut Option<Name>) -> Result<()> {
    let policy = name(only(pair));
    if let Some(first) = into {
        return Err(ParseError::RepeatedMember {
            member: "absent grad",
            at: policy.span,
            origin: first.span,
        });
    }
    *into = Some(policy);
    Ok(())
}

/// `[m, n]`, `sym[n]` or `int`: the grammar gives at least one of the two.
fn tensor_ty(word: Option<Name>, shape: Option<Shape>) -> Type {
    match (word, shape) {
        (Some(word), Some(shape)) => Type::Applied { word, shape },
        (Some(word), None) => Type::Word(word),
        (None, Some(shape)) => Type::Tensor(shape),
        (None, None) => unreachable!("opt.pest gives a type a word or a shape"),
    }
}

fn width(pair: &Pair<Rule>) -> Result<u32> {
    let number = pair.as_str().to_owned();
    let help = "a whole number below 4294967296";
    number
        .replace('_', "")
        .parse()
        .map_err(|_| ParseError::NumberRange {
            number,
            help,
            at: span(pair),
        })
}

pub(crate) fn name(pair: Pair<Rule>) -> Name {
    Name {
        text: pair.as_str().to_owned(),
        span: span(&pair),
    }
}

pub(crate) fn subscript(pair: Pair<Rule>) -> Name {
    name(only(pair))
}

/// The one child that is not a mark.
pub(crate) fn only(pair: Pair<Rule>) -> Pair<Rule> {
    let rule = pair.as_rule();
    Node::new(pair)
        .children
        .next()
        .unwrap_or_else(|| unreachable!("opt.pest gives `{rule:?}` a child"))
}

/// From the first to the last token: a pair itself may include the space before an absent optional part.
pub(crate) fn span(pair: &Pair<Rule>) -> Span {
    let start = pair.as_span().start();
    let mut last = pair.clone();
    while !ends_in_bracket(last.as_rule()) {
        match last.clone().into_inner().next_back() {
            Some(child) => last = child,
            None => break,
        }
    }
    Span::at(start, last.as_span().end() - start)
}

/// Rules whose end needs no search; without them a long block would be searched at each level around it.
fn ends_in_bracket(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::block | Rule::shape | Rule::args | Rule::paren | Rule::list | Rule::optimizer
    )
}

/// The children of a pair in order, without marks.
pub(crate) struct Node<'a> {
    children: Peekable<Filter<Pairs<'a, Rule>, fn(&Pair<'a, Rule>) -> bool>>,
}

impl<'a> Node<'a> {
    pub(crate) fn new(pair: Pair<'a, Rule>) -> Self {
        let keep: fn(&Pair<'a, Rule>) -> bool = |child| !is_mark(child.as_rule());
        Self {
            children: pair.into_inner().filter(keep).peekable(),
        }
    }

    /// The next child, if it is a `rule`.
    pub(crate) fn maybe(&mut self, rule: Rule) -> Option<Pair<'a, Rule>> {
        self.children.next_if(|child| child.as_rule() == rule)
    }

    /// The next child, which `opt.pest` makes a `rule`.
    pub(crate) fn need(&mut self, rule: Rule) -> Pair<'a, Rule> {
        self.maybe(rule)
            .unwrap_or_else(|| unreachable!("opt.pest promises `{rule:?}` here"))
    }

    /// The children that follow and are a `rule`.
    pub(crate) fn all(&mut self, rule: Rule) -> impl Iterator<Item = Pair<'a, Rule>> {
        std::iter::from_fn(move || self.maybe(rule))
    }

    /// The next child.
    pub(crate) fn peek(&mut self) -> Option<&Pair<'a, Rule>> {
        self.children.peek()
    }

    /// The next child, of any rule.
    pub(crate) fn next(&mut self) -> Option<Pair<'a, Rule>> {
        self.children.next()
    }
}

/// Tokens that carry no more than their place in a production.
fn is_mark(rule: Rule) -> bool {
    use Rule::*;
    matches!(
        rule,
        call_open
            | field_dot
            | index_open
            | key_colon
            | kw_absent
            | kw_choice
            | kw_each
            | kw_else
            | kw_every
            | kw_first
            | kw_fn
            | kw_from
            | kw_grad
            | kw_hyper
            | kw_in
            | kw_let
            | kw_modes
            | kw_of
            | kw_on
            | kw_optimizer
            | kw_or
            | kw_repeat
            | kw_retry
            | kw_rule
            | kw_skip
            | kw_state
            | kw_static
            | kw_step
            | kw_steps
            | kw_table
            | kw_take
            | kw_use
            | kw_where
            | arrow
            | brace_close
            | brace_open
            | bracket_close
            | bracket_open
            | colon
            | comma
            | dot
            | equals
            | paren_close
            | paren_open
            | semicolon
            | EOI
    )
}

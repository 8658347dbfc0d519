//! Blocks and statements.

use pest::iterators::Pair;

use crate::ast::*;
use crate::error::ParseError;
use crate::pairs::{Node, name, only, span, subscript};
use crate::parse::{Builder, Result, Rule};

impl<'a> Builder<'a> {
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
            Rule::until => self.until(&mut node, span)?,
            Rule::chance => StmtKind::Chance {
                probability: self.expr(node.need(Rule::expr))?,
                body: self.block(node.need(Rule::block))?,
            },
            Rule::modes => self.modes(&mut node)?,
            Rule::each => {
                let var = name(node.need(Rule::name));
                StmtKind::Each {
                    var,
                    body: self.block(node.need(Rule::block))?,
                }
            }
            Rule::repeat => self.repeat(&mut node, span)?,
            Rule::entry => self.entry(&mut node)?,
            _ => StmtKind::Skip,
        };
        Ok(Stmt { kind, span })
    }

    fn state(&mut self, node: &mut Node<'a>) -> Result<StmtKind> {
        let name = name(node.need(Rule::name));
        let index = node.maybe(Rule::subscript).map(subscript);
        let packed = node.maybe(Rule::packed).map(|word| span(&word));
        let ty = node.maybe(Rule::ty).map(|ty| self.ty(ty)).transpose()?;
        Ok(StmtKind::State {
            name,
            index,
            packed,
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

    fn until(&mut self, node: &mut Node<'a>, at: Span) -> Result<StmtKind> {
        let cond = self.expr(node.need(Rule::expr))?;
        let most = node
            .maybe(Rule::expr)
            .ok_or_else(|| unbounded("until", at))?;
        Ok(StmtKind::Until {
            cond,
            most: self.expr(most)?,
            body: self.block(node.need(Rule::block))?,
        })
    }

    fn repeat(&mut self, node: &mut Node<'a>, at: Span) -> Result<StmtKind> {
        let row: Option<Vec<Name>> = node
            .maybe(Rule::row)
            .map(|row| Node::new(row).all(Rule::name).map(name).collect());
        let first = node
            .maybe(Rule::expr)
            .ok_or_else(|| unbounded("repeat", at))?;
        let first = self.expr(first)?;
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

    fn entry(&mut self, node: &mut Node<'a>) -> Result<StmtKind> {
        let name = name(node.need(Rule::name));
        let inputs = node
            .all(Rule::entry_input)
            .map(|input| self.entry_input(input))
            .collect::<Result<_>>()?;
        Ok(StmtKind::Entry {
            name,
            inputs,
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

/// The word of a loop that says nothing of its end.
fn unbounded(word: &'static str, whole: Span) -> ParseError {
    let (bound, example) = match word {
        "until" => ("`at most`", "until norm(x) < 1 at most 20 { … }"),
        _ => ("a number of turns", "repeat 5 { … }"),
    };
    ParseError::UnboundedLoop {
        word,
        bound,
        example,
        at: Span::at(whole.start as usize, word.len()),
    }
}

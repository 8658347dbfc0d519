//! Flat pest pairs → expressions: precedence climbing, postfix marks, primaries.

use pest::iterators::Pair;

use crate::ast::*;
use crate::error::ParseError;
use crate::pairs::{Node, name, only, span, subscript};
use crate::parse::{Builder, Result, Rule};

/// How tightly `not` binds.
const NOT: u8 = 3;
/// How tightly unary `-` binds: looser than `^`, so that `-x^2` is `-(x^2)`.
const NEG: u8 = 7;

impl<'a> Builder<'a> {
    pub(crate) fn expr(&mut self, pair: Pair<'a, Rule>) -> Result<Expr> {
        let chain = |child: &Pair<Rule>| matches!(child.as_rule(), Rule::prefix | Rule::infix);
        let operators = pair.clone().into_inner().filter(chain).count();
        self.nested(operators, span(&pair), |this| {
            let end = span(&pair);
            let mut node = Node::new(pair);
            let value = this.binary(&mut node, 0)?;
            let policies = node.all(Rule::policy).map(|pair| this.policy(pair));
            let policies = policies.collect::<Result<Vec<Policy>>>()?;
            Ok(if policies.is_empty() {
                value
            } else {
                or_else(value, policies, end)
            })
        })
    }

    fn policy(&mut self, pair: Pair<'a, Rule>) -> Result<Policy> {
        let choice = only(pair);
        match choice.as_rule() {
            Rule::keep => self.keep(choice),
            Rule::instead => Ok(Policy::Else(Box::new(self.expr(only(choice))?))),
            _ => Ok(Policy::Retry(name(choice))),
        }
    }

    fn keep(&mut self, pair: Pair<'a, Rule>) -> Result<Policy> {
        let span = span(&pair);
        let most = Node::new(pair).maybe(Rule::expr);
        let most = most.map(|most| self.expr(most)).transpose()?;
        Ok(Policy::Keep {
            most: most.map(Box::new),
            span,
        })
    }

    /// An operand and the operators after it that bind at least as tightly as `min`.
    fn binary(&mut self, node: &mut Node<'a>, min: u8) -> Result<Expr> {
        let mut left = self.prefixed(node, min)?;
        let mut comparison = None;
        while let Some((op, at)) = node
            .peek()
            .and_then(infix)
            .filter(|(op, _)| power(*op) >= min)
        {
            node.next();
            if power(op) == power(BinaryOp::Eq)
                && let Some(origin) = comparison.replace(at)
            {
                return Err(ParseError::ChainedComparison { at, origin });
            }
            let right = self.binary(node, power(op) + u8::from(op != BinaryOp::Pow))?;
            let span = left.span.to(right.span);
            left = Expr {
                kind: ExprKind::Binary(op, Box::new(left), Box::new(right)),
                span,
            };
        }
        Ok(left)
    }

    fn prefixed(&mut self, node: &mut Node<'a>, min: u8) -> Result<Expr> {
        let Some(prefix) = node.maybe(Rule::prefix) else {
            return self.term(node.need(Rule::term));
        };
        let at = span(&prefix);
        let (op, power) = match prefix.as_str() {
            "-" => (UnaryOp::Neg, NEG),
            _ if min > NOT => {
                return Err(ParseError::unexpected(
                    self.text,
                    "`(` before `not`".to_owned(),
                    at,
                ));
            }
            _ => (UnaryOp::Not, NOT),
        };
        let value = self.binary(node, power)?;
        let span = at.to(value.span);
        Ok(Expr {
            kind: ExprKind::Unary(op, Box::new(value)),
            span,
        })
    }

    fn term(&mut self, pair: Pair<'a, Rule>) -> Result<Expr> {
        let at = span(&pair);
        let mut node = Node::new(pair);
        let first = node
            .next()
            .unwrap_or_else(|| unreachable!("opt.pest gives a term a primary"));
        let marks: Vec<Pair<Rule>> = std::iter::from_fn(|| node.next()).collect();
        self.nested(marks.len(), at, |this| {
            let value = this.primary(first)?;
            Ok(marks.into_iter().fold(value, postfix))
        })
    }

    fn primary(&mut self, pair: Pair<'a, Rule>) -> Result<Expr> {
        let span = span(&pair);
        let kind = match pair.as_rule() {
            Rule::number => ExprKind::Number(number(&pair)?),
            Rule::text => ExprKind::Text(pair.as_str().trim_matches('"').to_owned()),
            Rule::truth => ExprKind::Bool(pair.as_str() == "true"),
            Rule::if_form => self.choice(pair)?,
            Rule::in_form => self.precision(pair)?,
            Rule::across_form => self.across(pair)?,
            Rule::in_name => ExprKind::Name("in".to_owned()),
            Rule::named => self.named(pair)?,
            Rule::list => ExprKind::Table(self.rows(pair)?),
            _ => self.paren(pair)?,
        };
        Ok(Expr { kind, span })
    }

    fn across(&mut self, pair: Pair<'a, Rule>) -> Result<ExprKind> {
        let mut node = Node::new(pair);
        let max = node.maybe(Rule::kw_max).is_some();
        let body = self.block(node.need(Rule::block))?;
        Ok(ExprKind::Across { max, body })
    }

    fn choice(&mut self, pair: Pair<'a, Rule>) -> Result<ExprKind> {
        let at = Span::at(span(&pair).start as usize, "if".len());
        let branches = self.branches(pair)?;
        match branches.otherwise {
            Some(otherwise) if branches.complete => Ok(ExprKind::If {
                cond: Box::new(branches.cond),
                then: branches.then,
                otherwise,
            }),
            _ => Err(ParseError::MissingElse { at }),
        }
    }

    fn precision(&mut self, pair: Pair<'a, Rule>) -> Result<ExprKind> {
        let mut node = Node::new(pair);
        let dtype = name(node.need(Rule::name));
        Ok(ExprKind::In {
            dtype,
            body: self.block(node.need(Rule::block))?,
        })
    }

    fn named(&mut self, pair: Pair<'a, Rule>) -> Result<ExprKind> {
        let at = span(&pair);
        let mut node = Node::new(pair);
        let name = name(node.need(Rule::name));
        if let Some(index) = node.maybe(Rule::subscript) {
            return Ok(ExprKind::Index {
                name,
                index: subscript(index),
            });
        }
        let Some(args) = node.maybe(Rule::args) else {
            return Ok(ExprKind::Name(name.text));
        };
        let args = self.nested(1, at, |this| {
            Node::new(args)
                .all(Rule::arg)
                .map(|arg| this.arg(arg))
                .collect()
        })?;
        Ok(ExprKind::Call { callee: name, args })
    }

    fn arg(&mut self, pair: Pair<'a, Rule>) -> Result<Arg> {
        let mut node = Node::new(pair);
        Ok(Arg {
            name: node.maybe(Rule::name).map(name),
            value: self.expr(node.need(Rule::expr))?,
        })
    }

    /// `(a)` is `a`; `(a, b)` is a table of one row.
    fn paren(&mut self, pair: Pair<'a, Rule>) -> Result<ExprKind> {
        let mut cells = self.cells(pair)?;
        match cells.pop() {
            Some(value) if cells.is_empty() => Ok(value.kind),
            last => {
                cells.extend(last);
                Ok(ExprKind::Table(vec![cells]))
            }
        }
    }

    /// The rows of `[(a, b), (c, d)]`; a cell of its own is a row of one.
    pub(crate) fn rows(&mut self, pair: Pair<'a, Rule>) -> Result<Vec<Vec<Expr>>> {
        self.nested(1, span(&pair), |this| {
            Node::new(pair)
                .all(Rule::expr)
                .map(|row| match alone(row.clone(), Rule::paren) {
                    Some(paren) => this.cells(paren),
                    None => Ok(vec![this.expr(row)?]),
                })
                .collect()
        })
    }

    fn cells(&mut self, pair: Pair<'a, Rule>) -> Result<Vec<Expr>> {
        self.nested(1, span(&pair), |this| {
            Node::new(pair)
                .all(Rule::expr)
                .map(|cell| this.expr(cell))
                .collect()
        })
    }
}

/// The `rule` that is all of an expression, if that is so.
fn alone(expr: Pair<Rule>, rule: Rule) -> Option<Pair<Rule>> {
    sole(sole(expr)?).filter(|pair| pair.as_rule() == rule)
}

fn sole(pair: Pair<Rule>) -> Option<Pair<Rule>> {
    let mut children = pair.into_inner();
    children.next().filter(|_| children.next().is_none())
}

fn postfix(value: Expr, mark: Pair<Rule>) -> Expr {
    let span = value.span.to(span(&mark));
    let kind = match mark.as_rule() {
        Rule::transpose => ExprKind::Transpose(Box::new(value)),
        _ => ExprKind::Field(Box::new(value), name(mark)),
    };
    Expr { kind, span }
}

fn or_else(value: Expr, policies: Vec<Policy>, end: Span) -> Expr {
    let span = value.span.to(end);
    Expr {
        kind: ExprKind::OrElse {
            value: Box::new(value),
            policies,
        },
        span,
    }
}

/// A finite number, unless it is written `inf`, or `pi`; what is not zero must not become zero.
fn number(pair: &Pair<Rule>) -> Result<f64> {
    let (text, at) = (pair.as_str(), span(pair));
    if text == "pi" {
        return Ok(std::f64::consts::PI);
    }
    let help = "a number between 4.9e-324 and 1.8e308, or `inf`";
    let out_of_range = || ParseError::NumberRange {
        number: text.to_owned(),
        help,
        at,
    };
    let value: f64 = text.replace('_', "").parse().map_err(|_| out_of_range())?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let vanished = value == 0.0 && mantissa.contains(|digit| ('1'..='9').contains(&digit));
    let overflowed = value.is_infinite() && text != "inf";
    if vanished || overflowed {
        Err(out_of_range())
    } else {
        Ok(value)
    }
}

fn infix(pair: &Pair<Rule>) -> Option<(BinaryOp, Span)> {
    let op = match pair.as_str() {
        _ if pair.as_rule() != Rule::infix => return None,
        "+" => BinaryOp::Add,
        "-" => BinaryOp::Sub,
        "*" => BinaryOp::Mul,
        ".*" => BinaryOp::ElementMul,
        "/" => BinaryOp::Div,
        "^" => BinaryOp::Pow,
        "<" => BinaryOp::Lt,
        "<=" => BinaryOp::Le,
        ">" => BinaryOp::Gt,
        ">=" => BinaryOp::Ge,
        "==" => BinaryOp::Eq,
        "!=" => BinaryOp::Ne,
        "and" => BinaryOp::And,
        _ => BinaryOp::Or,
    };
    Some((op, span(pair)))
}

/// How tightly an operator binds.
fn power(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And => 2,
        BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge | BinaryOp::Eq | BinaryOp::Ne => {
            4
        }
        BinaryOp::Add | BinaryOp::Sub => 5,
        BinaryOp::Mul | BinaryOp::ElementMul | BinaryOp::Div => 6,
        BinaryOp::Pow => 8,
    }
}

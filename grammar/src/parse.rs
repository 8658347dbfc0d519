//! Text → pest pairs → [`ast`](crate::ast): files, items and types; `block.rs` and `expr.rs` have the rest.
//!
//! Pest proves that a pair has the children `opt.pest` gives it, so the code here takes them in order.
//! A text is refused before pest sees it when it is too large or its brackets nest too deep, and the tree built
//! here is never deeper than the same bound, so everything that walks it may recurse.

use pest::Parser;
use pest::iterators::Pair;

use crate::ast::*;
use crate::error::ParseError;
use crate::pairs::{Node, name, only, span};
use crate::{docs, scan};

/// The largest source, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// The longest line of a source, in characters: messages show whole lines.
pub const MAX_LINE: usize = 4096;

/// How many brackets and operators may stand around a point of the text.
pub const MAX_DEPTH: usize = 256;

/// Reads one `.opt` file.
///
/// Takes time linear in the text, on any thread: the little stack it needs is allocated where it is missing.
///
/// # Errors
///
/// The first mistake in the text; its spans are byte ranges of `text`.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    scan::check_lines(text)?;
    if text.len() > MAX_SIZE {
        return Err(ParseError::TooLarge {
            size: text.len(),
            at: Span::at(MAX_SIZE, 0),
        });
    }
    scan::check_brackets(text)?;
    with_stack(|| module(text))
}

/// Runs `work` with the stack that [`MAX_DEPTH`] levels need, whatever the thread has.
///
/// A build without optimization takes 6 MiB in the worst case.
pub(crate) fn with_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(8 << 20, 16 << 20, work)
}

fn module(text: &str) -> Result<Module> {
    let mut pairs =
        Grammar::parse(Rule::module, text).map_err(|error| ParseError::from_pest(text, &error))?;
    let module = pairs.next();
    let module = module.unwrap_or_else(|| unreachable!("pest gives one pair for `module`"));
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
            _ => self.optimizer(pair),
        }
    }

    fn function(&mut self, pair: Pair<'a, Rule>) -> Result<Function> {
        let (span, docs) = (span(&pair), self.docs_above(&pair, ""));
        let mut node = Node::new(pair);
        let component = node.maybe(Rule::kw_component).is_some();
        let name = name(node.need(Rule::name));
        let params = node
            .all(Rule::param)
            .map(|param| self.param(param))
            .collect::<Result<_>>()?;
        let result = self.ty(node.need(Rule::ty))?;
        let body = self.block(node.need(Rule::block))?;
        Ok(Function {
            component,
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

    fn optimizer(&mut self, pair: Pair<'a, Rule>) -> Result<Item> {
        let (span, docs) = (span(&pair), self.docs_above(&pair, ""));
        let mut node = Node::new(pair);
        let name = name(node.need(Rule::name));
        if let Some(value) = node.maybe(Rule::composed) {
            return Ok(Item::Composition(Composition {
                docs,
                name,
                value: self.composed(value)?,
                span,
            }));
        }
        let bases = match node.maybe(Rule::bases) {
            Some(bases) => Node::new(bases)
                .all(Rule::base)
                .map(|base| self.base(base))
                .collect::<Result<_>>()?,
            None => Vec::new(),
        };
        let (hypers, statics, shared, rules) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut optimizer = Optimizer {
            docs,
            name,
            bases,
            hypers,
            statics,
            shared,
            absent_grad: None,
            nonfinite_grad: None,
            version: None,
            migrations: Vec::new(),
            rules,
            span,
        };
        for member in node.all(Rule::member) {
            self.member(only(member), &mut optimizer)?;
        }
        Ok(Item::Optimizer(optimizer))
    }

    fn base(&mut self, pair: Pair<'a, Rule>) -> Result<Base> {
        let mut node = Node::new(pair);
        Ok(Base {
            name: name(node.need(Rule::name)),
            default: self.composed(node.need(Rule::composed))?,
        })
    }

    fn composed(&mut self, pair: Pair<'a, Rule>) -> Result<Composed> {
        let span = span(&pair);
        let mut node = Node::new(pair);
        let target = name(node.need(Rule::name));
        let settings = self.nested(1, span, |this| this.settings(&mut node))?;
        Ok(Composed {
            target,
            settings,
            span,
        })
    }

    fn settings(&mut self, node: &mut Node<'a>) -> Result<Vec<(Name, Expr)>> {
        match node.maybe(Rule::settings) {
            Some(settings) => Node::new(settings)
                .all(Rule::setting)
                .map(|setting| self.setting(setting))
                .collect(),
            None => Ok(Vec::new()),
        }
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
            Rule::shared_member => {
                for shared in Node::new(pair).all(Rule::shared) {
                    into.shared.push(self.shared(shared)?);
                }
            }
            Rule::absent_member => once("absent grad", name(only(pair)), &mut into.absent_grad)?,
            Rule::nonfinite_member => {
                once("nonfinite grad", name(only(pair)), &mut into.nonfinite_grad)?;
            }
            Rule::version_member => once("version", label(&only(pair)), &mut into.version)?,
            Rule::migrate_member => into.migrations.push(self.migration(pair)?),
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

    fn shared(&mut self, pair: Pair<'a, Rule>) -> Result<Shared> {
        let docs = self.docs_around(&pair, "shared");
        let mut node = Node::new(pair);
        Ok(Shared {
            docs,
            name: name(node.need(Rule::name)),
            initial: self.expr(node.need(Rule::expr))?,
        })
    }

    fn migration(&mut self, pair: Pair<'a, Rule>) -> Result<Migration> {
        let mut node = Node::new(pair);
        let from = label(&node.need(Rule::label));
        let changes = node
            .all(Rule::migration)
            .map(|pair| self.change(only(pair)));
        let changes = changes.collect::<Result<Vec<Change>>>()?;
        Ok(Migration { from, changes })
    }

    fn change(&mut self, pair: Pair<'a, Rule>) -> Result<Change> {
        let kind = pair.as_rule();
        let mut node = Node::new(pair);
        let first = name(node.need(Rule::name));
        Ok(match kind {
            Rule::rename => Change::Rename {
                from: first,
                to: name(node.need(Rule::name)),
            },
            Rule::drop => Change::Drop(first),
            _ => Change::Add {
                name: first,
                value: self.expr(node.need(Rule::expr))?,
            },
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

    pub(crate) fn guard(&mut self, node: &mut Node<'a>) -> Result<Option<Expr>> {
        node.maybe(Rule::guard)
            .map(|guard| self.expr(only(guard)))
            .transpose()
    }

    fn delegate(&mut self, pair: Pair<'a, Rule>) -> Result<RuleBody> {
        let end = span(&pair);
        let mut node = Node::new(pair);
        let target = name(node.need(Rule::rule_name));
        let args = self.settings(&mut node)?;
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
        let name = name(node.need(Rule::name));
        let value = match node.maybe(Rule::composed) {
            Some(composed) => {
                let composed = self.composed(composed)?;
                let span = composed.span;
                let kind = ExprKind::Composed(composed);
                Expr { kind, span }
            }
            None => self.expr(node.need(Rule::expr))?,
        };
        Ok((name, value))
    }

    pub(crate) fn entry_input(&mut self, pair: Pair<'a, Rule>) -> Result<EntryInput> {
        let mut node = Node::new(pair);
        let name_ = name(node.need(Rule::name));
        let ty = match node.maybe(Rule::like_ty) {
            Some(like) => InputType::Like(name(only(like))),
            None => InputType::Written(self.ty(node.need(Rule::ty))?),
        };
        Ok(EntryInput { name: name_, ty })
    }

    pub(crate) fn ty(&mut self, pair: Pair<'a, Rule>) -> Result<Type> {
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

    /// Builds something `levels` deeper.
    pub(crate) fn nested<T>(
        &mut self,
        levels: usize,
        at: Span,
        build: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.depth += levels;
        if self.depth > MAX_DEPTH {
            let at = Span::at(at.start as usize, 1);
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

/// A member that an optimizer has at most once.
fn once(member: &'static str, given: Name, into: &mut Option<Name>) -> Result<()> {
    if let Some(first) = into {
        return Err(ParseError::RepeatedMember {
            member,
            at: given.span,
            origin: first.span,
        });
    }
    *into = Some(given);
    Ok(())
}

/// A version, without its quotation marks.
fn label(pair: &Pair<Rule>) -> Name {
    Name {
        text: pair.as_str().trim_matches('"').to_owned(),
        span: span(pair),
    }
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

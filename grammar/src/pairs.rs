//! Reading pest's pairs in order, and their places.

use std::iter::{Filter, Peekable};

use pest::iterators::{Pair, Pairs};

use crate::ast::{Name, Span};
use crate::parse::Rule;

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
        Rule::block | Rule::shape | Rule::args | Rule::paren | Rule::list
    )
}

/// The children of a pair in order, without marks.
pub(crate) struct Node<'a> {
    children: Peekable<Filter<Pairs<'a, Rule>, Keep<'a>>>,
}

type Keep<'a> = fn(&Pair<'a, Rule>) -> bool;

impl<'a> Node<'a> {
    pub(crate) fn new(pair: Pair<'a, Rule>) -> Self {
        let keep: Keep<'a> = |child| !is_mark(child.as_rule());
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
            | kw_add
            | kw_across
            | kw_at
            | kw_choice
            | kw_entry
            | kw_drop
            | kw_each
            | kw_else
            | kw_every
            | kw_first
            | kw_fn
            | kw_from
            | kw_grad
            | kw_hyper
            | kw_in
            | kw_keep
            | kw_let
            | kw_like
            | kw_migrate
            | kw_modes
            | kw_most
            | kw_nonfinite
            | kw_of
            | kw_on
            | kw_optimizer
            | kw_or
            | kw_params
            | kw_probability
            | kw_rename
            | kw_repeat
            | kw_retry
            | kw_rule
            | kw_shared
            | kw_skip
            | kw_state
            | kw_static
            | kw_step
            | kw_steps
            | kw_table
            | kw_take
            | kw_times
            | kw_until
            | kw_use
            | kw_version
            | kw_where
            | kw_with
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

//! What can be wrong with a text, and pest's failures in a reader's words.

use miette::Diagnostic;
use pest::error::{Error, ErrorVariant, InputLocation};
use thiserror::Error;

use crate::ast::Span;
use crate::parse::{MAX_DEPTH, MAX_LINE, MAX_SIZE, Rule};
use crate::slips;

/// Why a text is not a module; parsing stops at the first mistake.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
pub enum ParseError {
    /// The text is larger than [`MAX_SIZE`].
    #[error("the source has {size} bytes, {MAX_SIZE} are allowed")]
    #[diagnostic(
        code(opt::syntax::too_large),
        help("move parts to other files and import them with `use`")
    )]
    TooLarge {
        /// Bytes of the text.
        size: usize,
        /// The first byte too many.
        #[label("the limit is here")]
        at: Span,
    },

    /// A line is longer than [`MAX_LINE`].
    #[error("a line of {length} characters, {MAX_LINE} are allowed")]
    #[diagnostic(
        code(opt::syntax::long_line),
        help("break it where an operator or a comma stands: a line may begin with an operator")
    )]
    LongLine {
        /// Characters of the line.
        length: usize,
        /// Its first character: a message shows no more than the beginning.
        #[label("this line is too long")]
        at: Span,
    },

    /// Brackets and operators nest deeper than [`MAX_DEPTH`].
    #[error("nesting deeper than {MAX_DEPTH} levels")]
    #[diagnostic(
        code(opt::syntax::too_deep),
        help(
            "every bracket, operator and `else if` around a point is one level; name parts with `let` or move them to a `fn`"
        )
    )]
    TooDeep {
        /// Where the limit is passed.
        #[label("one level too many")]
        at: Span,
    },

    /// A bracket whose partner is missing.
    #[error("`{bracket}` is never closed")]
    #[diagnostic(
        code(opt::syntax::unclosed),
        help("write `{partner}` before this place")
    )]
    Unclosed {
        /// The opening bracket.
        bracket: char,
        /// What closes it.
        partner: char,
        /// The closing bracket of another, or the end of the text.
        #[label(primary, "still open here")]
        at: Span,
        /// The opening bracket's place.
        #[label("opened here")]
        origin: Span,
    },

    /// A closing bracket without an opening one.
    #[error("`{bracket}` closes nothing")]
    #[diagnostic(
        code(opt::syntax::unopened),
        help("remove it, or open it earlier with `{partner}`")
    )]
    Unopened {
        /// The closing bracket.
        bracket: char,
        /// What opens it.
        partner: char,
        /// Its place.
        #[label("no bracket is open here")]
        at: Span,
    },

    /// A token that cannot stand where it does.
    #[error("expected {expected}, found {found}")]
    #[diagnostic(code(opt::syntax::unexpected), help("{help}"))]
    Unexpected {
        /// What may stand here.
        expected: String,
        /// What stands here.
        found: String,
        /// What to write.
        help: String,
        /// Its place.
        #[label("expected {expected}")]
        at: Span,
    },

    /// A word of the language where a name belongs.
    #[error("`{word}` is a word of the language and cannot be a name")]
    #[diagnostic(
        code(opt::syntax::reserved),
        help("choose another name, such as `{word}_`")
    )]
    Reserved {
        /// The word.
        word: String,
        /// Its place.
        #[label("reserved")]
        at: Span,
    },

    /// A number that its type cannot hold.
    #[error("the number `{number}` is out of range")]
    #[diagnostic(code(opt::syntax::number_range), help("write {help}"))]
    NumberRange {
        /// The number as written.
        number: String,
        /// What would fit.
        help: &'static str,
        /// Its place.
        #[label("does not fit")]
        at: Span,
    },

    /// `a < b < c`
    #[error("comparisons do not chain")]
    #[diagnostic(
        code(opt::syntax::chained_comparison),
        help("join two comparisons with `and`, as in `a < b and b < c`")
    )]
    ChainedComparison {
        /// The later operator.
        #[label(primary, "a second comparison")]
        at: Span,
        /// The earlier operator.
        #[label("the first one")]
        origin: Span,
    },

    /// `let x = if c { a }`
    #[error("an `if` that gives a value needs an `else`")]
    #[diagnostic(
        code(opt::syntax::missing_else),
        help("add `else {{ … }}` with the value for the other case")
    )]
    MissingElse {
        /// The `if`.
        #[label("no value when the condition is false")]
        at: Span,
    },

    /// `until c { … }`, `repeat { … }`
    #[error("a loop without a bound")]
    #[diagnostic(
        code(opt::syntax::unbounded_loop),
        help("write {bound}, as in `{example}`: a step must end")
    )]
    UnboundedLoop {
        /// `until` or `repeat`.
        word: &'static str,
        /// What is missing.
        bound: &'static str,
        /// How it is written.
        example: &'static str,
        /// The word's place.
        #[label("`{word}` needs {bound}")]
        at: Span,
    },

    /// `absent grad`, `nonfinite grad` or `version` twice in one optimizer.
    #[error("`{member}` is given twice")]
    #[diagnostic(code(opt::syntax::repeated_member), help("keep one of the two"))]
    RepeatedMember {
        /// The member.
        member: &'static str,
        /// The second one.
        #[label(primary, "given again")]
        at: Span,
        /// The first one.
        #[label("given here")]
        origin: Span,
    },
}

/// Characters of a token that a message shows.
const LONGEST: usize = 40;

/// Words that `name` in `opt.pest` refuses.
const RESERVED: &str = "and each else every false fn hyper if in inf keep let modes not on optimizer or pi \
                        repeat retry rule skip state static true use var where";

impl ParseError {
    /// The reader's version of pest's failure.
    pub(crate) fn from_pest(text: &str, error: &Error<Rule>) -> Self {
        let at = match error.location {
            InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
        };
        let ErrorVariant::ParsingError { positives, .. } = &error.variant else {
            // Pest's own words stand for its stack guard alone.
            return Self::TooDeep {
                at: Span::at(at, 0),
            };
        };
        let token = token(text, at);
        let at = Span::at(at, token.len());
        if is_reserved(token) && wants_name(positives) {
            return Self::Reserved {
                word: token.to_owned(),
                at,
            };
        }
        Self::unexpected(text, expectation(positives), at)
    }

    /// `expected` does not stand at `at`.
    pub(crate) fn unexpected(text: &str, expected: String, at: Span) -> Self {
        let found = match text.get(at.start as usize..at.end as usize) {
            Some(token) if token.chars().count() > LONGEST => {
                format!("`{}…`", token.chars().take(LONGEST).collect::<String>())
            }
            Some(token) if !token.is_empty() => format!("`{token}`"),
            _ => "the end of the file".to_owned(),
        };
        let help =
            slips::help(text, at, &expected).unwrap_or_else(|| format!("write {expected} here"));
        Self::Unexpected {
            expected,
            found,
            help,
            at,
        }
    }
}

pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.split(' ').any(|reserved| reserved == word)
}

/// Whether a name was tried and, marks aside, nothing else.
fn wants_name(tried: &[Rule]) -> bool {
    let words = || tried.iter().map(|rule| describe(*rule));
    let is_name = |word| word == "a name" || word == describe(Rule::param);
    words().any(is_name) && words().all(|word| is_name(word) || word.starts_with('`'))
}

/// The token at a place: a word or number whole, an operator whole, else one character.
fn token(text: &str, at: usize) -> &str {
    const OPERATORS: [&str; 14] = [
        "...", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "->", ".*", "**", "&&", "||",
    ];
    let rest = text.get(at..).unwrap_or_default();
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return number(rest);
    }
    let word = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let operator = OPERATORS
        .iter()
        .find(|op| rest.starts_with(**op))
        .map(|op| op.len());
    let one = rest.chars().next().map_or(0, char::len_utf8);
    &rest[..if word > 0 {
        word
    } else {
        operator.unwrap_or(one)
    }]
}

/// The number that a text begins with, and what is glued to it.
fn number(text: &str) -> &str {
    let mut last = ' ';
    let end = text.find(|c: char| {
        let inside =
            c.is_alphanumeric() || "._".contains(c) || ("+-".contains(c) && "eE".contains(last));
        last = c;
        !inside
    });
    &text[..end.unwrap_or(text.len())]
}

/// `a, b or c`, from the rules that pest tried.
fn expectation(tried: &[Rule]) -> String {
    let mut words: Vec<&str> = tried.iter().map(|rule| describe(*rule)).collect();
    words.sort_unstable_by_key(|word| (word.starts_with('`'), *word));
    words.dedup();
    // An operator may follow any operand and `;` any statement: naming them says little.
    for vague in ["an operator", "`;`", "the end of the file"] {
        if words.len() > 1 {
            words.retain(|word| *word != vague);
        }
    }
    match words.split_last() {
        None => "something else".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// What a rule is to a reader.
fn describe(rule: Rule) -> &'static str {
    match rule {
        Rule::module | Rule::item | Rule::use_item | Rule::function | Rule::table_item => {
            "an item (`use`, `fn`, `component`, `table` or `optimizer`)"
        }
        Rule::optimizer => "an item (`use`, `fn`, `component`, `table` or `optimizer`)",
        Rule::member
        | Rule::hyper_member
        | Rule::static_member
        | Rule::shared_member
        | Rule::absent_member
        | Rule::nonfinite_member
        | Rule::version_member
        | Rule::migrate_member
        | Rule::rule_member => {
            "a member (`hyper`, `static`, `shared`, `absent grad`, `nonfinite grad`, `version`, `migrate from` or `rule`)"
        }
        Rule::migration | Rule::rename | Rule::drop | Rule::add => {
            "a change (`rename a -> b`, `drop a` or `add a = 0`)"
        }
        Rule::label => "a version such as `\"2\"`",
        Rule::use_list => "a list of names",
        Rule::name
        | Rule::rule_name
        | Rule::hyper
        | Rule::static_choice
        | Rule::shared
        | Rule::setting
        | Rule::composed => "a name",
        Rule::param => "a parameter such as `g: [m, n]`",
        Rule::range => "`in`",
        Rule::range_open => "`[` or `(`",
        Rule::range_close => "`]` or `)`",
        Rule::absent_policy => "`zeros` or `skip`",
        Rule::nonfinite_policy => "`skip`, `raise` or `pass`",
        Rule::guard => "`where`",
        Rule::delegate => "`=`",
        Rule::settings => "settings in parentheses",
        Rule::bases | Rule::base => "a parameter such as `base: optimizer = Sgd`",
        Rule::entry_input => "an input such as `bs: float`",
        Rule::ty | Rule::choice_ty | Rule::table_ty | Rule::tensor_ty | Rule::like_ty => "a type",
        Rule::shape => "a shape such as `[m, n]`",
        Rule::axis | Rule::in_axis => "a dimension",
        Rule::rest => "`...`",
        Rule::block => "a block in braces",
        Rule::statement
        | Rule::state
        | Rule::binding
        | Rule::assign
        | Rule::on_first
        | Rule::every
        | Rule::chance
        | Rule::until
        | Rule::modes
        | Rule::each
        | Rule::repeat
        | Rule::entry
        | Rule::skip => "a statement",
        Rule::if_form | Rule::in_form | Rule::across_form | Rule::in_name | Rule::named => {
            "an expression"
        }
        Rule::expr | Rule::term | Rule::primary | Rule::prefix | Rule::arg => "an expression",
        Rule::paren | Rule::list | Rule::truth => "an expression",
        Rule::packed => "`packed`",
        Rule::row => "names in parentheses",
        Rule::take => "`take`",
        Rule::assign_op => "`=`",
        Rule::infix | Rule::policy | Rule::transpose | Rule::args | Rule::subscript => {
            "an operator"
        }
        Rule::call_open | Rule::field_dot | Rule::index_open | Rule::key_colon => "an operator",
        Rule::number | Rule::digits => "a number",
        Rule::text => "a text in quotes",
        Rule::integer => "a whole number",
        Rule::kw_absent => "`absent`",
        Rule::kw_add => "`add`",
        Rule::kw_across => "`across`",
        Rule::kw_at => "`at`",
        Rule::kw_choice => "`choice`",
        Rule::kw_component => "`component`",
        Rule::kw_drop => "`drop`",
        Rule::kw_each => "`each`",
        Rule::instead | Rule::kw_else => "`else`",
        Rule::kw_entry => "`entry`",
        Rule::kw_every => "`every`",
        Rule::kw_first => "`first`",
        Rule::kw_fn => "`fn`",
        Rule::kw_from => "`from`",
        Rule::kw_grad => "`grad`",
        Rule::kw_hyper => "`hyper`",
        Rule::kw_if => "`if`",
        Rule::kw_in => "`in`",
        Rule::keep | Rule::kw_keep => "`keep`",
        Rule::kw_let => "`let`",
        Rule::kw_like => "`like`",
        Rule::kw_max => "`max`",
        Rule::kw_migrate => "`migrate`",
        Rule::kw_most => "`most`",
        Rule::kw_modes => "`modes`",
        Rule::kw_nonfinite => "`nonfinite`",
        Rule::kw_of => "`of`",
        Rule::kw_on => "`on`",
        Rule::kw_optimizer => "`optimizer`",
        Rule::kw_or => "an operator",
        Rule::kw_params => "`params`",
        Rule::kw_probability => "`probability`",
        Rule::kw_rename => "`rename`",
        Rule::kw_repeat => "`repeat`",
        Rule::kw_retry => "`retry`",
        Rule::kw_rule => "`rule`",
        Rule::kw_shared => "`shared`",
        Rule::kw_skip => "`skip`",
        Rule::kw_state => "`state`",
        Rule::kw_static => "`static`",
        Rule::kw_step => "`step`",
        Rule::kw_steps => "`steps`",
        Rule::kw_table => "`table`",
        Rule::kw_take => "`take`",
        Rule::kw_times => "`times`",
        Rule::kw_until => "`until`",
        Rule::kw_use => "`use`",
        Rule::kw_var => "`var`",
        Rule::kw_version => "`version`",
        Rule::kw_where => "`where`",
        Rule::kw_with => "`with`",
        Rule::arrow => "`->`",
        Rule::brace_close => "`}`",
        Rule::brace_open => "`{`",
        Rule::bracket_close => "`]`",
        Rule::bracket_open => "`[`",
        Rule::colon => "`:`",
        Rule::comma => "`,`",
        Rule::dot => "`.`",
        Rule::equals => "`=`",
        Rule::paren_close => "`)`",
        Rule::paren_open => "`(`",
        Rule::semicolon => "`;`",
        Rule::EOI => "the end of the file",
        Rule::WHITESPACE | Rule::COMMENT | Rule::gap | Rule::blank => "a space",
        Rule::word_char | Rule::reserved => "a word",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    #[test]
    fn the_grammar_refuses_the_same_words() {
        for word in RESERVED.split(' ') {
            let error = parse(&format!("table {word} = [1]")).expect_err("reserved");
            assert!(matches!(error, ParseError::Reserved { .. }), "{error}");
        }
    }

    #[test]
    fn words_of_one_place_are_names_elsewhere() {
        let words = "absent add at choice drop first from grad migrate most nonfinite of packed probability rename step steps table take times until version with zeros";
        for word in words.split(' ') {
            assert!(parse(&format!("table {word} = [{word}]")).is_ok(), "{word}");
        }
    }
}

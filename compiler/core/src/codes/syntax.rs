//! Pages of the mistakes that parsing finds.

use super::Code;

pub(super) const CODES: &[Code] = &[
    Code {
        code: "opt::syntax::chained_comparison",
        summary: "comparisons do not chain",
        explanation: "`a < b < c` would compare a truth value with a number.\nJoin two comparisons with `and`.",
        failing: r"optimizer Shown {
    rule each(w: [n]) where 1 < n < 9 { w -= grad }
}",
        corrected: r"optimizer Shown {
    rule each(w: [n]) where 1 < n and n < 9 { w -= grad }
}",
        repeated: 1,
    },
    Code {
        code: "opt::syntax::long_line",
        summary: "a line has more than 4096 characters",
        explanation: "Messages show the line that they are about, so it must be one that a person can read.\nBreak it: a line that begins with an operator continues the one above, and inside of brackets a line may end anywhere.",
        failing: r"optimizer Shown {
    rule each(w: [...]) { w -= 0.1 * …grad }
}",
        corrected: r"optimizer Shown {
    rule each(w: [...]) {
        w -= 0.1
            * grad
    }
}",
        repeated: 5_000,
    },
    Code {
        code: "opt::syntax::missing_else",
        summary: "an `if` that gives a value has no `else`",
        explanation: "A value is needed whatever the condition says.\nAs a statement, `if` needs no `else`.",
        failing: r"optimizer Shown {
    static signed: bool = false
    rule each(w: [...]) {
        let u = if signed { sign(grad) }
        w -= u
    }
}",
        corrected: r"optimizer Shown {
    static signed: bool = false
    rule each(w: [...]) {
        let u = if signed { sign(grad) } else { grad }
        w -= u
    }
}",
        repeated: 1,
    },
    Code {
        code: "opt::syntax::number_range",
        summary: "a number is too large for its place",
        explanation: "Numbers are 64-bit floats; the width of a table is a whole number below 2^32.\nWrite `inf` for infinity, `pi` for half the circle.",
        failing: r"optimizer Shown {
    rule each(w: [...]) { w -= 1e999 * grad }
}",
        corrected: r"optimizer Shown {
    rule each(w: [...]) { w -= 1e99 * grad }
}",
        repeated: 1,
    },
    Code {
        code: "opt::syntax::repeated_member",
        summary: "a member that stands once is given twice",
        explanation: "An optimizer has one policy for absent gradients, one for those that are not finite, and one version.\nKeep one of the two lines.",
        failing: r"optimizer Shown {
    absent grad: zeros
    absent grad: skip
    rule each(w: [...]) { w -= grad }
}",
        corrected: r"optimizer Shown {
    absent grad: zeros
    rule each(w: [...]) { w -= grad }
}",
        repeated: 1,
    },
    Code {
        code: "opt::syntax::reserved",
        summary: "a word of the language stands where a name belongs",
        explanation: "Words such as `state`, `rule` and `in` begin constructs and cannot be names; `each` can name a rule.\nChoose another name.",
        failing: r"optimizer Shown {
    rule each(w: [...]) {
        let state = sign(grad)
        w -= state
    }
}",
        corrected: r"optimizer Shown {
    rule each(w: [...]) {
        let direction = sign(grad)
        w -= direction
    }
}",
        repeated: 1,
    },
    Code {
        code: "opt::syntax::too_deep",
        summary: "brackets and operators nest too deep",
        explanation: "At most 256 brackets, operators and `else if` may stand around one point, so that no text can exhaust the compiler.\nName parts with `let`, or move them to a `fn`.",
        failing: r"optimizer Shown {
    rule each(w: [...]) { w -= (…grad)… }
}",
        corrected: r"optimizer Shown {
    rule each(w: [...]) { w -= (grad) }
}",
        repeated: 300,
    },
    Code {
        code: "opt::syntax::too_large",
        summary: "a source is larger than 1 MiB",
        explanation: "An optimizer fits on a page; a file this large is something else.\nMove parts to other files and import them with `use`.",
        failing: r"optimizer Shown {
    rule each(w: [...]) { w -= grad }
}
…",
        corrected: r"optimizer Shown {
    rule each(w: [...]) { w -= grad }
}",
        repeated: 1_048_576,
    },
    Code {
        code: "opt::syntax::unbounded_loop",
        summary: "a loop has no bound",
        explanation: "A step must end, on every device: `repeat` takes a number of turns or a table, and `until` ends `at most` after so many turns, whatever its condition says.",
        failing: r"optimizer Shown {
    rule each(w: [...]) {
        var x = grad
        until norm(x) < 1 { x = 0.5 * x }
        w -= x
    }
}",
        corrected: r"optimizer Shown {
    rule each(w: [...]) {
        var x = grad
        until norm(x) < 1 at most 20 { x = 0.5 * x }
        w -= x
    }
}",
        repeated: 1,
    },
    Code {
        code: "opt::syntax::unclosed",
        summary: "a bracket is never closed",
        explanation: "The message shows the opening bracket, and the place where its partner is missed first.",
        failing: r"optimizer Shown {
    rule each(w: [...]) { w -= sign(grad }
}",
        corrected: r"optimizer Shown {
    rule each(w: [...]) { w -= sign(grad) }
}",
        repeated: 1,
    },
    Code {
        code: "opt::syntax::unexpected",
        summary: "something stands where it cannot",
        explanation: "The message says what may stand there.\nCommon slips from other languages (`**`, `@`, `&&`, `#`) are named in the help.",
        failing: r"optimizer Shown {
    rule each(w: [...]) { w -= grad ** 2 }
}",
        corrected: r"optimizer Shown {
    rule each(w: [...]) { w -= grad^2 }
}",
        repeated: 1,
    },
    Code {
        code: "opt::syntax::unopened",
        summary: "a bracket closes nothing",
        explanation: "Remove it, or write its partner before it.",
        failing: r"optimizer Shown {
    rule each(w: [...]) { w -= sign(grad) }
}}",
        corrected: r"optimizer Shown {
    rule each(w: [...]) { w -= sign(grad) }
}",
        repeated: 1,
    },
];

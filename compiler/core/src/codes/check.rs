//! Pages of the mistakes that checking finds.

use super::Code;

const fn page(
    code: &'static str,
    summary: &'static str,
    explanation: &'static str,
    failing: &'static str,
    corrected: &'static str,
) -> Code {
    Code {
        code,
        summary,
        explanation,
        failing,
        corrected,
        repeated: 1,
    }
}

pub(super) const CODES: &[Code] = &[
    page(
        "opt::compose::applied_twice",
        "an optimizer is applied twice in one rule",
        "What is applied keeps state of its own, under the name that the rule has for it, and is applied once in each step.\nTwo applications need two optimizers; one application can be used twice through `let`.",
        r"optimizer Plain {
    hyper lr = 0.1
    rule each(w: [...]) { w -= lr * grad }
}

optimizer Shown(base: optimizer = Plain) {
    rule each(w: [...]) {
        w = base(w, grad)
        w = base(w, grad)
    }
}",
        r"optimizer Plain {
    hyper lr = 0.1
    rule each(w: [...]) { w -= lr * grad }
}

optimizer Shown(base: optimizer = Plain) {
    rule each(w: [...]) {
        let move = base(w, grad) - w
        w += 2 * move
    }
}",
    ),
    page(
        "opt::compose::as_value",
        "an optimizer stands where a value is needed",
        "An optimizer that another one takes is no number and no tensor.\nA rule applies it to a parameter and a gradient, and reads its hyperparameters by name.",
        r"optimizer Plain {
    hyper lr = 0.1
    rule each(w: [...]) { w -= lr * grad }
}

optimizer Shown(base: optimizer = Plain) {
    rule each(w: [...]) { w = 0.5 * (w + base) }
}",
        r"optimizer Plain {
    hyper lr = 0.1
    rule each(w: [...]) { w -= lr * grad }
}

optimizer Shown(base: optimizer = Plain) {
    rule each(w: [...]) { w = 0.5 * (w + base(w, grad)) }
}",
    ),
    page(
        "opt::compose::circle",
        "optimizers are made of each other",
        "A composition is an optimizer with others in it, so it cannot be in itself.\nWhat a rule delegates to may be in a circle as little.",
        r"use std.sgd.Sgd

optimizer Half(base: optimizer = Sgd) {
    rule each(w: [...]) { w = 0.5 * (w + base(w, grad)) }
}

optimizer Shown = Half(base = Other)
optimizer Other = Half(base = Shown)",
        r"use std.sgd.Sgd

optimizer Half(base: optimizer = Sgd) {
    rule each(w: [...]) { w = 0.5 * (w + base(w, grad)) }
}

optimizer Shown = Half(base = Other)
optimizer Other = Half(base = Sgd)",
    ),
    page(
        "opt::compose::missing_setting",
        "an optimizer lacks a hyperparameter that the one that takes it needs",
        "An optimizer may set hyperparameters of one that it takes, as in `base(w, grad, lr: 1)`, and read them, as in `base.lr`.\nIt can only be given optimizers that have them.",
        r"optimizer Plain {
    rule each(w: [...]) { w -= 0.1 * grad }
}

optimizer Shown(base: optimizer = Plain) {
    rule each(w: [...]) { w = base(w, grad, lr: 0.1) }
}",
        r"optimizer Plain {
    hyper lr = 1
    rule each(w: [...]) { w -= lr * grad }
}

optimizer Shown(base: optimizer = Plain) {
    rule each(w: [...]) { w = base(w, grad, lr: 0.1) }
}",
    ),
    page(
        "opt::compose::needs_optimizer",
        "the value of an optimizer's parameter is no optimizer",
        "A parameter such as `base: optimizer = Sgd` takes the name of an optimizer, with settings in parentheses if need be.",
        r"use std.sgd.Sgd

optimizer Half(base: optimizer = Sgd) {
    rule each(w: [...]) { w = 0.5 * (w + base(w, grad)) }
}

optimizer Shown = Half(base = 3)",
        r"use std.sgd.Sgd

optimizer Half(base: optimizer = Sgd) {
    rule each(w: [...]) { w = 0.5 * (w + base(w, grad)) }
}

optimizer Shown = Half(base = Sgd(lr = 3))",
    ),
    page(
        "opt::compose::too_many",
        "a composition is made of too many optimizers",
        "Every optimizer in it is written out with its state, as often as it is taken; a doubling at each level grows without bound.",
        r"use std.sgd.Sgd

optimizer Both(a: optimizer = Sgd, b: optimizer = Sgd) {
    rule each(w: [...]) { w = 0.5 * (a(w, grad) + b(w, grad)) }
}

optimizer Two = Both(a = Both, b = Both)
optimizer Four = Both(a = Two, b = Two)
optimizer Eight = Both(a = Four, b = Four)
optimizer Sixteen = Both(a = Eight, b = Eight)
optimizer Shown = Both(a = Sixteen, b = Sixteen)",
        r"use std.sgd.Sgd

optimizer Both(a: optimizer = Sgd, b: optimizer = Sgd) {
    rule each(w: [...]) { w = 0.5 * (a(w, grad) + b(w, grad)) }
}

optimizer Two = Both(a = Both, b = Both)
optimizer Four = Both(a = Two, b = Two)
optimizer Eight = Both(a = Four, b = Four)
optimizer Shown = Both(a = Eight, b = Sgd)",
    ),
    page(
        "opt::unused::base",
        "an optimizer that is taken is never applied",
        "It would be given, and change nothing.",
        r"use std.sgd.Sgd

optimizer Shown(base: optimizer = Sgd) {
    rule each(w: [...]) { w -= grad }
}",
        r"use std.sgd.Sgd

optimizer Shown(base: optimizer = Sgd) {
    rule each(w: [...]) { w = base(w, grad) }
}",
    ),
    page(
        "opt::component::used_twice",
        "two uses of components would share their state",
        "Each use of a component has state of its own, under the name that its value is bound to, or the component's name where it is not bound.",
        r"component momentum(g: [...], beta: float) -> [...] {
    state buffer = zeros_like(g)
    buffer = lerp(buffer, g, 1 - beta)
    buffer
}

optimizer Shown {
    rule each(w: [...]) { w -= momentum(grad, 0.9) + momentum(grad, 0.99) }
}",
        r"component momentum(g: [...], beta: float) -> [...] {
    state buffer = zeros_like(g)
    buffer = lerp(buffer, g, 1 - beta)
    buffer
}

optimizer Shown {
    rule each(w: [...]) {
        let fast = momentum(grad, 0.9)
        let slow = momentum(grad, 0.99)
        w -= fast + slow
    }
}",
    ),
    page(
        "opt::entry::collision",
        "two optimizers of a composition have an entry of one name",
        "A composition has the entries of its own rules and of the optimizers that it takes, by their plain names.\nIf two have the same, a caller could not say which is meant.",
        r"optimizer Averaged {
    rule each(w: [...]) {
        state z = w
        z -= grad
        w = lerp(w, z, 0.1)
        entry eval { w = z }
    }
}

optimizer Shown(base: optimizer = Averaged) {
    rule each(w: [...]) {
        w = base(w, grad)
        entry eval { w *= 0.5 }
    }
}",
        r"optimizer Averaged {
    rule each(w: [...]) {
        state z = w
        z -= grad
        w = lerp(w, z, 0.1)
        entry eval { w = z }
    }
}

optimizer Shown(base: optimizer = Averaged) {
    rule each(w: [...]) {
        w = base(w, grad)
        entry halve { w *= 0.5 }
    }
}",
    ),
    page(
        "opt::entry::input",
        "an entry has an input that no caller can give",
        "A caller gives an entry tensors with the shape of each parameter, `like w`, and numbers, `float`.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad
        entry shrink(k: int) { w *= k }
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad
        entry shrink(k: float) { w *= k }
    }
}",
    ),
    page(
        "opt::entry::inputs_differ",
        "entries of one name have different inputs in two rules",
        "A caller asks all parameters at once, whichever rule has taken them, and gives the same inputs for each.",
        r"optimizer Shown {
    rule matrix(w: [m, n]) {
        w -= grad
        entry shrink(k: float) { w *= k }
    }
    rule other(w: [...]) {
        w -= grad
        entry shrink { w *= 0.5 }
    }
}",
        r"optimizer Shown {
    rule matrix(w: [m, n]) {
        w -= grad
        entry shrink(k: float) { w *= k }
    }
    rule other(w: [...]) {
        w -= grad
        entry shrink(k: float) { w *= 0.5 * k }
    }
}",
    ),
    page(
        "opt::entry::no_effect",
        "an entry assigns nothing",
        "An entry acts as a step does: by assigning the parameter or state. Nothing else outlives it.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad
        entry eval { let _half = 0.5 * w }
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad
        entry eval { w *= 0.5 }
    }
}",
    ),
    page(
        "opt::across::number",
        "a sum over parameters adds something that is not a number",
        "`across params { x }` adds `x` of every parameter that the rule takes in this step.\nParameters have different shapes, so `x` is a number or a scalar tensor.",
        r"optimizer Shown {
    rule each(w: [...]) {
        let total = across params { grad^2 }
        w -= grad / sqrt(total)
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        let total = across params { dot(grad, grad) }
        w -= grad / sqrt(total)
    }
}",
    ),
    page(
        "opt::shared::of_one",
        "a shared number is given a value that depends on one parameter",
        "All parameters of a group share the number, and each of them must find the same new value.\nHyperparameters, shared numbers and sums over parameters are the same for all; shapes, `step` and tensors are not.",
        r"optimizer Shown {
    shared turns = 0
    rule each(w: [...]) {
        turns = step
        w -= grad / turns
    }
}",
        r"optimizer Shown {
    shared turns = 0
    rule each(w: [...]) {
        turns += 1
        w -= grad / turns
    }
}",
    ),
    page(
        "opt::shared::two_rules",
        "two rules assign one shared number",
        "A shared number changes once in each step, so one rule assigns it.\nOther rules may read it: they see its value from before the step.",
        r"optimizer Shown {
    shared turns = 0
    rule matrix(w: [m, n]) {
        turns += 1
        w -= grad / turns
    }
    rule other(w: [...]) {
        turns += 1
        w -= grad / turns
    }
}",
        r"optimizer Shown {
    shared turns = 0
    rule matrix(w: [m, n]) {
        turns += 1
        w -= grad / turns
    }
    rule other(w: [...]) {
        w -= grad / (turns + 1)
    }
}",
    ),
    page(
        "opt::assign::immutable",
        "something that cannot change is assigned",
        "Only the parameter, state and `var` can be assigned.\nHyperparameters and statics are set by the training program; `grad`, `step` and `let` keep their value.",
        r"optimizer Shown {
    rule each(w: [...]) {
        let u = sign(grad)
        u *= 0.5
        w -= u
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        var u = sign(grad)
        u *= 0.5
        w -= u
    }
}",
    ),
    page(
        "opt::assign::in_value",
        "a block that gives a value changes something outside",
        "A block inside an expression gives a value and does nothing else.\nAssign the value of the whole expression.",
        r"optimizer Shown {
    rule each(w: [...]) {
        var u = grad
        let v = if rank(w) > 1 { u = sign(u)
                                   u } else { grad }
        w -= u + v
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        let v = if rank(w) > 1 { sign(grad) } else { grad }
        w -= v
    }
}",
    ),
    page(
        "opt::call::argument_count",
        "a function is called with the wrong number of arguments",
        "The help shows the call as it is meant.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= lerp(grad, w)
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= lerp(grad, w, 0.1)
    }
}",
    ),
    page(
        "opt::call::argument_type",
        "an argument has the wrong type",
        "The message says which type the parameter needs and what was given.\nElements of tensors are not known on the host: what chooses element by element is `select`, with a mask.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= select(rank(w) > 1, grad, sign(grad))
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= select(grad > 1, sign(grad), grad)
    }
}",
    ),
    page(
        "opt::entry::out_of_reach",
        "an entry can never be called",
        "An entry acts on the parameter, or on the state, that its optimizer is applied to.\nWhat is applied to something computed has nothing that would keep the effect, so its entries are not there; here they are those that the optimizer given needs to work as meant, such as `eval` and `train` of averages.",
        r"optimizer Averaged {
    rule each(w: [...]) {
        state mean = w
        w -= 0.1 * grad
        mean = lerp(mean, w, 0.1)
        entry eval { w = mean }
    }
}
optimizer Ahead(base: optimizer = Averaged) {
    rule each(w: [...]) { w = lerp(w, base(w + grad, grad), 0.5) }
}",
        r"optimizer Averaged {
    rule each(w: [...]) {
        state mean = w
        w -= 0.1 * grad
        mean = lerp(mean, w, 0.1)
        entry eval { w = mean }
    }
}
optimizer Ahead(base: optimizer = Averaged) {
    rule each(w: [...]) { w = lerp(w, base(w, grad), 0.5) }
}",
    ),
    page(
        "opt::every::period",
        "a period is not a whole number from 1 on",
        "`every k steps` happens at the steps k, 2k, 3k and so on.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad
        every 0 steps { w *= 0.5 }
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad
        every 10 steps { w *= 0.5 }
    }
}",
    ),
    page(
        "opt::fact::triangle",
        "a triangle is asked for that a matrix is known not to have",
        "`cholesky(s)` is lower triangular and `qr(x).r` upper, so the other triangle of either holds only zeros beside the diagonal: to solve with it is a mistake.\nLeave `triangle` out where the triangle is known; to solve with the transpose, write `transposed: true`.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        let l = cholesky(gram(grad) + identity(m))
        w -= solve_triangular(l, grad, triangle: upper)
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        let l = cholesky(gram(grad) + identity(m))
        w -= solve_triangular(l, grad, transposed: true)
    }
}",
    ),
    page(
        "opt::fact::unproven",
        "a value is not known to have the structure that is declared",
        "The compiler uses what `sym`, `orthogonal` and the like promise, to skip work.\nThis warning says that it cannot see why the promise holds: a product of two symmetric matrices, say, is symmetric only if they commute.\nMake the structure visible (`gram(x)`, `s + s'`, `qr(x).q`), or leave the word out.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        state s: sym[m] = 0
        s = gram(grad) * s
        w -= s * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        state s: sym[m] = 0
        let p = gram(grad) * s
        s = p + p'
        w -= s * grad
    }
}",
    ),
    page(
        "opt::function::recursion",
        "functions call each other in a circle",
        "A function is written into its caller, so it cannot call itself, directly or through others.\nWrite `repeat` for a loop of known length.",
        r"fn half(x: [...]) -> [...] { 0.5 * half(x) }

optimizer Shown {
    rule each(w: [...]) {
        w -= half(grad)
    }
}",
        r"fn half(x: [...]) -> [...] { 0.5 * x }

optimizer Shown {
    rule each(w: [...]) {
        w -= half(grad)
    }
}",
    ),
    page(
        "opt::function::too_large",
        "written out, a function or rule is too large",
        "Calls and loops of known length are written out when the optimizer is bound.\nFunctions that call each other twice grow at every level: compute a part once with `let`, or write a loop.",
        r"fn f0(x: [...]) -> [...] { sign(x) }
fn f1(x: [...]) -> [...] { f0(f0(x)) }
fn f2(x: [...]) -> [...] { f1(f1(x)) }
fn f3(x: [...]) -> [...] { f2(f2(x)) }
fn f4(x: [...]) -> [...] { f3(f3(x)) }
fn f5(x: [...]) -> [...] { f4(f4(x)) }
fn f6(x: [...]) -> [...] { f5(f5(x)) }
fn f7(x: [...]) -> [...] { f6(f6(x)) }
fn f8(x: [...]) -> [...] { f7(f7(x)) }
fn f9(x: [...]) -> [...] { f8(f8(x)) }
fn f10(x: [...]) -> [...] { f9(f9(x)) }
fn f11(x: [...]) -> [...] { f10(f10(x)) }
fn f12(x: [...]) -> [...] { f11(f11(x)) }
fn f13(x: [...]) -> [...] { f12(f12(x)) }
fn f14(x: [...]) -> [...] { f13(f13(x)) }
fn f15(x: [...]) -> [...] { f14(f14(x)) }
fn f16(x: [...]) -> [...] { f15(f15(x)) }

optimizer Shown {
    rule each(w: [...]) {
        w -= f16(grad)
    }
}",
        r"fn f0(x: [...]) -> [...] { sign(x) }

optimizer Shown {
    rule each(w: [...]) {
        var x = grad
        repeat 16 { x = f0(x) }
        w -= x
    }
}",
    ),
    page(
        "opt::migration::kept",
        "a migration renames or drops what is still declared",
        "A migration says what has changed since a version.\nWhat this version declares under the same name needs no line: it is taken as it is.",
        r#"optimizer Shown {
    version "2"
    migrate from "1" { drop momentum }
    rule each(w: [...]) {
        state momentum = zeros_like(w)
        momentum = lerp(momentum, grad, 0.1)
        w -= momentum
    }
}"#,
        r#"optimizer Shown {
    version "2"
    migrate from "1" { drop count }
    rule each(w: [...]) {
        state momentum = zeros_like(w)
        momentum = lerp(momentum, grad, 0.1)
        w -= momentum
    }
}"#,
    ),
    page(
        "opt::migration::own_version",
        "a migration from the optimizer's own version",
        "A checkpoint of the same version loads as it is. An optimizer without `version` has version \"1\".\nGive it a new version when names of state or hyperparameters change, and migrate from the old one.",
        r#"optimizer Shown {
    migrate from "1" { rename m -> momentum }
    rule each(w: [...]) {
        state momentum = zeros_like(w)
        momentum = lerp(momentum, grad, 0.1)
        w -= momentum
    }
}"#,
        r#"optimizer Shown {
    version "2"
    migrate from "1" { rename m -> momentum }
    rule each(w: [...]) {
        state momentum = zeros_like(w)
        momentum = lerp(momentum, grad, 0.1)
        w -= momentum
    }
}"#,
    ),
    page(
        "opt::migration::unknown",
        "a migration names something that this version does not have",
        "`rename old -> new` and `add new = 0` end at a name that a rule of this optimizer declares, or one that it delegates to.",
        r#"optimizer Shown {
    version "2"
    migrate from "1" { rename m -> momentun }
    rule each(w: [...]) {
        state momentum = zeros_like(w)
        momentum = lerp(momentum, grad, 0.1)
        w -= momentum
    }
}"#,
        r#"optimizer Shown {
    version "2"
    migrate from "1" { rename m -> momentum }
    rule each(w: [...]) {
        state momentum = zeros_like(w)
        momentum = lerp(momentum, grad, 0.1)
        w -= momentum
    }
}"#,
    ),
    page(
        "opt::name::before_declaration",
        "a name is used before its declaration",
        "Statements happen in order, and settings may use only earlier settings.\nMove the declaration up.",
        r"optimizer Shown {
    hyper lr = 0.1
    rule each(w: [...]) {
        w -= lr * u
        let u = sign(grad)
    }
}",
        r"optimizer Shown {
    hyper lr = 0.1
    rule each(w: [...]) {
        let u = sign(grad)
        w -= lr * u
    }
}",
    ),
    page(
        "opt::name::builtin",
        "a function has the name of a function of the language",
        "Functions of the language keep their meaning in every file.",
        r"fn norm(x: [...]) -> [...] { x / rms(x) }

optimizer Shown {
    rule each(w: [...]) {
        w -= norm(grad)
    }
}",
        r"fn unit(x: [...]) -> [...] { x / rms(x) }

optimizer Shown {
    rule each(w: [...]) {
        w -= unit(grad)
    }
}",
    ),
    page(
        "opt::name::duplicate",
        "a name is defined twice",
        "A name has one meaning wherever it is visible; nothing shadows anything.\nFunctions have names of their own: a state `gram` and the function `gram(x)` go together.",
        r"optimizer Shown {
    rule each(w: [...]) {
        let u = sign(grad)
        let u = 0.5 * u
        w -= u
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        let u = sign(grad)
        let v = 0.5 * u
        w -= v
    }
}",
    ),
    page(
        "opt::name::not_available",
        "a name cannot be used in this place",
        "A function sees its parameters only.\nInitial values are computed before the rule runs, so they see the parameter, the gradient and settings.\nDefaults see earlier settings.",
        r"fn direction(x: [...]) -> [...] { sign(x) .* grad }

optimizer Shown {
    rule each(w: [...]) {
        w -= direction(w)
    }
}",
        r"fn direction(x: [...], g: [...]) -> [...] { sign(x) .* g }

optimizer Shown {
    rule each(w: [...]) {
        w -= direction(w, grad)
    }
}",
    ),
    page(
        "opt::name::out_of_scope",
        "a name is used outside the block that declares it",
        "A name lives to the end of its block.\nDeclare it before the block, or use it inside.",
        r"optimizer Shown {
    rule each(w: [...]) {
        if rank(w) > 1 {
            let u = sign(grad)
            w -= u
        }
        w -= u
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        let u = sign(grad)
        if rank(w) > 1 { w -= u }
        w -= u
    }
}",
    ),
    page(
        "opt::name::reserved",
        "a name that has a meaning in every rule is declared again",
        "`grad` is the gradient and `step` the step number.",
        r"optimizer Shown {
    hyper step = 0.1
    rule each(w: [...]) {
        w -= step * grad
    }
}",
        r"optimizer Shown {
    hyper lr = 0.1
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
    ),
    page(
        "opt::name::taken",
        "an option has a name that means something else where it is set",
        "Options are keyword arguments of an optimizer in Python and entries of its parameter groups.\nThe constructor has arguments of its own (`params`, `source`, `groups`, `seed`, …), a group has entries of its own (`name`, `shared`, …), and torch's schedulers keep the first learning rate there (`initial_lr`).\nAn option of the same name could not be set. `static maximize: bool` is the one exception.",
        r"optimizer Shown {
    hyper seed = 0.1
    rule each(w: [...]) { w -= seed * grad }
}",
        r"optimizer Shown {
    hyper first_rate = 0.1
    rule each(w: [...]) { w -= first_rate * grad }
}",
    ),
    page(
        "opt::name::unknown",
        "a name is not defined",
        "Names come from the pattern (`m`, `w`), from `hyper` and `static`, from `let`, `var` and `state`, and from `table`.\n`grad` and `step` are always there.",
        r"optimizer Shown {
    hyper lr = 0.1
    rule each(w: [...]) {
        w -= lr * gard
    }
}",
        r"optimizer Shown {
    hyper lr = 0.1
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
    ),
    page(
        "opt::name::unknown_argument",
        "a call or a delegation names something that is not there",
        "The names of arguments are those of the parameters; the settings of an optimizer are its `hyper` and `static` entries.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= lerp(grad, w, wait: 0.1)
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= lerp(grad, w, weight: 0.1)
    }
}",
    ),
    page(
        "opt::name::unknown_field",
        "a value has no field of that name",
        "`eigh(a)` has `.values` and `.vectors`, `qr(a)` has `.q` and `.r`; nothing else has fields.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= eigh(gram(grad)).vector * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= eigh(gram(grad)).vectors * grad
    }
}",
    ),
    page(
        "opt::name::unknown_function",
        "there is no function of that name",
        "Functions are those of the language, of this file, and imported ones.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= sgn(grad)
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= sign(grad)
    }
}",
    ),
    page(
        "opt::name::unknown_import",
        "a module has nothing of that name",
        "A file gives the functions, tables and optimizers that it declares itself.",
        r"use helpers.doubled

optimizer Shown {
    rule each(w: [...]) {
        w -= doubled(grad)
    }
}
--- helpers
fn twice(x: [...]) -> [...] { 2 * x }",
        r"use helpers.twice

optimizer Shown {
    rule each(w: [...]) {
        w -= twice(grad)
    }
}
--- helpers
fn twice(x: [...]) -> [...] { 2 * x }",
    ),
    page(
        "opt::name::unknown_module",
        "there is no module of that name",
        "`std.` begins the standard library; any other name is a file beside this one, without its ending.",
        r"use helper.twice

optimizer Shown {
    rule each(w: [...]) {
        w -= grad
    }
}
--- helpers
fn twice(x: [...]) -> [...] { 2 * x }",
        r"use helpers.twice

optimizer Shown {
    rule each(w: [...]) {
        w -= twice(grad)
    }
}
--- helpers
fn twice(x: [...]) -> [...] { 2 * x }",
    ),
    page(
        "opt::name::unknown_target",
        "a rule hands its parameter to something that does not exist",
        "After `=` stands a rule of the same optimizer, or an optimizer of this file or imported.",
        r"optimizer Shown {
    rule matrix(w: [m, n]) { w -= gram(grad) * grad }
    rule conv(w: [out, in, ...]) = matrices on flatten(w, from: 1)
}",
        r"optimizer Shown {
    rule matrix(w: [m, n]) { w -= gram(grad) * grad }
    rule conv(w: [out, in, ...]) = matrix on flatten(w, from: 1)
}",
    ),
    page(
        "opt::name::unknown_word",
        "a word is not one of those that can stand here",
        "A static of type `choice(a, b)` is one of its words, and so is what it is compared with.",
        r"optimizer Shown {
    static form: choice(plain, sign_only) = plain
    rule each(w: [...]) {
        w -= if form == sgn { sign(grad) } else { grad }
    }
}",
        r"optimizer Shown {
    static form: choice(plain, sign_only) = plain
    rule each(w: [...]) {
        w -= if form == sign_only { sign(grad) } else { grad }
    }
}",
    ),
    page(
        "opt::optimizer::no_rule",
        "an optimizer has no rule",
        "Without a rule it would take no parameter.",
        r"optimizer Shown {
    hyper lr = 0.1
}",
        r"optimizer Shown {
    hyper lr = 0.1
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
    ),
    page(
        "opt::optimizer::none",
        "a file that is compiled declares no optimizer",
        "A file of functions and tables is there to be imported with `use`.",
        r"fn twice(x: [...]) -> [...] { 2 * x }",
        r"fn twice(x: [...]) -> [...] { 2 * x }

optimizer Shown {
    rule each(w: [...]) {
        w -= twice(grad)
    }
}",
    ),
    page(
        "opt::policy::keep",
        "`or keep` stands where there is nothing to keep",
        "`or keep` leaves a state as it was when a factorization fails, so it stands directly on the right of an assignment to state.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        let q = eigh(gram(grad)).vectors or keep
        w -= q * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        state q: orthogonal[m] = identity
        q = eigh(gram(grad)).vectors or keep
        w -= q * grad
    }
}",
    ),
    page(
        "opt::policy::not_factorization",
        "a policy for failure stands behind something that cannot fail",
        "`eigh`, `qr`, `orthonormal`, `svd`, `cholesky` and `solve_triangular` can fail, and functions that call them; arithmetic cannot.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= sqrt(grad) or retry f64
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= (cholesky(gram(grad)) or retry f64) * grad
    }
}",
    ),
    page(
        "opt::until::host",
        "a host value changes in a loop that the device ends",
        "A loop whose condition is about tensors ends when the device finds it true. The host does not wait for that, so its numbers cannot depend on how long the loop ran; scalar tensors can.",
        r"optimizer Shown {
    rule each(w: [...]) {
        var x = grad
        var turns = 0
        until norm(x) < 1 at most 9 {
            x = 0.5 * x
            turns = turns + 1
        }
        w -= turns * x
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        var x = grad
        var turns = 0 * sum(grad)
        until norm(x) < 1 at most 9 {
            x = 0.5 * x
            turns = turns + 1
        }
        w -= turns * x
    }
}",
    ),
    page(
        "opt::random::in_function",
        "a function draws random numbers",
        "A function is pure: the same arguments give the same value. Random numbers belong to a place in a rule, a step and a parameter, so the rule draws them and hands them over.",
        r"fn noisy(x: [...]) -> [...] { x + normal_like(x) }

optimizer Shown {
    rule each(w: [...]) {
        w -= noisy(grad)
    }
}",
        r"fn noisy(x: [...], v: [...]) -> [...] { x + v }

optimizer Shown {
    rule each(w: [...]) {
        w -= noisy(grad, normal_like(grad))
    }
}",
    ),
    page(
        "opt::random::probability",
        "a probability lies outside of [0, 1]",
        "`with probability p { … }` happens in a share p of the steps.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad
        with probability 20 { w *= 0.9 }
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad
        with probability 0.2 { w *= 0.9 }
    }
}",
    ),
    page(
        "opt::random::rounds_nothing",
        "`stochastic` stands where nothing is rounded to 16 bits",
        "`stochastic(x)` rounds what is assigned to the parameter or to state to one of the two neighbours that its storage has, at random.\nSo it stands around all of the right side of an assignment with `=`, and state with it is not declared in 32, 64 or 8 bits.",
        r"optimizer Shown {
    hyper lr = 0.1
    rule each(w: [...]) { w -= stochastic(lr * grad) }
}",
        r"optimizer Shown {
    hyper lr = 0.1
    rule each(w: [...]) { w = stochastic(w - lr * grad) }
}",
    ),
    page(
        "opt::policy::order",
        "a policy for failure is never reached",
        "`or keep` has a value in any case, so nothing behind it is tried.",
        r"optimizer Shown {
    rule each(w: [n, n]) {
        state q: lower[n] = identity
        q = cholesky(gram(grad)) or keep or else identity(n)
        w -= q * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [n, n]) {
        state q: lower[n] = identity
        q = cholesky(gram(grad)) or else cholesky(gram(grad) + 1e-3 * identity(n)) or keep
        w -= q * grad
    }
}",
    ),
    page(
        "opt::policy::retry",
        "a factorization cannot be retried in this type",
        "`f64` is the most exact type, and the only one worth a second try.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        let q = eigh(gram(grad)).vectors or retry f32
        w -= q * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        let q = eigh(gram(grad)).vectors or retry f64
        w -= q * grad
    }
}",
    ),
    page(
        "opt::range::default",
        "a default lies outside its range",
        "A setting that is left alone must be allowed.",
        r"optimizer Shown {
    hyper lr = -0.1 in [0, inf)
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
        r"optimizer Shown {
    hyper lr = 0.1 in [0, inf)
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
    ),
    page(
        "opt::range::empty",
        "a range holds no number",
        "The smaller bound stands first; `[` and `]` include a bound, `(` and `)` leave it out.",
        r"optimizer Shown {
    hyper lr = 0.1 in [1, 0)
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
        r"optimizer Shown {
    hyper lr = 0.1 in [0, 1)
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
    ),
    page(
        "opt::range::setting",
        "another optimizer is given a value outside its range",
        "The ranges of an optimizer hold wherever it is used.",
        r"optimizer Inner {
    hyper lr = 0.1 in [0, inf)
    rule each(w: [...]) { w -= lr * grad }
}

optimizer Shown {
    rule each(w: [...]) = Inner(lr = -1)
}",
        r"optimizer Inner {
    hyper lr = 0.1 in [0, inf)
    rule each(w: [...]) { w -= lr * grad }
}

optimizer Shown {
    rule each(w: [...]) = Inner(lr = 1)
}",
    ),
    page(
        "opt::repeat::count",
        "a loop has an impossible number of turns",
        "Loops are written out, so they have at most 10000 turns, and no fewer than 0.",
        r"optimizer Shown {
    rule each(w: [...]) {
        var x = grad
        repeat 100000 { x *= 0.5 }
        w -= x
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad * 0.5^100
    }
}",
    ),
    page(
        "opt::repeat::row_width",
        "a row has another number of names than the table has columns",
        "Each turn of the loop names the numbers of one row.",
        r"table STEPS = [(1.5, 0.5), (1.25, 0.25)]

optimizer Shown {
    rule each(w: [...]) {
        var x = grad
        repeat (a, b, c) in STEPS { x = a * x - b * c * sign(x) }
        w -= x
    }
}",
        r"table STEPS = [(1.5, 0.5), (1.25, 0.25)]

optimizer Shown {
    rule each(w: [...]) {
        var x = grad
        repeat (a, b) in STEPS { x = a * x - b * sign(x) }
        w -= x
    }
}",
    ),
    page(
        "opt::rule::arguments",
        "settings are given to a rule of the same optimizer",
        "A rule shares the hyperparameters and statics of its optimizer; only another optimizer has settings of its own.",
        r"optimizer Shown {
    hyper lr = 0.1
    rule matrix(w: [m, n]) { w -= lr * grad }
    rule conv(w: [out, in, ...]) = matrix(lr = 0.2) on flatten(w, from: 1)
}",
        r"optimizer Shown {
    hyper lr = 0.1
    rule matrix(w: [m, n]) { w -= lr * grad }
    rule conv(w: [out, in, ...]) = matrix on flatten(w, from: 1)
}",
    ),
    page(
        "opt::rule::cycle",
        "delegation goes in a circle",
        "A parameter that is handed on must arrive at a rule with a body.",
        r"optimizer Shown {
    rule one(w: [m, n]) = other
    rule other(w: [a, b, ...]) = one on flatten(w, from: 1)
}",
        r"optimizer Shown {
    rule one(w: [m, n]) { w -= grad }
    rule other(w: [a, b, ...]) = one on flatten(w, from: 1)
}",
    ),
    page(
        "opt::rule::never_fits",
        "a rule hands over what its target never takes",
        "The shape of the view must have the form of the target's pattern.",
        r"optimizer Shown {
    rule matrix(w: [m, n]) { w -= gram(grad) * grad }
    rule conv(w: [out, in, h, k]) = matrix
}",
        r"optimizer Shown {
    rule matrix(w: [m, n]) { w -= gram(grad) * grad }
    rule conv(w: [out, in, h, k]) = matrix on flatten(w, from: 1)
}",
    ),
    page(
        "opt::rule::no_update",
        "a rule never assigns its parameter",
        "A rule that changes state alone would leave the model as it is.",
        r"optimizer Shown {
    rule each(w: [...]) {
        state m = zeros_like(w)
        m = lerp(m, grad, 0.1)
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        state m = zeros_like(w)
        m = lerp(m, grad, 0.1)
        w -= m
    }
}",
    ),
    page(
        "opt::rule::permutation",
        "a permutation does not name every axis once",
        "Axis `a` of the view is axis `axes[a]` of the parameter, so each stands once, from 0 on.",
        r"optimizer Shown {
    rule matrix(w: [m, n]) { w -= gram(grad) * grad }
    rule conv(w: [a, b, c]) = matrix on flatten(permute(w, (1, 1, 0)), from: 1)
}",
        r"optimizer Shown {
    rule matrix(w: [m, n]) { w -= gram(grad) * grad }
    rule conv(w: [a, b, c]) = matrix on flatten(permute(w, (1, 2, 0)), from: 1)
}",
    ),
    page(
        "opt::rule::unreachable",
        "a rule can never match",
        "Rules are tried in order, and an earlier one without a guard takes every shape of this one.\nPut the more special rule first.",
        r"optimizer Shown {
    rule any(w: [...]) { w -= grad }
    rule matrix(w: [m, n]) { w -= gram(grad) * grad }
}",
        r"optimizer Shown {
    rule matrix(w: [m, n]) { w -= gram(grad) * grad }
    rule any(w: [...]) { w -= grad }
}",
    ),
    page(
        "opt::rule::view",
        "something other than a view of the parameter stands after `on`",
        "`flatten`, `merge`, `permute` and the others view the parameter, and each other.",
        r"optimizer Shown {
    rule matrix(w: [m, n]) { w -= grad }
    rule conv(w: [out, in, ...]) = matrix on sign(w)
}",
        r"optimizer Shown {
    rule matrix(w: [m, n]) { w -= grad }
    rule conv(w: [out, in, ...]) = matrix on flatten(w, from: 1)
}",
    ),
    page(
        "opt::shape::axis",
        "an axis does not exist",
        "Axes are counted from 0.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= grad / dim(w, 2)
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= grad / dim(w, 1)
    }
}",
    ),
    page(
        "opt::shape::inner",
        "the inner dimensions of a product of matrices differ",
        "`a * b` of two matrices is their product: the columns of `a` must be the rows of `b`.\n`a'` is the transpose, and `.*` multiplies element by element.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= grad * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= grad * grad' * grad
    }
}",
    ),
    page(
        "opt::shape::mismatch",
        "two shapes do not fit",
        "Elementwise operations need tensors of one shape; a number or a scalar tensor goes with any, and an axis of length 1 is stretched.\nA value assigned must have exactly the shape of its place.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= grad'
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= grad
    }
}",
    ),
    page(
        "opt::shape::not_square",
        "a square matrix is needed",
        "Eigenvalues, diagonals and triangular factors are those of square matrices.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= trace(grad) * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= trace(gram(grad)) * grad
    }
}",
    ),
    page(
        "opt::shape::pattern",
        "something cannot stand in a shape pattern",
        "A pattern takes shapes apart: an entry is a name, a whole number, or `...` once.\nConditions on lengths belong in `where`.",
        r"optimizer Shown {
    rule each(w: [m, 2 * k]) {
        w -= grad
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) where n > 2 {
        w -= grad
    }
}",
    ),
    page(
        "opt::shape::rank",
        "a tensor has too few or unknown axes for an operation",
        "`[...]` may be anything, a scalar too, so it is not a matrix.\nName the dimensions that you need in the pattern, as in `[m, n]` or `[..., m, n]`.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad / frobenius(grad)
    }
}",
        r"optimizer Shown {
    rule each(w: [..., m, n]) {
        w -= grad / frobenius(grad)
    }
}",
    ),
    page(
        "opt::skip::not_last",
        "something follows `skip`",
        "`skip` ends the rule for this step: what follows in its block is never reached.",
        r"optimizer Shown {
    rule each(w: [...]) {
        on first step {
            skip
            w *= 0.5
        }
        w -= grad
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        on first step {
            w *= 0.5
            skip
        }
        w -= grad
    }
}",
    ),
    page(
        "opt::state::conditional",
        "state is declared where it might exist or not, depending on the step",
        "State is allocated when the optimizer is bound.\nA branch over statics and shapes may declare state; a branch over `step` or hyperparameters, `every` and loops may not.",
        r"optimizer Shown {
    rule each(w: [...]) {
        if step > 10 {
            state m = zeros_like(w)
            m = lerp(m, grad, 0.1)
            w -= m
        }
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        state m = zeros_like(w)
        if step > 10 {
            m = lerp(m, grad, 0.1)
            w -= m
        }
    }
}",
    ),
    page(
        "opt::state::family",
        "a state with one tensor per mode is used as one tensor",
        "`rotate(x, q)` and `rotate_back(x, q)` take all modes at once; anything else takes `q[i]` inside `each i`.",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w { state q[i]: orthogonal[dim(w, i)] = identity }
        w -= q
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w { state q[i]: orthogonal[dim(w, i)] = identity }
        each i { q[i] = qr(gram(grad, i)).q or keep }
        w -= rotate(grad, q)
    }
}",
    ),
    page(
        "opt::state::index_missing",
        "a state with one tensor per mode needs an index",
        "Inside `modes i of w` every state has the index `[i]`, and `each i` uses it with the same index.",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w { state s: sym[dim(w, i)] = 0 }
        w -= grad
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w { state s[i]: sym[dim(w, i)] = 0 }
        each i { s[i] = s[i] + gram(grad, i) }
        w -= grad
    }
}",
    ),
    page(
        "opt::state::index_not_allowed",
        "something takes no index",
        "Only state that is declared in a `modes` block has one tensor per mode.",
        r"optimizer Shown {
    rule each(w: [...]) {
        state m = zeros_like(w)
        modes i of w { state s[i]: sym[dim(w, i)] = 0 }
        each i { s[i] = s[i] + gram(grad, i)
                 m[i] = grad }
        w -= m
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        state m = zeros_like(w)
        modes i of w { state s[i]: sym[dim(w, i)] = 0 }
        each i { s[i] = s[i] + gram(grad, i)
                 m = lerp(m, grad, 0.1) }
        w -= m
    }
}",
    ),
    page(
        "opt::state::modes_body",
        "a `modes` block holds something other than state",
        "`modes i of w { … }` declares what exists once per mode; what happens once per mode stands in `each i { … }`.",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w {
            state s[i]: sym[dim(w, i)] = 0
            w *= 0.5
        }
        each i { s[i] = s[i] + gram(grad, i) }
        w -= grad
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w { state s[i]: sym[dim(w, i)] = 0 }
        each i { s[i] = s[i] + gram(grad, i)
                 w *= 0.5 }
        w -= grad
    }
}",
    ),
    page(
        "opt::state::needs_type",
        "the shape of a state cannot be read off its initial value",
        "Without a type, a state has the shape of its initial value; `identity` fits any square matrix, so write which.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        state q = identity
        w -= q * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        state q: orthogonal[m] = identity
        q = qr(q * gram(grad)).q
        w -= q * grad
    }
}",
    ),
    page(
        "opt::state::nested_each",
        "`each` stands inside `each`",
        "One mode is chosen at a time.",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w { state s[i]: sym[dim(w, i)] = 0 }
        each i { each i { s[i] = s[i] + gram(grad, i) } }
        w -= grad
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w { state s[i]: sym[dim(w, i)] = 0 }
        each i { s[i] = s[i] + gram(grad, i) }
        w -= grad
    }
}",
    ),
    page(
        "opt::state::not_modes",
        "modes are needed where something else stands",
        "`modes i of w` is about the parameter, `each i` about such an `i`, and `rotate` takes a state declared in a `modes` block.",
        r"optimizer Shown {
    rule each(w: [...]) {
        state q = zeros_like(w)
        w -= rotate(grad, q)
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w { state q[i]: orthogonal[dim(w, i)] = identity }
        each i { q[i] = qr(gram(grad, i)).q or keep }
        w -= rotate(grad, q)
    }
}",
    ),
    page(
        "opt::state::outside_each",
        "a mode is named where none is chosen",
        "`i` stands for one mode inside `each i { … }`, and in the `modes i of w` block that declares it.",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w { state s[i]: sym[dim(w, i)] = 0 }
        s[i] = 0
        w -= grad
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        modes i of w { state s[i]: sym[dim(w, i)] = 0 }
        each i { s[i] = s[i] + gram(grad, i) }
        w -= grad
    }
}",
    ),
    page(
        "opt::state::packed",
        "a state that is packed needs more than one triangle",
        "`packed` stores one half of a square matrix, so the type must say that this half is enough: `sym[n]` and `spd[n]` mirror it, `upper[n]` and `lower[n]` have zeros in the other.\nA matrix with nothing beside its diagonal is kept as a vector, `[n]`, and used as `diag(v)`.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        state factor: packed [m, m] = 0
        factor += gram(grad)
        w -= factor * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        state factor: packed sym[m] = 0
        factor += gram(grad)
        w -= factor * grad
    }
}",
    ),
    page(
        "opt::state::rank",
        "a state is declared with another shape than its initial value has",
        "Make the two agree, or leave the type out: the state then has the shape of its initial value.",
        r"optimizer Shown {
    rule each(w: [k, n]) {
        state m: [n] = zeros_like(w)
        w -= dot(m, m) * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [k, n]) {
        state m: [k, n] = zeros_like(w)
        m = lerp(m, grad, 0.1)
        w -= m
    }
}",
    ),
    page(
        "opt::statement::misplaced",
        "a statement cannot stand in this place",
        "Functions are pure, and so is a block that gives a value: state, time and modes belong in the body of a rule.\n`skip` cannot leave a loop.",
        r"fn averaged(x: [...]) -> [...] {
    on first step { skip }
    x
}

optimizer Shown {
    rule each(w: [...]) {
        w -= averaged(grad)
    }
}",
        r"fn averaged(x: [...]) -> [...] { x }

optimizer Shown {
    rule each(w: [...]) {
        on first step { skip }
        w -= averaged(grad)
    }
}",
    ),
    page(
        "opt::table::ragged",
        "the rows of a table have different lengths",
        "Each row gives one turn of a loop its numbers.",
        r"table STEPS = [(1.5, 0.5), (1.25)]

optimizer Shown {
    rule each(w: [...]) {
        var x = grad
        repeat (a, b) in STEPS { x = a * x - b * sign(x) }
        w -= x
    }
}",
        r"table STEPS = [(1.5, 0.5), (1.25, 0.25)]

optimizer Shown {
    rule each(w: [...]) {
        var x = grad
        repeat (a, b) in STEPS { x = a * x - b * sign(x) }
        w -= x
    }
}",
    ),
    page(
        "opt::time::not_constant",
        "a number must be written down",
        "Cells of tables and bounds of ranges are constants: numbers, and arithmetic of numbers.",
        r"optimizer Shown {
    hyper lr = 0.1, k = 2 in [0, sqrt(4)]
    rule each(w: [...]) {
        w -= lr * k * grad
    }
}",
        r"optimizer Shown {
    hyper lr = 0.1, k = 2 in [0, 4 / 2]
    rule each(w: [...]) {
        w -= lr * k * grad
    }
}",
    ),
    page(
        "opt::time::not_fixed",
        "a value must be known when the optimizer is bound",
        "Loop counts, periods, lengths, guards and axes are fixed when the optimizer is bound to parameters: statics and shapes are known then.\nHyperparameters and `step` may change at every step.",
        r"optimizer Shown {
    hyper turns = 3
    rule each(w: [...]) {
        var x = grad
        repeat floor(turns) { x = 0.5 * x }
        w -= x
    }
}",
        r"optimizer Shown {
    static turns: int = 3
    rule each(w: [...]) {
        var x = grad
        repeat turns { x = 0.5 * x }
        w -= x
    }
}",
    ),
    page(
        "opt::type::ambiguous_product",
        "`*` of two tensors could mean two products",
        "`*` of two matrices is their product.\nOf tensors whose last two dimensions are not named it is not known whether they are matrices: write `.*` for the product element by element, or name the dimensions in the pattern.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad * sign(w)
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad .* sign(w)
    }
}",
    ),
    page(
        "opt::type::condition",
        "a condition is not a truth value",
        "A condition is a host value: a comparison of numbers, a static, a question about the shape.\nFor a choice element by element write `select(mask, a, b)`.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= if grad > 0 { 1 } else { 2 }
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= select(grad > 0, 1, 2)
    }
}",
    ),
    page(
        "opt::type::mismatch",
        "a value has another type than its place needs",
        "Numbers and tensors are different things: a number lives on the host, a tensor on the device, also one with a single element.",
        r"optimizer Shown {
    hyper lr = true
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
        r"optimizer Shown {
    hyper lr = 0.1
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
    ),
    page(
        "opt::type::no_value",
        "a block has no value at its end",
        "A function, and a block inside an expression, end with the expression that is their value.",
        r"fn half(x: [...]) -> [...] { let y = 0.5 * x }

optimizer Shown {
    rule each(w: [...]) {
        w -= half(grad)
    }
}",
        r"fn half(x: [...]) -> [...] {
    let y = 0.5 * x
    y
}

optimizer Shown {
    rule each(w: [...]) {
        w -= half(grad)
    }
}",
    ),
    page(
        "opt::type::operand",
        "an operator cannot take this operand",
        "Arithmetic is for numbers and tensors, `and`, `or` and `not` for conditions and masks.\n`select(mask, 1, 0)` makes numbers of a mask.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad .* (grad > 0)
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= select(grad > 0, grad, 0)
    }
}",
    ),
    page(
        "opt::type::unknown",
        "there is no type of that name here",
        "Types are shapes, with a fact (`sym[n]`) or a storage type (`bf16[...]`) before them, and `int`, `float`, `bool`, `dtype`, `choice(a, b)` and `table(3)` for host values.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        state s: symm[m] = 0
        s = s + gram(grad)
        w -= s * grad
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        state s: sym[m] = 0
        s = s + gram(grad)
        w -= s * grad
    }
}",
    ),
    page(
        "opt::type::unknown_dtype",
        "there is no storage type of that name",
        "Storage types are `f64`, `f32`, `bf16` and `f16`; `same` is that of the parameter.",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= in bfloat16 { gram(grad) * grad }
    }
}",
        r"optimizer Shown {
    rule each(w: [m, n]) {
        w -= in bf16 { gram(grad) * grad }
    }
}",
    ),
    page(
        "opt::type::unused_value",
        "a value is computed and dropped",
        "In a block of statements, an expression alone has no effect.",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= grad
        sign(grad)
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        w -= sign(grad)
    }
}",
    ),
    page(
        "opt::unused::hyper",
        "nothing uses a hyperparameter",
        "Setting it would change nothing.",
        r"optimizer Shown {
    hyper lr = 0.1, beta = 0.9
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
        r"optimizer Shown {
    hyper lr = 0.1
    rule each(w: [...]) {
        w -= lr * grad
    }
}",
    ),
    page(
        "opt::unused::local",
        "nothing uses a name",
        "Remove it, or begin it with `_`.",
        r"optimizer Shown {
    rule each(w: [...]) {
        let u = sign(grad)
        w -= grad
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        let u = sign(grad)
        w -= u
    }
}",
    ),
    page(
        "opt::unused::memory",
        "state is read and never assigned",
        "State has a first value, so it can be read before it is written; this one begins with a constant and nothing writes it, so what is read is that constant in every step.\nThe rule probably lacks an assignment. State that keeps the first parameter or gradient, or a draw, needs none.",
        r"optimizer Shown {
    rule each(w: [...]) {
        state total = zeros_like(w)
        w -= 0.1 * (grad + total)
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        state total = zeros_like(w)
        total += grad
        w -= 0.1 * (grad + total)
    }
}",
    ),
    page(
        "opt::unused::state",
        "nothing reads a state",
        "State costs memory for every parameter.",
        r"optimizer Shown {
    rule each(w: [...]) {
        state m = zeros_like(w)
        m = grad
        w -= grad
    }
}",
        r"optimizer Shown {
    rule each(w: [...]) {
        state m = zeros_like(w)
        m = lerp(m, grad, 0.1)
        w -= m
    }
}",
    ),
    page(
        "opt::unused::static",
        "nothing uses a static",
        "Setting it would change nothing.",
        r"optimizer Shown {
    static signed: bool = false
    rule each(w: [...]) {
        w -= grad
    }
}",
        r"optimizer Shown {
    static signed: bool = false
    rule each(w: [...]) {
        w -= if signed { sign(grad) } else { grad }
    }
}",
    ),
    page(
        "opt::use::cycle",
        "modules use each other in a circle",
        "Each file is read after the files that it uses.\nMove what they share to a third.",
        r"use helpers.twice

fn half(x: [...]) -> [...] { 0.5 * x }

optimizer Shown {
    rule each(w: [...]) {
        w -= twice(grad)
    }
}
--- helpers
use halves.half

fn twice(x: [...]) -> [...] { 4 * half(x) }
--- halves
use helpers.twice

fn half(x: [...]) -> [...] { 0.5 * x }",
        r"use helpers.twice

optimizer Shown {
    rule each(w: [...]) {
        w -= twice(grad)
    }
}
--- helpers
use halves.half

fn twice(x: [...]) -> [...] { 4 * half(x) }
--- halves
fn half(x: [...]) -> [...] { 0.5 * x }",
    ),
];

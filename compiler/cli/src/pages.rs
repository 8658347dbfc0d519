//! What the codes mean that do not come from a `.opt` file: artifacts, binding, stepping, checkpoints, the command.
//!
//! The codes of the language have their pages in core, with examples. A test holds this list equal to the codes that
//! stand in the other crates' sources.

/// A code and its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// The stable path that a message shows.
    pub(crate) code: &'static str,
    /// One line: what is wrong.
    pub(crate) summary: &'static str,
    /// Why it is wrong, and what to do.
    pub(crate) explanation: &'static str,
}

impl Page {
    const fn new(code: &'static str, summary: &'static str, explanation: &'static str) -> Page {
        Page {
            code,
            summary,
            explanation,
        }
    }

    /// The page as Markdown.
    pub(crate) fn text(&self) -> String {
        format!(
            "# {}\n\n{}.\n\n{}\n",
            self.code, self.summary, self.explanation
        )
    }
}

const DAMAGED: &str = "Every byte of an artifact is either covered by a hash or known to be zero, and its table of \
sections says where each part stands. Here the table does not describe the file, which happens when a file was cut, \
joined or altered on its way. Copy it again, or compile it again from its source.";

const ALTERED: &str = "Each section of an artifact is hashed when it is written, and the hashes are checked before \
anything in it is used. A byte was altered since. Copy the file again, or compile it again from its source.";

const OUR_BUG: &str = "This is not a mistake in your file. Please report it with the command line or the program, and \
with the source of the rule.";

const SAME_RUN: &str = "A checkpoint is loaded whole or not at all: every tensor of the run that saved it must be \
bound, under the same name, with the same shape and dtype. Nothing was changed. Bind the model as that run did.";

/// All pages, by code.
pub(crate) const PAGES: &[Page] = &[
    Page::new(
        "opt::artifact::abi",
        "The artifact follows other conventions than this program",
        "An artifact carries the version of its kernels' calling convention and of its manifest. A program reads \
         artifacts of its own major version whose minor version is not above its own. Compile the source again with \
         the version of optc that the program was built with, or update the program.",
    ),
    Page::new(
        "opt::artifact::alignment",
        "A section of the artifact stands at an odd place",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::bounds",
        "A section of the artifact lies outside of the file",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::container_version",
        "The artifact has another layout than this program reads",
        "Compile the source again with the version of optc that the program was built with, or update the program.",
    ),
    Page::new(
        "opt::artifact::cpu",
        "The artifact holds no machine code for this CPU",
        "`--target cpu` makes one object for each of several levels of x86-64 (`x86-64-v3` needs AVX2, `x86-64-v4` \
         AVX-512), and the best that the machine runs is chosen at load. None of those in this artifact runs here. \
         Compile with `--target cpu`, or load the `.opt` source, which the quick tier compiles in memory.",
    ),
    Page::new(
        "opt::artifact::duplicate",
        "A section of the artifact occurs twice",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::entry",
        "The artifact's table of sections is malformed",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::gpu",
        "The artifact holds no code for this GPU",
        "PTX is made for an architecture and runs on it and on later ones. Compile with `--target cpu,cuda`.",
    ),
    Page::new(
        "opt::artifact::hash",
        "A section of the artifact was altered",
        ALTERED,
    ),
    Page::new(
        "opt::artifact::header",
        "The artifact's header is malformed",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::header_hash",
        "The artifact's header or table was altered",
        ALTERED,
    ),
    Page::new(
        "opt::artifact::magic",
        "The file is not an artifact",
        "An artifact is the result of `optc compile FILE.opt -o FILE.optc` and begins with bytes of its own. A `.opt` \
         file is a source: load it as such, or compile it first.",
    ),
    Page::new(
        "opt::artifact::manifest",
        "The artifact's manifest is not valid",
        "The manifest describes what the artifact holds, and must agree with its sections. Compile the source again.",
    ),
    Page::new(
        "opt::artifact::missing_section",
        "The artifact lacks a section that every artifact has",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::overlap",
        "Two sections of the artifact share bytes",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::padding",
        "The artifact has bytes that belong to nothing",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::sources",
        "The sources inside of the artifact are not valid",
        "An artifact holds the text of its root module and of all it uses. Compile it again from its source.",
    ),
    Page::new(
        "opt::artifact::table",
        "The artifact's table of sections does not fit into the file",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::text",
        "A section of the artifact that should be text is not",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::trailing",
        "The artifact has bytes after its end",
        DAMAGED,
    ),
    Page::new(
        "opt::artifact::truncated",
        "The artifact is cut short",
        "The header says how long the file is, and it is shorter. Copy it again, or compile it again from its source.",
    ),
    Page::new(
        "opt::bind::count",
        "A count is out of range for a parameter",
        "Counts and lengths may be computed from statics and shapes, so only a parameter shows what they are: a loop turns 0 to \
         10000 times, `every k steps` needs at least 1, and no length is negative. Set the static to another value, give it a \
         range with `in` so that nobody can set it wrong, or keep such parameters away from the rule with `where`.",
    ),
    Page::new(
        "opt::bind::cuda_kernel",
        "The artifact lacks code that a parameter on a GPU needs",
        "An artifact carries the kernels of the shapes, statics and dtypes that were foreseen, and for GPUs there is no \
         quick tier that compiles others at bind. Compile the artifact with this version of optc for what is used: \
         `optc compile --target cpu,cuda --static NAME=VALUE --dtype f32,bf16`.",
    ),
    Page::new(
        "opt::bind::cuda_operation",
        "A rule needs an operation that does not run on GPUs yet",
        "On CUDA devices the runtime runs element-wise work, sums, copies and fills. Matrix products, factorizations \
         and reordering do not run there yet. Keep these parameters on the CPU, or give them a rule without such \
         operations, by a group: `Group::new(\"embed\").rule(\"other\")`.",
    ),
    Page::new(
        "opt::bind::duplicate",
        "A parameter is given twice",
        "State and checkpoints are keyed by the parameter's name, so every name stands for one parameter.",
    ),
    Page::new("opt::bind::invalid_plan", "A plan is not valid", OUR_BUG),
    Page::new(
        "opt::bind::memory",
        "There is not enough memory for the optimizer's state",
        "`optc inspect FILE --shape SHAPE` shows how much state a rule keeps for a parameter. Bind fewer parameters, \
         or use a rule with less state.",
    ),
    Page::new(
        "opt::bind::missing_kernel",
        "There is no code for a kernel",
        "An artifact carries the kernels of the shapes and statics that were foreseen; others are compiled at bind by \
         the quick tier. This program was built without it. Compile the artifact for these statics and dtypes \
         (`optc compile --static`, `--dtype`), or build the runtime with its feature `quick`.",
    ),
    Page::new(
        "opt::bind::no_cuda_code",
        "A parameter is on a GPU, and the rules have no code for it",
        "Code for GPUs comes from an artifact alone. Compile the source with `optc compile FILE.opt --target cpu,cuda` \
         and load the result, or move the parameter to the CPU.",
    ),
    Page::new(
        "opt::bind::no_rule",
        "No rule takes a parameter",
        "The rules of an optimizer are tried in order, and the first whose pattern and guard fit takes the parameter. \
         Every parameter needs one: end with a rule for the rest, such as `rule other(w: [...])`.",
    ),
    Page::new(
        "opt::bind::not_float",
        "A parameter is not a tensor of floats",
        "Optimizers update parameters of dtype f64, f32, bf16 or f16.",
    ),
    Page::new(
        "opt::bind::nothing_matches",
        "The pattern of a group matches no parameter",
        "A group without parameters is most often a misspelt pattern, so it is an error. Correct it or remove it.",
    ),
    Page::new(
        "opt::bind::out_of_range",
        "A hyperparameter or static is outside of its interval",
        "The source declares which values make sense, as in `hyper lr = 1e-3 in [0, inf)`. Choose one of those.",
    ),
    Page::new(
        "opt::bind::pattern",
        "The pattern of a group is not a regular expression",
        "Groups choose parameters by a regular expression on their names, as in `(embed|head)`.",
    ),
    Page::new(
        "opt::bind::quick_tier",
        "The quick tier cannot compile the kernels",
        "Compile the rule ahead of time with `optc compile` and load the artifact.",
    ),
    Page::new(
        "opt::bind::rank",
        "A parameter has too many axes",
        "Reshape it before binding.",
    ),
    Page::new(
        "opt::bind::rule_refuses",
        "The rule that a group names does not take a parameter",
        "A group may name the rule for its parameters, but the rule's pattern and guard must fit all of them. Leave \
         the parameter out of the group, or widen the rule's pattern.",
    ),
    Page::new(
        "opt::bind::shape",
        "A parameter has an impossible shape",
        "Dimensions are 0 or more, and their product fits in memory.",
    ),
    Page::new(
        "opt::bind::too_large",
        "A rule has too many operations for a parameter",
        "Loops are written out when a rule is bound, once for each part of the parameter. A count that is far too high, or parts \
         that are far too small, would need more memory and time than there is. Lower the counts, or make the parts larger. \
         A default or a guard that loops has the same limit, and a tensor in a rule has at most 2^40 elements.",
    ),
    Page::new(
        "opt::bind::two_groups",
        "A parameter belongs to two groups",
        "Each parameter has one group at most. Make one of the patterns more exact.",
    ),
    Page::new(
        "opt::bind::unknown_hyper",
        "There is no such hyperparameter",
        "Hyperparameters are set by the name that the source declares with `hyper`.",
    ),
    Page::new(
        "opt::bind::unknown_optimizer",
        "There is no such optimizer",
        "A file may declare several optimizers; choose one by the name after `optimizer`.",
    ),
    Page::new(
        "opt::bind::unknown_rule",
        "There is no such rule",
        "A group names a rule by the name after `rule`.",
    ),
    Page::new(
        "opt::bind::unknown_static",
        "There is no such static",
        "Statics are set by the name that the source declares with `static`.",
    ),
    Page::new(
        "opt::bind::which_optimizer",
        "The file declares several optimizers",
        "Say which is meant, by the name after `optimizer`.",
    ),
    Page::new(
        "opt::bind::wrong_static",
        "A static is given a value of another kind",
        "The source declares what a static may be, as in `static nesterov: bool = true`.",
    ),
    Page::new(
        "opt::c::device",
        "There is no such device",
        "`device_type` is `OPTC_CPU` or `OPTC_CUDA`, and `device_index` is 0 or more.",
    ),
    Page::new(
        "opt::c::dtype",
        "There is no such dtype",
        "Dtypes are the constants `OPTC_F64` to `OPTC_U8`; a struct whose `dtype` was not set has none.",
    ),
    Page::new(
        "opt::c::index",
        "There is nothing at that position",
        "Positions are counted from 0; the message says how many there are. A loop ends at the first that fails.",
    ),
    Page::new(
        "opt::c::non_finite",
        "An unknown number for gradients that are not finite",
        "`non_finite` is one of the constants `OPTC_NON_FINITE_…`.",
    ),
    Page::new(
        "opt::c::null",
        "A pointer is null",
        "Only what the header calls optional may be null. A handle is null when the call that should have made it \
         failed: look at that call's status.",
    ),
    Page::new(
        "opt::c::panic",
        "The library has met a bug of its own",
        OUR_BUG,
    ),
    Page::new(
        "opt::c::pointer",
        "A pointer or its count cannot be right",
        "The pointer is not aligned for what it points to, or the count is larger than memory. Look at how both \
         were made.",
    ),
    Page::new(
        "opt::c::rank",
        "A tensor has too many axes",
        "A tensor has at most 64 axes; a `rank` that was not set is any number.",
    ),
    Page::new(
        "opt::c::shared",
        "Two tensors of one step share memory",
        "One of them would be written while the other is read or written. Bind a tied parameter once, and give \
         each gradient its own memory.",
    ),
    Page::new(
        "opt::c::struct_size",
        "A struct has a size that it cannot have",
        "Set `struct_size` to the `sizeof` of the struct, which says which members your program knows. A struct of \
         a later header that uses its new members needs the library of that header.",
    ),
    Page::new(
        "opt::c::tensor",
        "A tensor has no place in memory for each element",
        "An expanded tensor has several indices for one element, and a tensor without memory has none. Give dense \
         or strided memory of the tensor's own.",
    ),
    Page::new(
        "opt::c::text",
        "A name or a source is not UTF-8",
        "Texts that the library takes are UTF-8 and end with a NUL.",
    ),
    Page::new(
        "opt::checkpoint::damaged",
        "The file is not a checkpoint, or damaged",
        "A checkpoint is a safetensors file with a few entries of optc's own. Use another copy.",
    ),
    Page::new(
        "opt::checkpoint::file",
        "A checkpoint cannot be read or written",
        "It is written to a temporary file in the same folder, which then takes its name; so the folder must exist, be \
         writable and have space. What was there before is untouched.",
    ),
    Page::new(
        "opt::checkpoint::format",
        "The checkpoint has a newer format",
        "It was saved by a later version. Update this program.",
    ),
    Page::new(
        "opt::checkpoint::groups",
        "The checkpoint was saved with other groups or hyperparameters",
        SAME_RUN,
    ),
    Page::new(
        "opt::checkpoint::hash",
        "The checkpoint was altered",
        "A checkpoint carries the hash of its content, and a byte has changed since. Use another copy.",
    ),
    Page::new(
        "opt::checkpoint::missing",
        "The checkpoint lacks a tensor",
        SAME_RUN,
    ),
    Page::new(
        "opt::checkpoint::optimizer",
        "The checkpoint is of another optimizer",
        "State means something only to the optimizer that made it. Load it with that one.",
    ),
    Page::new(
        "opt::checkpoint::shape",
        "A tensor of the checkpoint has another shape or dtype",
        SAME_RUN,
    ),
    Page::new(
        "opt::checkpoint::unexpected",
        "The checkpoint has a tensor that is not bound",
        SAME_RUN,
    ),
    Page::new(
        "opt::checkpoint::version",
        "The checkpoint is of another version of the rule",
        "The rule says in `migrate from \"1\" { rename m -> exp_avg }` what has changed since a version; it has none \
         from the version of this file. Add it, or load the file with the rule that wrote it.",
    ),
    Page::new(
        "opt::cli::artifact",
        "The command wants a source, and was given an artifact",
        "`optc inspect` reads both. The others want the `.opt` file.",
    ),
    Page::new(
        "opt::cli::bad_name",
        "The name given to `optc new` is not a name",
        "The file and the optimizer in it are named after it: a small letter, then small letters, digits and `_`. `my_rule` makes \
         `my_rule.opt` with the optimizer `MyRule`.",
    ),
    Page::new("opt::cli::bug", "A bug in optc", OUR_BUG),
    Page::new(
        "opt::cli::exists",
        "The file that `optc new` would write exists",
        "A file is never overwritten by `optc new`. Choose another name, or remove the file first.",
    ),
    Page::new(
        "opt::cli::no_backend",
        "This build of the command cannot compile",
        "The Python package brings the command without LLVM: it checks, inspects and explains. To compile to native code, \
         install LLVM and MLIR 22 and build the command from the repository with `make build`. A `.opt` file needs no \
         compiling to be loaded.",
    ),
    Page::new(
        "opt::cli::no_rule",
        "No rule takes a parameter of the shape given with `--shape`",
        "A stage is shown for one parameter shape. Choose one that a rule of the optimizer takes.",
    ),
    Page::new(
        "opt::cli::not_text",
        "The file is not UTF-8 text",
        "A source is UTF-8 text; save it as such.",
    ),
    Page::new(
        "opt::cli::read",
        "A file cannot be read",
        "A FILE is the path of a `.opt` file, a name of the standard library such as `std.soap`, or `-` for the \
         standard input. A path that exists goes before a name of the library.",
    ),
    Page::new(
        "opt::cli::unknown_code",
        "No message has this code",
        "`optc explain` lists the codes.",
    ),
    Page::new(
        "opt::cli::unknown_module",
        "The standard library has no optimizer in the module given with `--from`",
        "`optc list` shows the modules that declare optimizers; a module of functions alone is nothing to begin from.",
    ),
    Page::new(
        "opt::cli::unknown_optimizer",
        "The file has no optimizer of the name given with `--optimizer`",
        "Only the optimizers that the file itself declares can be chosen; imported ones have files of their own.",
    ),
    Page::new(
        "opt::cli::which_optimizer",
        "The command needs one optimizer",
        "The file declares several. Choose with `--optimizer NAME`.",
    ),
    Page::new(
        "opt::cli::write",
        "A file cannot be written",
        "The result goes to a temporary file in the folder of the output, which then takes its name; so the folder \
         must exist, be writable and have space. What was there before is untouched.",
    ),
    Page::new(
        "opt::cuda::call",
        "The CUDA driver failed",
        "The name is the driver's own (`CUDA_ERROR_…`, in NVIDIA's documentation). What a device is given fails late, so \
         the fault may lie in earlier work of the same process, of LibTorch for instance. With CUDA_LAUNCH_BLOCKING=1 \
         every piece of work is waited for, which shows the place. After such an error the device is of no more use to \
         the process.",
    ),
    Page::new(
        "opt::cuda::memory",
        "There is not enough memory on the GPU",
        "State lies where its parameter does. `optc inspect FILE --shape SHAPE` shows how much a rule keeps. LibTorch \
         holds memory that it does not use; `torch.cuda.empty_cache()` gives it back.",
    ),
    Page::new(
        "opt::cuda::no_device",
        "There is no such GPU",
        "The driver counts the devices that the process may see from 0; the variable CUDA_VISIBLE_DEVICES hides others.",
    ),
    Page::new(
        "opt::cuda::no_driver",
        "There is no CUDA driver",
        "A parameter on a GPU is stepped through NVIDIA's driver, `libcuda.so.1`, which is opened when the first one is \
         bound. The CUDA toolkit is not needed. Install the driver, or keep the parameters on the CPU.",
    ),
    Page::new(
        "opt::cuda::old_driver",
        "The CUDA driver is too old",
        "It lacks a function that every driver of CUDA 12 has. Update it.",
    ),
    Page::new(
        "opt::cuda::ptx",
        "The CUDA driver does not accept the artifact's PTX",
        "An artifact carries PTX, which the driver compiles for the GPU at hand when the first parameter is bound. The \
         message holds what its compiler said. A driver older than the PTX is the most likely cause: update it.",
    ),
    Page::new(
        "opt::emit::arch",
        "There is no PTX for this architecture",
        "PTX is made for architectures from `sm_80` on.",
    ),
    Page::new(
        "opt::emit::internal",
        "The backend refused what the compiler gave it",
        OUR_BUG,
    ),
    Page::new(
        "opt::emit::linker",
        "The linker that makes shared objects does not run",
        "`optc compile` calls LLVM's linker, `ld.lld`, which Debian has in the package `lld-22`.",
    ),
    Page::new(
        "opt::entry::device",
        "An entry is asked of a parameter on a device",
        "Entries run on the host. Move the parameter, its gradient and its state there for the call, or leave the entry \
         to a program that has them there.",
    ),
    Page::new(
        "opt::entry::missing_input",
        "An entry is not given something that it takes",
        "The message lists the inputs: numbers by name, and tensors by name with one for each parameter.",
    ),
    Page::new(
        "opt::entry::tensor",
        "A tensor that an entry is given is not like its parameter",
        "An input `x: like w` has the shape, dtype and device of the parameter.",
    ),
    Page::new(
        "opt::entry::unknown",
        "No rule of the bound parameters has that entry",
        "Entries are what rules declare with `entry name { … }`; the message lists those there are.",
    ),
    Page::new(
        "opt::entry::unknown_input",
        "An entry is given something that it does not take",
        "The message lists the inputs: numbers by name, and tensors by name with one for each parameter.",
    ),
    Page::new(
        "opt::load::code",
        "The artifact's machine code cannot be loaded",
        "It is loaded from memory, which this process is not allowed to make executable. Allow it, or load the \
         `.opt` source with the interpreter's tier.",
    ),
    Page::new(
        "opt::load::file",
        "A file cannot be read",
        "Give the path of a `.opt` file or an artifact, or a name of the standard library such as `std.adamw`.",
    ),
    Page::new(
        "opt::load::not_text",
        "The file is neither an artifact nor text",
        "A source is UTF-8 text; an artifact begins with bytes of its own.",
    ),
    Page::new(
        "opt::load::unknown_module",
        "The standard library has no such module",
        "`optc check std.absent` lists the modules there are.",
    ),
    Page::new(
        "opt::python::betas",
        "The betas do not go with the rule",
        "`betas` has a number for each of `beta1`, `beta2`, … that the rule declares; those behind the second may be left \
         out. The numbers may be given by their own names instead, each once.",
    ),
    Page::new(
        "opt::python::compiler",
        "The compiler that was found has failed",
        "`optc.compile` runs an `optc` with LLVM where it finds one: `OPTC_COMPILER`, or a program of that name on the path. \
         Its message says what is wrong. Without it, a rule's kernels are compiled in memory when an optimizer is made.",
    ),
    Page::new(
        "opt::python::device",
        "A tensor on a device that rules do not step on",
        "Parameters are on the cpu or on CUDA devices. Move the model there before the optimizer is made.",
    ),
    Page::new(
        "opt::python::differentiable",
        "A step cannot be differentiated",
        "The update runs in compiled kernels that autograd does not see. Use one of torch's optimizers where the step itself \
         needs a gradient.",
    ),
    Page::new(
        "opt::python::dtype",
        "A tensor of a type that no optimizer steps on",
        "Parameters and gradients are float64, float32, bfloat16 or float16. A complex parameter can be kept as its real \
         view: `torch.view_as_real`.",
    ),
    Page::new(
        "opt::python::duplicate",
        "A parameter is given twice",
        "Every parameter has one group and one place in it. Leave the second one out.",
    ),
    Page::new(
        "opt::python::entry_input",
        "An entry is given something that is not its input",
        "Numbers are floats. A tensor input is one tensor for each parameter: a list in the order of `param_groups`, where \
         None leaves a parameter out, or a dict from parameters or their names.",
    ),
    Page::new(
        "opt::python::moved",
        "A tensor on another device than its parameter was bound on",
        "Gradients and state are where the parameter is. After moving a model make a new optimizer, and load the state of the \
         old one into it.",
    ),
    Page::new(
        "opt::python::names",
        "Patterns need names",
        "Groups with a `pattern` look for it in the names of parameters: pass `model.named_parameters()`, not \
         `model.parameters()`.",
    ),
    Page::new(
        "opt::python::non_finite",
        "An unknown word for gradients that are not finite",
        "`non_finite` is `propagate` (compute with them), `skip` (leave their parameters out of the step) or `error` (refuse \
         the step).",
    ),
    Page::new(
        "opt::python::option",
        "An option that the optimizer does not have",
        "Options are the hyperparameters and statics that the rule declares; the message lists them.",
    ),
    Page::new(
        "opt::python::overlapping",
        "Elements of a parameter share memory with each other",
        "An expanded tensor has several indices for one element, so a step would write it several times. Make it contiguous.",
    ),
    Page::new(
        "opt::python::pattern",
        "A group says not which parameters it takes",
        "Each dict in `groups` has a `pattern`, a regular expression that is found in the names of its parameters: \
         `{\"pattern\": \"norm|bias\", \"weight_decay\": 0.0}`.",
    ),
    Page::new(
        "opt::python::seed",
        "A seed that is no number of 64 bits",
        "`seed` is a whole number from 0 to 18446744073709551615; the same seed draws the same numbers.",
    ),
    Page::new(
        "opt::python::shared",
        "Two tensors of one step share memory",
        "One of them would be written while the other is read or written. Give a tied parameter once.",
    ),
    Page::new(
        "opt::python::sparse",
        "A parameter or its gradient is sparse",
        "A sparse tensor has no place in memory for each element. Build the embedding with `sparse=False`.",
    ),
    Page::new(
        "opt::python::state",
        "State that does not fit its parameter",
        "The state dict is of another optimizer or of other shapes. Load it into the model and optimizer that saved it.",
    ),
    Page::new(
        "opt::python::threads",
        "Two threads use one optimizer at once",
        "Step, save and load one optimizer from one thread at a time; different optimizers may step at the same time.",
    ),
    Page::new(
        "opt::quick::machine",
        "The quick tier makes no code for this machine",
        "It serves 64-bit machines that Cranelift knows. Compile ahead of time with `optc compile`.",
    ),
    Page::new(
        "opt::quick::malformed",
        "The quick tier was given a malformed kernel",
        OUR_BUG,
    ),
    Page::new(
        "opt::quick::memory",
        "The quick tier gets no executable memory",
        "Allow this process to map executable memory, or compile ahead of time with `optc compile`.",
    ),
    Page::new(
        "opt::quick::refused",
        "The quick tier cannot compile a kernel here",
        "Compile ahead of time with `optc compile`.",
    ),
    Page::new(
        "opt::step::count",
        "A step is given fewer or more parameters than are bound",
        "Each step takes every bound parameter, in the order of `bind`; one without a gradient is given with none.",
    ),
    Page::new(
        "opt::step::device",
        "A tensor moved to another device",
        "Move it back, or bind again.",
    ),
    Page::new(
        "opt::step::dtype",
        "A tensor has another dtype than when it was bound",
        "Convert it, or bind again: kernels are chosen for the dtypes at bind.",
    ),
    Page::new(
        "opt::step::failed",
        "A factorization failed",
        "A matrix that is not positive definite, or holds a NaN, has no factorization. Look at the gradients of this \
         parameter; or say in the rule what should happen, with `or retry f64`, `or keep` or `or else` after the call.",
    ),
    Page::new(
        "opt::step::kept_too_often",
        "A factorization failed in too many steps in a row",
        "The rule keeps the old value of a state when a factorization fails, `or keep at most 3 times`, and there is \
         one failure more. Look at the gradients of this parameter; the count is the state `NAME.failures`, and a \
         success sets it back to 0.",
    ),
    Page::new(
        "opt::step::memory",
        "There is not enough memory for a copy of a strided tensor",
        "Make the tensor contiguous before the step, so that no copy is needed.",
    ),
    Page::new(
        "opt::step::non_finite",
        "A gradient holds a NaN or an infinity",
        "Nothing was changed: all gradients are checked before anything is written. Skip this step, scale the loss \
         down, or bind with the policy that lets such values through.",
    ),
    Page::new("opt::step::panicked", "A step panicked", OUR_BUG),
    Page::new(
        "opt::step::read_only",
        "A parameter is given as read-only",
        "A step writes to its parameters. Make the view from a mutable tensor.",
    ),
    Page::new(
        "opt::step::shape",
        "A tensor has another shape than when it was bound",
        "State and plan belong to the shape at bind. Bind again after a change.",
    ),
    Page::new(
        "opt::step::state",
        "State that the caller keeps does not fit",
        "An optimizer bound with `state_is_lent` wants the state of every parameter that has a gradient before each step: \
         one contiguous tensor per state of the rule, in its order.",
    ),
    Page::new(
        "opt::step::strides",
        "A tensor's strides do not match its axes",
        "Give one stride per axis, in elements, or none for a contiguous tensor.",
    ),
    Page::new(
        "opt::step::unknown_group",
        "There is no such group",
        "Groups are counted from 0, in the order they were given at bind; the first is the optimizer's own.",
    ),
    Page::new(
        "opt::step::unknown_hyper",
        "There is no such hyperparameter",
        "Hyperparameters are set by the name that the source declares with `hyper`.",
    ),
    Page::new(
        "opt::tch::device",
        "A variable is on a device that the runtime does not know",
        "Variables live in host memory or on a CUDA device; move the store to one of them before building the optimizer.",
    ),
    Page::new(
        "opt::tch::given",
        "An entry is given a tensor for something that is no variable",
        "Tensors of an entry have the names that variables have in the store; a variable without one is left out.",
    ),
    Page::new(
        "opt::tch::grown",
        "Variables were made after the optimizer was built",
        "An optimizer is bound to the variables that its store has at that moment. Build it after the whole model.",
    ),
    Page::new(
        "opt::tch::kind",
        "A variable holds elements that are not floats",
        "Variables and their gradients are Float, Double, BFloat16 or Half; freeze or remove others.",
    ),
    Page::new(
        "opt::tch::libtorch",
        "LibTorch refused an operation on a tensor",
        "The message is LibTorch's own.",
    ),
    Page::new(
        "opt::tch::overlapping",
        "Elements of a variable share memory with each other",
        "An expanded tensor has several indices for one element, so a step would write it several times. Make it contiguous.",
    ),
    Page::new(
        "opt::tch::shared",
        "Two variables share memory",
        "One of them would be written while the other is read. Keep a tied variable under one name in the store.",
    ),
    Page::new(
        "opt::tch::sparse",
        "A variable or its gradient is sparse",
        "A sparse tensor has no place in memory for each element. Build the embedding with `sparse: false`.",
    ),
    Page::new(
        "opt::tch::store_group",
        "A variable is in a group of its store",
        "Groups of an optimizer are named by pattern: `.group(Group::new(\"…\"))` instead of `Path::set_group`.",
    ),
    Page::new(
        "opt::torch::archive",
        "The archive is not of an optimizer of optc",
        "`torch::load` reads what `torch::save` wrote for an `optc::Optimizer`. Nothing was changed.",
    ),
    Page::new(
        "opt::torch::device",
        "A tensor on a device that the C++ front cannot step on",
        "Move the model before the optimizer is made.",
    ),
    Page::new(
        "opt::torch::duplicate",
        "A parameter is given twice",
        "Every parameter has one group and one place in it. Leave the second one out.",
    ),
    Page::new(
        "opt::torch::empty",
        "The optimizer got no parameters",
        "Make the model, with its submodules registered, before its optimizer.",
    ),
    Page::new(
        "opt::torch::input",
        "An entry is given a tensor for something that is no parameter",
        "Tensors of an entry have the names that the optimizer was made with, or numbers if it was made without \
         names.",
    ),
    Page::new(
        "opt::torch::kind",
        "A tensor holds elements that no optimizer steps on",
        "Parameters and gradients are kDouble, kFloat, kBFloat16 or kHalf. A complex parameter can be kept as its \
         real view: `torch::view_as_real`.",
    ),
    Page::new(
        "opt::torch::non_leaf",
        "A parameter is computed from other tensors",
        "Only leaves have gradients. Give the tensors that it is computed from.",
    ),
    Page::new(
        "opt::torch::options",
        "A group has options of another optimizer",
        "Groups of an `optc::Optimizer` have `optc::Options`, also those that are added later.",
    ),
    Page::new(
        "opt::torch::sparse",
        "A parameter or its gradient is sparse",
        "A sparse tensor has no place in memory for each element. Build the embedding with `sparse(false)`.",
    ),
    Page::new(
        "opt::torch::state",
        "There is no state of that name",
        "State has the names of the source; `ParamState::names` lists them.",
    ),
    Page::new(
        "opt::torch::stream",
        "A CUDA stream that LibTorch does not name",
        "Parameters on a CUDA device are stepped on LibTorch's current stream. Older releases do not say what the driver calls a \
         stream other than the default one: step where that one is current, or build with a later LibTorch.",
    ),
    Page::new(
        "opt::torch::undefined",
        "A tensor is undefined",
        "A module makes its parameters when it is constructed. Make it before its optimizer.",
    ),
    Page::new(
        "opt::torch::use",
        "The first group names a source of its own",
        "The first group has the source that the optimizer was made with; `use` gives other groups another one.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    /// The codes that `text` gives to errors, in Rust, Python or C++. Split so that this file has none.
    fn codes_in(text: &str) -> impl Iterator<Item = String> {
        let forms = [
            (concat!("code(", "opt::"), ')', "opt"),
            (concat!("code=\"", "opt::"), '"', "opt"),
            (concat!("Failure::", "argument("), '"', "opt::c"),
            (concat!("refuse", "(\""), '"', "opt::torch"),
            (concat!("Error(\"", "opt::"), '"', "opt"),
        ];
        forms.into_iter().flat_map(move |(begin, end, family)| {
            let parts = text.split(begin).skip(1);
            let words = parts.map(|rest| rest.trim_start().trim_start_matches('"'));
            words
                .filter_map(move |rest| rest.split_once(end))
                .map(move |(code, _)| format!("{family}::{code}"))
        })
    }

    fn collect(path: &Path, found: &mut BTreeSet<String>) {
        if path.is_dir() {
            fs::read_dir(path)
                .unwrap()
                .for_each(|entry| collect(&entry.unwrap().path(), found));
        } else if path
            .extension()
            .is_some_and(|ending| ["rs", "py", "hpp"].iter().any(|known| ending == *known))
        {
            found.extend(codes_in(&fs::read_to_string(path).unwrap()));
        }
    }

    #[test]
    fn every_code_outside_of_the_language_has_a_page_and_every_page_a_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut found = BTreeSet::new();
        for part in [
            "artifact/src",
            "cli/src",
            "cranelift/src",
            "mlir/src",
            "core/src/settings.rs",
            "core/src/lower/error.rs",
            "../runtime",
        ] {
            collect(&root.join("compiler").join(part), &mut found);
        }
        let listed: BTreeSet<String> = PAGES.iter().map(|page| page.code.to_owned()).collect();
        assert_eq!(listed, found);
    }

    #[test]
    fn pages_are_in_order() {
        assert!(PAGES.is_sorted_by(|a, b| a.code < b.code));
    }
}

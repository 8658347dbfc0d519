//! Checked optimizers with whatever code came with them: what is bound to parameters.
//!
//! ```
//! use optc_runtime::{BindOptions, ParamDesc, Rules};
//! use optc_core::dtype::DType;
//!
//! let rules = Rules::from_source("plain", r"
//! //! Plain gradient descent.
//! optimizer Plain {
//!     hyper lr = 0.5 in [0, inf)
//!     rule each(w: [...]) { w -= lr * grad }
//! }")?;
//! let params = [ParamDesc::new("bias", &[3], DType::F32)];
//! let optimizer = rules.bind(&params, &BindOptions::default())?;
//! assert_eq!(optimizer.hyper(0, "lr"), Some(0.5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An artifact carries its sources; they are checked again when it is loaded, so its manifest decides nothing.

use crate::error::{BindError, LoadError};
use crate::kernels::KernelSet;
use crate::object::Object;
use crate::optimizer::{BindOptions, Optimizer, ParamDesc};
use optc_artifact::{Artifact, Features, Isa};
use optc_core::check::{self, Located};
use optc_core::hir::{OptimizerId, Program};
use optc_core::kernel::MapKernel;
use optc_core::source::Sources;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A checked source, and the code of an artifact.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(crate) program: Arc<Program>,
    warnings: Arc<[Located]>,
    code: Option<Code>,
    /// The artifact's PTX by target.
    ptx: Arc<BTreeMap<String, String>>,
}

#[derive(Debug, Clone)]
struct Code {
    isa: Isa,
    object: Arc<Object>,
}

impl Rules {
    /// Checks a source that imports from the standard library alone. `name` is what messages call it.
    ///
    /// # Errors
    ///
    /// [`LoadError::Source`] with every mistake.
    pub fn from_source(name: &str, text: &str) -> Result<Rules, LoadError> {
        Rules::check(name, text, &Imports::default())
    }

    /// Checks a source whose imports are given, by module name; the standard library fills the rest.
    ///
    /// # Errors
    ///
    /// [`LoadError::Source`] with every mistake.
    pub fn from_sources(
        name: &str,
        text: &str,
        modules: BTreeMap<String, String>,
    ) -> Result<Rules, LoadError> {
        let imports = Imports {
            folder: None,
            embedded: modules,
        };
        Rules::check(name, text, &imports)
    }

    /// A module of the standard library, such as `adamw` or `std.adamw`.
    ///
    /// # Errors
    ///
    /// [`LoadError::UnknownModule`].
    pub fn from_std(name: &str) -> Result<Rules, LoadError> {
        let module = optc_stdlib::module(name);
        match module.and_then(|module| Some((module, optc_stdlib::source(module)?))) {
            Some((module, text)) => Rules::from_source(module, text),
            None => Err(LoadError::UnknownModule {
                name: name.to_owned(),
                known: optc_stdlib::NAMES.join(", "),
            }),
        }
    }

    /// A composition of optimizers of the standard library, as it would stand in a file.
    ///
    /// ```
    /// use optc_runtime::Rules;
    ///
    /// let rules = Rules::compose("Sam(base = Soap(precondition_frequency = 5), rho = 0.1)")?;
    /// assert_eq!(rules.optimizers().collect::<Vec<_>>(), ["Composed"]);
    /// # Ok::<(), optc_runtime::LoadError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LoadError::Source`] with every mistake: an optimizer that the library lacks, a setting that one lacks.
    pub fn compose(composition: &str) -> Result<Rules, LoadError> {
        Rules::from_source("composition", &optc_stdlib::composition(composition))
    }

    /// A `.opt` file; its imports are looked for beside it, then in the standard library.
    ///
    /// # Errors
    ///
    /// [`LoadError::File`], or [`LoadError::Source`] with every mistake.
    pub fn open_source(path: impl AsRef<Path>) -> Result<Rules, LoadError> {
        let path = path.as_ref();
        let text = String::from_utf8(read(path)?).map_err(|_| LoadError::NotText {
            path: path.to_owned(),
        })?;
        let beside = Imports {
            folder: Some(folder_of(path)),
            embedded: BTreeMap::new(),
        };
        Rules::check(&path.display().to_string(), &text, &beside)
    }

    /// An artifact, from its bytes; the best of its objects for this machine is loaded. PTX is compiled by the driver
    /// when a parameter on a CUDA device is bound.
    ///
    /// # Errors
    ///
    /// A damaged artifact, one for another CPU, or one whose source this version does not accept.
    ///
    /// # Safety
    ///
    /// The artifact's machine code is run: the bytes are trusted. [`Rules::from_artifact_source`] uses only the source.
    pub unsafe fn from_artifact(bytes: &[u8]) -> Result<Rules, LoadError> {
        let artifact = Artifact::parse(bytes)?;
        let mut rules = Rules::of_sources(&artifact)?;
        let ptx = artifact
            .ptx()
            .map(|ptx| (ptx.target.to_owned(), ptx.text.to_owned()));
        rules.ptx = Arc::new(ptx.collect());
        let best = match artifact.best_object(&Features::detect()) {
            // An artifact for GPUs alone.
            Err(_) if artifact.objects().next().is_none() && !rules.ptx.is_empty() => {
                return Ok(rules);
            }
            best => best?,
        };
        // SAFETY: the caller trusts the code.
        let object =
            unsafe { Object::load(best.code) }.map_err(|source| LoadError::Code { source })?;
        rules.code = Some(Code {
            isa: best.isa,
            object: Arc::new(object),
        });
        Ok(rules)
    }

    /// The source inside an artifact, without its machine code: kernels are compiled at bind by the quick tier.
    ///
    /// # Errors
    ///
    /// A damaged artifact, or one whose source this version does not accept.
    pub fn from_artifact_source(bytes: &[u8]) -> Result<Rules, LoadError> {
        Rules::of_sources(&Artifact::parse(bytes)?)
    }

    /// Whatever `path` is: an artifact, a `.opt` file, the name of a module of the standard library, such as `adamw`,
    /// or a composition of its optimizers, such as `Clip(base = AdamW)`.
    ///
    /// # Errors
    ///
    /// As for the functions above.
    ///
    /// # Safety
    ///
    /// If the file is an artifact, its machine code is run: the file is trusted.
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<Rules, LoadError> {
        let path = path.as_ref();
        match path.to_str().filter(|_| !path.is_file()) {
            Some(name) if optc_stdlib::module(name).is_some() => return Rules::from_std(name),
            Some(text) if optc_stdlib::is_composition(text) => return Rules::compose(text),
            _ => {}
        }
        let bytes = read(path)?;
        if Artifact::recognises(&bytes) {
            // SAFETY: the caller trusts the file.
            return unsafe { Rules::from_artifact(&bytes) }.map_err(|error| error.of_file(path));
        }
        Rules::open_source(path)
    }

    fn of_sources(artifact: &Artifact<'_>) -> Result<Rules, LoadError> {
        let sources = artifact.sources();
        Rules::from_sources(&sources.root, sources.root_text(), sources.modules.clone())
    }

    fn check(name: &str, text: &str, imports: &Imports) -> Result<Rules, LoadError> {
        let checked =
            check::check(name, text, imports).map_err(|source| LoadError::Source { source })?;
        Ok(Rules {
            program: Arc::new(checked.program),
            warnings: checked.warnings.into(),
            code: None,
            ptx: Arc::default(),
        })
    }

    /// The optimizers of the root file, in order.
    pub fn optimizers(&self) -> impl Iterator<Item = &str> {
        self.program
            .roots
            .iter()
            .map(|&id| self.program.optimizers[id].name.as_str())
    }

    /// What looks like an oversight in the root file.
    pub fn warnings(&self) -> &[Located] {
        &self.warnings
    }

    /// The checked program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The level of the loaded machine code, if there is any.
    pub fn isa(&self) -> Option<Isa> {
        self.code.as_ref().map(|code| code.isa)
    }

    /// PTX by target, if there is any.
    pub(crate) fn ptx(&self) -> Option<&BTreeMap<String, String>> {
        Some(&*self.ptx).filter(|ptx| !ptx.is_empty())
    }

    /// Binds one of the optimizers to parameters: picks each one's rule, allocates its state, finds its kernels.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind(
        &self,
        params: &[ParamDesc],
        options: &BindOptions,
    ) -> Result<Optimizer, BindError> {
        Optimizer::bind(self, params, options)
    }

    /// The optimizer of that name, or the only one.
    ///
    /// # Errors
    ///
    /// No such optimizer, or several and no name.
    pub fn optimizer(&self, name: Option<&str>) -> Result<OptimizerId, BindError> {
        let roots = &self.program.roots;
        let known = || {
            self.optimizers()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        match (name, roots.as_slice()) {
            (None, &[only]) => Ok(only),
            (None, _) => Err(BindError::WhichOptimizer { known: known() }),
            (Some(name), _) => {
                let named = |&&id: &&OptimizerId| self.program.optimizers[id].name == name;
                let found = roots.iter().find(named).copied();
                found.ok_or_else(|| BindError::UnknownOptimizer {
                    name: name.to_owned(),
                    known: known(),
                })
            }
        }
    }

    /// Code for the kernels: from the artifacts where they have them, else from the quick tier.
    pub(crate) fn kernels<'a>(
        all: impl Iterator<Item = &'a Rules>,
        wanted: &[MapKernel],
    ) -> Result<KernelSet, BindError> {
        let mut set = KernelSet::default();
        for code in all.filter_map(|rules| rules.code.as_ref()) {
            // SAFETY: who loaded the artifact trusts that its symbols are what they are called.
            unsafe { set.add_object(Arc::clone(&code.object), wanted) };
        }
        #[cfg(feature = "quick")]
        set.add_quick(wanted)
            .map_err(|message| BindError::QuickTier { message })?;
        Ok(set)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::File {
        path: path.to_owned(),
        source,
    })
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// Where `use` finds modules: an artifact's own texts, a folder, the standard library.
#[derive(Debug, Default)]
struct Imports {
    folder: Option<PathBuf>,
    embedded: BTreeMap<String, String>,
}

impl Sources for Imports {
    fn read(&self, module: &str) -> Option<String> {
        let embedded = || self.embedded.get(module).cloned();
        let standard = || optc_stdlib::source(module).map(str::to_owned);
        // An artifact means the standard library that it was compiled with.
        embedded().or_else(standard).or_else(|| {
            let folder = self.folder.as_ref()?;
            std::fs::read_to_string(folder.join(module.replace('.', "/")).with_extension("opt"))
                .ok()
        })
    }

    fn modules(&self) -> Vec<String> {
        self.embedded
            .keys()
            .cloned()
            .chain(optc_stdlib::NAMES.iter().map(|&name| name.to_owned()))
            .collect()
    }
}

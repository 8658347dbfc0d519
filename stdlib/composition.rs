//! A composition that stands alone, such as `Clip(base = AdamW)` → the text of a source.

use crate::{NAMES, source};

/// Whether something that names no file may be a composition.
pub fn is_composition(text: &str) -> bool {
    text.ends_with(')') && text.contains('(')
}

/// The source of an optimizer `Composed`, with imports of all that the composition names.
pub fn composition(text: &str) -> String {
    format!("{}\noptimizer Composed = {text}\n", imports(text))
}

/// The module that declares an optimizer.
///
/// ```
/// assert_eq!(optc_stdlib::declaring("AdamW"), Some("std.adamw"));
/// assert_eq!(optc_stdlib::declaring("adamw"), None);
/// ```
pub fn declaring(optimizer: &str) -> Option<&'static str> {
    let mut modules = NAMES.iter().copied();
    modules.find(|module| declares(module, optimizer))
}

fn imports(text: &str) -> String {
    let mut names: Vec<&str> = text.split(separates).collect();
    names.sort_unstable();
    names.dedup();
    let import = |name: &str| {
        let module = declaring(name)?;
        Some(format!("use {module}.{name}\n"))
    };
    names.into_iter().filter_map(import).collect()
}

fn separates(c: char) -> bool {
    !(c.is_ascii_alphanumeric() || c == '_')
}

fn declares(module: &str, name: &str) -> bool {
    let lines = source(module).unwrap_or_default().lines();
    let mut optimizers = lines.filter_map(|line| line.strip_prefix("optimizer "));
    optimizers.any(|line| line.split(separates).next() == Some(name))
}

//! What an entry is given beside variables and gradients.

use tch::Tensor;

/// Numbers, and tensors for variables, by the names of the rule.
#[derive(Debug, Default)]
pub struct Given {
    pub(crate) numbers: Vec<(String, f64)>,
    /// For each name, tensors by the names of variables.
    pub(crate) tensors: Vec<(String, Vec<(String, Tensor)>)>,
}

impl Given {
    /// Nothing.
    pub fn new() -> Given {
        Given::default()
    }

    /// A number.
    pub fn number(mut self, name: &str, value: f64) -> Given {
        self.numbers.push((name.to_owned(), value));
        self
    }

    /// Tensors by the names that variables have in the store; a variable without one is left out.
    pub fn tensors(mut self, name: &str, of: impl IntoIterator<Item = (String, Tensor)>) -> Given {
        self.tensors
            .push((name.to_owned(), of.into_iter().collect()));
        self
    }
}

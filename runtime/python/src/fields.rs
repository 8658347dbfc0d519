//! Where a hyperparameter stands in a torch parameter group: under its own name, or in the tuple `betas`.

use optc_core::hir::Optimizer;

/// A place in a parameter group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// The hyperparameter.
    pub name: String,
    /// The group's key.
    pub key: String,
    /// The position inside the tuple under that key.
    pub index: Option<usize>,
}

/// The places of all hyperparameters, in declaration order. `beta1`, `beta2`, … become `betas`, as torch has them.
pub(crate) fn of(optimizer: &Optimizer) -> Vec<Field> {
    let names: Vec<&str> = optimizer
        .hypers
        .iter()
        .map(|hyper| hyper.name.as_str())
        .collect();
    let betas = (1..)
        .take_while(|n| names.contains(&format!("beta{n}").as_str()))
        .count();
    let place = |name: &&str| {
        let number = name
            .strip_prefix("beta")
            .and_then(|n| n.parse::<usize>().ok());
        let index = number
            .filter(|n| betas > 1 && (1..=betas).contains(n))
            .map(|n| n - 1);
        Field {
            name: (*name).to_owned(),
            key: index.map_or(*name, |_| "betas").to_owned(),
            index,
        }
    };
    names.iter().map(place).collect()
}

/// torch's words for a value that a hyperparameter cannot have.
pub(crate) fn invalid(field: &Field, value: &str) -> String {
    match (field.key.as_str(), field.index) {
        ("betas", Some(index)) => format!("Invalid beta parameter at index {index}: {value}"),
        ("lr", _) => format!("Invalid learning rate: {value}"),
        ("eps", _) => format!("Invalid epsilon value: {value}"),
        (key, _) => format!("Invalid {key} value: {value}"),
    }
}

//! Whole files, from the simplest rule to one with matrix products.

/// Snapshots the tree of a file below its source.
fn check(name: &str, source: &str) {
    let module = optc_grammar::parse(source).unwrap_or_else(|error| panic!("{error:?}"));
    insta::assert_snapshot!(
        name,
        format!("{source}\n---\n{}", optc_grammar::dump(&module))
    );
}

#[test]
fn adamw() {
    check("adamw", include_str!("samples/adamw.opt"));
}

#[test]
fn muon() {
    check("muon", include_str!("samples/muon.opt"));
}

#[test]
fn soap() {
    check("soap", include_str!("samples/soap.opt"));
}

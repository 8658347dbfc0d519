//! The checked-in header is what cbindgen makes of the source; `OPTC_WRITE_HEADER=1` writes it.

use std::path::Path;

#[test]
fn header_is_that_of_the_source() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = folder.join("include/optc/optc.h");
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::generate_with_config(folder, config).expect("a header");
    if std::env::var_os("OPTC_WRITE_HEADER").is_some() {
        bindings.write_to_file(&path);
    }
    let mut made = Vec::new();
    bindings.write(&mut made);
    let found = std::fs::read(&path).unwrap_or_default();
    assert!(
        made == found,
        "write it again: `OPTC_WRITE_HEADER=1 cargo test -p optc-capi --test header`"
    );
}

//! Gives the shared library the name under which programs ask for it: without one they would store its path.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,liboptc.so");
    }
}

//! Lets the tests find LibTorch where it was built against it, with no environment.
//!
//! `--no-as-needed` keeps `libtorch` linked although no symbol of it is used:
//! loading it is what registers CUDA where LibTorch has it.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo:rustc-link-arg=-ltorch");
    }
}

//! The .optc container and its manifest: written by the compiler, read by the runtime.

//! Functions that compiled code calls where the processor lacks an instruction (x86-64 before SSE4.1).
//!
//! They are named here because a program need not export its C library's.

/// Names and addresses, for the linker of code in memory.
pub(crate) fn symbols() -> [(&'static str, *const u8); 4] {
    [
        ("floorf", floorf as *const u8),
        ("floor", floor as *const u8),
        ("nearbyintf", nearbyintf as *const u8),
        ("nearbyint", nearbyint as *const u8),
    ]
}

extern "C" fn floorf(x: f32) -> f32 {
    x.floor()
}

extern "C" fn floor(x: f64) -> f64 {
    x.floor()
}

extern "C" fn nearbyintf(x: f32) -> f32 {
    x.round_ties_even()
}

extern "C" fn nearbyint(x: f64) -> f64 {
    x.round_ties_even()
}

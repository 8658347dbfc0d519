//! State that the caller keeps: whether what is lent has the layout that the plan gives it.

use crate::engine::{Home, Param};
use crate::view::TensorView;
use optc_core::plan::Slot;

/// Compares lent tensors with a parameter's state.
///
/// # Errors
///
/// The first difference, in words.
pub(crate) fn check(param: &Param, state: &[TensorView<'_>]) -> Result<(), String> {
    let slots = param.state_slots();
    if param.home == Home::Own {
        return Err("this optimizer keeps its state itself".into());
    }
    if slots.len() != state.len() {
        return Err(format!("{} tensors for {}", state.len(), slots.len()));
    }
    slots
        .iter()
        .zip(state)
        .try_for_each(|(slot, view)| check_one(param, slot, view))
}

fn check_one(param: &Param, slot: &Slot, view: &TensorView<'_>) -> Result<(), String> {
    let same_shape = view.dims().len() == slot.dims.len()
        && (view.dims().iter().zip(&slot.dims))
            .all(|(&found, &dim)| u64::try_from(found) == Ok(dim));
    let differs = |what: &str, found: String, expected: String| {
        Err(format!("`{}` {what} {found}, not {expected}", slot.name))
    };
    match () {
        () if !same_shape => differs(
            "has shape",
            format!("{:?}", view.dims()),
            format!("{:?}", slot.dims),
        ),
        () if view.dtype() != slot.dtype => differs(
            "is stored as",
            view.dtype().to_string(),
            slot.dtype.to_string(),
        ),
        () if view.device() != param.device => {
            differs("is on", view.device().to_string(), param.device.to_string())
        }
        () if !view.is_contiguous() || !view.is_writable() => {
            Err(format!("`{}` is not contiguous and writable", slot.name))
        }
        () => Ok(()),
    }
}

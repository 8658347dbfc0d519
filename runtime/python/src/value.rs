//! The values of statics and element types: Python ↔ the language.

use optc_core::dtype::DType;
use optc_core::settings::StaticValue;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString, PyTuple};

/// A static's value as Python shows it.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    value: &StaticValue,
    whole: bool,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        StaticValue::Number(number) if whole => (*number as i64).into_pyobject(py)?.into_any(),
        StaticValue::Number(number) => number.into_pyobject(py)?.into_any(),
        StaticValue::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        StaticValue::Word(word) => PyString::new(py, word).into_any(),
        StaticValue::DType(dtype) => {
            let name = dtype.map_or("same".to_owned(), |dtype| dtype.to_string());
            PyString::new(py, &name).into_any()
        }
        StaticValue::Table(rows) => table(py, rows)?.into_any(),
    })
}

fn table<'py>(py: Python<'py>, rows: &[Vec<f64>]) -> PyResult<Bound<'py, PyTuple>> {
    let rows = rows.iter().map(|row| PyTuple::new(py, row));
    PyTuple::new(py, rows.collect::<PyResult<Vec<_>>>()?)
}

/// A static's value as the command line writes it; what has no such form is written as Python shows it, and refused
/// by its name later.
pub(crate) fn to_text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(value) = value.cast::<PyBool>() {
        return Ok(value.is_true().to_string());
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_string());
    }
    if let Ok(number) = value.extract::<f64>() {
        return Ok(number.to_string());
    }
    if let Ok(row) = value.extract::<Vec<f64>>() {
        return Ok(cells(&row));
    }
    if let Ok(rows) = value.extract::<Vec<Vec<f64>>>() {
        let rows: Vec<String> = rows.iter().map(|row| cells(row)).collect();
        return Ok(rows.join(";"));
    }
    let text = value.str()?.to_string();
    Ok(match text.strip_prefix("torch.").map(dtype_name) {
        Some(Some(dtype)) => dtype.to_string(),
        _ => text,
    })
}

fn cells(row: &[f64]) -> String {
    let cells: Vec<String> = row.iter().map(f64::to_string).collect();
    cells.join(",")
}

/// The element type that torch calls so.
pub(crate) fn dtype_name(name: &str) -> Option<DType> {
    match name {
        "float64" => Some(DType::F64),
        "float32" => Some(DType::F32),
        "bfloat16" => Some(DType::BF16),
        "float16" => Some(DType::F16),
        "int64" => Some(DType::I64),
        "uint8" => Some(DType::U8),
        _ => None,
    }
}

/// The element type of that name, in torch or in the language.
pub(crate) fn dtype(name: &str) -> PyResult<DType> {
    let known = dtype_name(name.strip_prefix("torch.").unwrap_or(name)).or(DType::from_name(name));
    known.ok_or_else(|| PyValueError::new_err(format!("`{name}` is not an element type")))
}

/// What torch calls an element type.
pub(crate) fn torch_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "float64",
        DType::F32 => "float32",
        DType::BF16 => "bfloat16",
        DType::F16 => "float16",
        DType::I64 => "int64",
        DType::U8 => "uint8",
    }
}

//! One torch tensor, read through its Python methods: what it must be, and where its elements are.

use crate::error::raise;
use miette::Diagnostic;
use optc_core::dtype::DType;
use optc_runtime::apart::reach;
use optc_runtime::{Device, TensorView};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ffi::c_void;
use std::fmt;
use thiserror::Error;

/// A tensor that no step can use.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum TensorError {
    /// Elements that no optimizer steps on, or other ones than at bind.
    #[error("{tensor} is stored as {found}, not {expected}")]
    #[diagnostic(
        code(opt::python::dtype),
        help(
            "parameters and gradients are float64, float32, bfloat16 or float16, and stay what they were when bound"
        )
    )]
    DType {
        tensor: String,
        found: String,
        expected: String,
    },
    /// Another shape than at bind.
    #[error("{tensor} has shape {found:?}, bound as {expected:?}")]
    #[diagnostic(
        code(opt::step::shape),
        help("make a new optimizer after changing a parameter's shape")
    )]
    Shape {
        tensor: String,
        found: Vec<i64>,
        expected: Vec<i64>,
    },
    /// A device that no code is made for.
    #[error("{tensor} is on {found}")]
    #[diagnostic(
        code(opt::python::device),
        help(
            "rules step on the cpu and on cuda: move the model there before the optimizer is made"
        )
    )]
    Device { tensor: String, found: String },
    /// Another device than at bind.
    #[error("{tensor} is on {found}, not on {expected}")]
    #[diagnostic(
        code(opt::python::moved),
        help(
            "gradients and state are where the parameter is; make a new optimizer after moving a model, and load its state"
        )
    )]
    Moved {
        tensor: String,
        found: String,
        expected: String,
    },
    /// No place in memory for each element.
    #[error("{tensor} is sparse")]
    #[diagnostic(
        code(opt::python::sparse),
        help("build the embedding with `sparse=False`")
    )]
    Sparse { tensor: String },
    /// Several indices are one element in memory.
    #[error("elements of {tensor} share memory with each other")]
    #[diagnostic(
        code(opt::python::overlapping),
        help("make it contiguous; an expanded tensor cannot be stepped")
    )]
    Overlapping { tensor: String },
}

/// What a tensor must be.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) dims: Vec<i64>,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
    /// `torch.Size`, `torch.dtype` and `torch.device` to compare with.
    shape: Py<PyAny>,
    torch_dtype: Py<PyAny>,
    torch_device: Py<PyAny>,
}

/// Where a tensor's elements are.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) address: usize,
    /// None when contiguous.
    strides: Option<Vec<i64>>,
}

/// What a message calls a tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Label<'a> {
    /// Of this name.
    Parameter(&'a str),
    /// Of the parameter of this name.
    Gradient(&'a str),
    /// A piece of state, and its parameter.
    State(&'a str, &'a str),
    /// What an entry is given, and for which parameter.
    Input(&'a str, &'a str),
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Label::Parameter(name) => write!(f, "parameter `{name}`"),
            Label::Gradient(name) => write!(f, "the gradient of `{name}`"),
            Label::State(state, name) => write!(f, "the state `{state}` of `{name}`"),
            Label::Input(input, name) => write!(f, "the input `{input}` for `{name}`"),
        }
    }
}

impl Layout {
    /// The layout that a tensor has now.
    pub(crate) fn of(tensor: &Bound<'_, PyAny>, label: Label<'_>) -> PyResult<Layout> {
        let py = tensor.py();
        let torch_dtype = tensor.getattr(intern!(py, "dtype"))?;
        let name = torch_dtype.str()?.to_string();
        let known = crate::value::dtype_name(name.trim_start_matches("torch."));
        let Some(dtype) = known.filter(|dtype| dtype.is_float()) else {
            return Err(raise(py, &label.dtype(name, "a float".into())));
        };
        let layout = Layout {
            dims: tensor.getattr(intern!(py, "shape"))?.extract()?,
            dtype,
            device: device_of(tensor, label)?,
            shape: tensor.getattr(intern!(py, "shape"))?.unbind(),
            torch_dtype: torch_dtype.unbind(),
            torch_device: tensor.getattr(intern!(py, "device"))?.unbind(),
        };
        layout.read(tensor, label).map(|_| layout)
    }

    /// The layout of a tensor that is to be made.
    pub(crate) fn new(
        py: Python<'_>,
        dtype: DType,
        dims: &[u64],
        device: Device,
    ) -> PyResult<Layout> {
        let torch = py.import("torch")?;
        let dims: Vec<i64> = dims.iter().map(|&dim| dim as i64).collect();
        Ok(Layout {
            shape: torch.getattr("Size")?.call1((dims.clone(),))?.unbind(),
            torch_dtype: torch.getattr(crate::value::torch_name(dtype))?.unbind(),
            torch_device: torch
                .getattr("device")?
                .call1((device.to_string(),))?
                .unbind(),
            dims,
            dtype,
            device,
        })
    }

    /// A new tensor of zeros in host memory.
    pub(crate) fn zeros<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let zeros = py.import("torch")?.getattr("zeros")?;
        zeros.call((self.shape.bind(py),), Some(&self.options(py)?))
    }

    /// A new tensor of zeros where another tensor is.
    pub(crate) fn zeros_beside<'py>(
        &self,
        tensor: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = tensor.py();
        let zeros = tensor.getattr(intern!(py, "new_zeros"))?;
        zeros.call((self.shape.bind(py),), Some(&self.options(py)?))
    }

    fn options<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let options = PyDict::new(py);
        options.set_item(intern!(py, "dtype"), &self.torch_dtype)?;
        Ok(options)
    }

    /// Where the elements of a tensor of this layout are now.
    pub(crate) fn read(&self, tensor: &Bound<'_, PyAny>, label: Label<'_>) -> PyResult<Memory> {
        let py = tensor.py();
        let dtype = tensor.getattr(intern!(py, "dtype"))?;
        if !dtype.is(&self.torch_dtype) {
            let expected = self.torch_dtype.bind(py).str()?.to_string();
            return Err(raise(py, &label.dtype(dtype.str()?.to_string(), expected)));
        }
        let shape = tensor.getattr(intern!(py, "shape"))?;
        if !shape.eq(&self.shape)? {
            let error = TensorError::Shape {
                tensor: label.to_string(),
                found: shape.extract()?,
                expected: self.dims.clone(),
            };
            return Err(raise(py, &error));
        }
        self.check_device(tensor, label)?;
        let address = tensor.call_method0(intern!(py, "data_ptr"));
        let address = address
            .map_err(|error| label.unreadable(tensor, error))?
            .extract()?;
        let contiguous = tensor
            .call_method0(intern!(py, "is_contiguous"))?
            .is_truthy()?;
        let strides = match contiguous {
            true => None,
            false => Some(tensor.call_method0(intern!(py, "stride"))?.extract()?),
        };
        Ok(Memory { address, strides })
    }

    fn check_device(&self, tensor: &Bound<'_, PyAny>, label: Label<'_>) -> PyResult<()> {
        let py = tensor.py();
        // What is asked in every step of every tensor must be quick.
        let stayed = match self.device {
            Device::Cpu => tensor.getattr(intern!(py, "is_cpu"))?.is_truthy()?,
            Device::Cuda(_) => {
                let found = tensor.getattr(intern!(py, "device"))?;
                found.eq(&self.torch_device)?
            }
        };
        if stayed {
            return Ok(());
        }
        let found = device_of(tensor, label)?;
        if found == self.device {
            return Ok(());
        }
        let error = TensorError::Moved {
            tensor: label.to_string(),
            found: found.to_string(),
            expected: self.device.to_string(),
        };
        Err(raise(py, &error))
    }
}

/// Where a tensor is.
fn device_of(tensor: &Bound<'_, PyAny>, label: Label<'_>) -> PyResult<Device> {
    let py = tensor.py();
    let device = tensor.getattr(intern!(py, "device"))?;
    let kind: String = device.getattr(intern!(py, "type"))?.extract()?;
    match &*kind {
        "cpu" => Ok(Device::Cpu),
        "cuda" => Ok(Device::Cuda(
            device.getattr(intern!(py, "index"))?.extract()?,
        )),
        _ => {
            let (tensor, found) = (label.to_string(), device.str()?.to_string());
            Err(raise(py, &TensorError::Device { tensor, found }))
        }
    }
}

impl Label<'_> {
    fn dtype(self, found: String, expected: String) -> TensorError {
        TensorError::DType {
            tensor: self.to_string(),
            found,
            expected,
        }
    }

    /// A tensor without an address is sparse; anything else is torch's to say.
    fn unreadable(self, tensor: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
        let layout = tensor.getattr("layout");
        match layout.and_then(|layout| Ok(layout.str()?.to_string())) {
            Ok(layout) if layout != "torch.strided" => {
                let tensor_name = self.to_string();
                raise(
                    tensor.py(),
                    &TensorError::Sparse {
                        tensor: tensor_name,
                    },
                )
            }
            _ => error,
        }
    }
}

impl Memory {
    /// The elements, as the runtime sees them.
    ///
    /// # Safety
    ///
    /// The promises of [`TensorView::from_raw`] for a tensor of this layout.
    pub(crate) unsafe fn view<'a>(&'a self, layout: &'a Layout) -> TensorView<'a> {
        let (data, strides) = (self.address as *mut c_void, self.strides.as_deref());
        // SAFETY: by the caller's promise.
        unsafe { TensorView::from_raw(data, layout.dtype, &layout.dims, strides, layout.device) }
    }

    /// Whether two indices may be one element.
    pub(crate) fn overlaps(&self, dims: &[i64]) -> bool {
        reach(dims, self.strides.as_deref()).is_none()
    }

    /// The bytes from the first element to the last.
    pub(crate) fn span(&self, layout: &Layout) -> std::ops::Range<usize> {
        let elements = reach(&layout.dims, self.strides.as_deref()).unwrap_or_default();
        self.address..self.address + elements * layout.dtype.size() as usize
    }
}

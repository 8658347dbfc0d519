//! The trainable variables of a store, and their memory for the time of one step.

use crate::Error;
use crate::entry::Given;
use optc_core::dtype::DType;
use optc_runtime::apart::{Part, find_clash, reach};
use optc_runtime::{Device, ParamDesc, StepInput, TensorView};
use std::collections::HashMap;
use std::ffi::c_void;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

/// A variable by its name in the store.
#[derive(Debug)]
pub(crate) struct Variable {
    name: String,
    tensor: Tensor,
    /// No elements, but the same version counter: writing to it tells autograd that the variable changed.
    version: Tensor,
}

/// The trainable variables in the order of their names.
pub(crate) fn of_store(vs: &VarStore) -> Result<Vec<Variable>, Error> {
    let groups = trainable_places(vs);
    let mut named: Vec<(String, Tensor)> = vs.variables().into_iter().collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let mut variables = Vec::new();
    for (name, tensor) in named {
        let group = groups.get(&place(&tensor)).copied();
        // A frozen variable is trainable without requiring a gradient; one without elements has no place of its own.
        if !tensor.requires_grad() && (group.is_none() || tensor.numel() == 0) {
            continue;
        }
        if let Some(group @ 1..) = group {
            return Err(Error::StoreGroup { name, group });
        }
        variables.push(Variable::new(name, tensor)?);
    }
    Ok(variables)
}

/// Where a tensor's elements are, and its shape.
type Place = (usize, Vec<i64>);

fn place(tensor: &Tensor) -> Place {
    // A sparse tensor has no address.
    let address = if tensor.is_sparse() {
        0
    } else {
        tensor.data_ptr() as usize
    };
    (address, tensor.size())
}

/// The store's group of each trainable variable: the store keeps their names elsewhere.
fn trainable_places(vs: &VarStore) -> HashMap<Place, usize> {
    let store = vs
        .variables_
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    store
        .trainable_variables
        .iter()
        .map(|var| (place(&var.tensor), var.group))
        .collect()
}

impl Variable {
    fn new(name: String, tensor: Tensor) -> Result<Variable, Error> {
        if tensor.is_sparse() {
            return Err(Error::Sparse { name });
        }
        let version = tensor.f_detach()?.f_as_strided([0], [1], 0)?;
        Ok(Variable {
            name,
            tensor,
            version,
        })
    }

    /// Its name in the store.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the runtime binds.
    pub(crate) fn describe(&self) -> Result<ParamDesc, Error> {
        let dtype = dtype_of(&self.name, &self.tensor)?;
        let device = device_of(&self.name, &self.tensor)?;
        Ok(ParamDesc {
            device,
            ..ParamDesc::new(&self.name, &self.tensor.size(), dtype)
        })
    }

    /// The gradient, if there is one.
    pub(crate) fn grad(&self) -> Option<Tensor> {
        let grad = self.tensor.grad();
        grad.defined().then_some(grad)
    }

    /// The memory of variable and gradient as they are now.
    pub(crate) fn read(&self) -> Result<Memory, Error> {
        let param = Layout::read(&self.name, self.tensor.shallow_clone())?;
        if param.overlaps() {
            return Err(Error::Overlapping {
                name: self.name.clone(),
            });
        }
        let grad = self
            .grad()
            .map(|grad| Layout::read_only(&self.name, grad))
            .transpose()?;
        Ok(Memory {
            param,
            grad,
            given: Vec::new(),
        })
    }

    /// The same with what an entry is given for the variable.
    pub(crate) fn read_given(&self, given: &Given) -> Result<Memory, Error> {
        let tensors = given.tensors.iter().map(|(_, of)| {
            let tensor = of.iter().find(|(name, _)| *name == self.name);
            let read = |(_, tensor): &(String, Tensor)| {
                Layout::read_only(&self.name, tensor.shallow_clone())
            };
            tensor.map(read).transpose()
        });
        Ok(Memory {
            given: tensors.collect::<Result<_, Error>>()?,
            ..self.read()?
        })
    }

    /// Makes autograd refuse to go backward through values from before the step.
    pub(crate) fn mark_changed(&mut self) -> Result<(), Error> {
        let _ = self.version.f_zero_()?;
        Ok(())
    }
}

/// A variable's tensors during one step.
#[derive(Debug)]
pub(crate) struct Memory {
    param: Layout,
    grad: Option<Layout>,
    /// What an entry is given for it, in the order of the call.
    given: Vec<Option<Layout>>,
}

impl Memory {
    /// The tensors as the runtime takes them.
    ///
    /// # Safety
    ///
    /// As long as the input lives nobody else uses the variable, nobody writes the gradient, and [`check_apart`]
    /// accepted all memories of the step.
    pub(crate) unsafe fn input(&self) -> StepInput<'_> {
        // SAFETY: `read` refused a variable whose elements overlap; the rest is the caller's promise.
        let param = unsafe { self.param.view() };
        // SAFETY: `read_only` copied a gradient whose elements overlap; the rest is the caller's promise.
        let grad = self.grad.as_ref().map(|grad| unsafe { grad.view() });
        StepInput { param, grad }
    }

    /// A tensor that an entry is given.
    ///
    /// # Safety
    ///
    /// As for [`Memory::input`].
    pub(crate) unsafe fn given(&self, at: usize) -> Option<TensorView<'_>> {
        let layout = self.given.get(at)?.as_ref()?;
        // SAFETY: `read_only` copied a tensor whose elements overlap; the rest is the caller's promise.
        Some(unsafe { layout.view() })
    }
}

/// Refuses variables whose memory reaches into that of another variable or of any gradient.
pub(crate) fn check_apart(variables: &[Variable], memories: &[Memory]) -> Result<(), Error> {
    let all = memories.iter().enumerate();
    let parts = all.flat_map(|(n, memory)| {
        let grad = memory.grad.iter().chain(memory.given.iter().flatten());
        let read = grad.map(move |layout| layout.part(false, n));
        std::iter::once(memory.param.part(true, n)).chain(read)
    });
    let Some((first, second)) = find_clash(parts.collect()) else {
        return Ok(());
    };
    let name = |n: usize| variables[n].name.clone();
    Err(Error::Shared {
        first: name(first),
        second: name(second),
    })
}

/// A strided tensor, kept alive, with what a view of it needs.
#[derive(Debug)]
struct Layout {
    data: *mut c_void,
    dtype: DType,
    dims: Vec<i64>,
    strides: Vec<i64>,
    device: Device,
    _tensor: Tensor,
}

impl Layout {
    fn read(name: &str, tensor: Tensor) -> Result<Layout, Error> {
        if tensor.is_sparse() {
            return Err(Error::Sparse {
                name: name.to_owned(),
            });
        }
        Ok(Layout {
            data: tensor.data_ptr(),
            dtype: dtype_of(name, &tensor)?,
            dims: tensor.size(),
            strides: tensor.stride(),
            device: device_of(name, &tensor)?,
            _tensor: tensor,
        })
    }

    /// Like `read`; an expanded tensor is copied.
    fn read_only(name: &str, tensor: Tensor) -> Result<Layout, Error> {
        let layout = Layout::read(name, tensor)?;
        if !layout.overlaps() {
            return Ok(layout);
        }
        Layout::read(name, layout._tensor.f_contiguous()?)
    }

    /// Whether two indices may be one element.
    fn overlaps(&self) -> bool {
        reach(&self.dims, Some(&self.strides)).is_none()
    }

    /// Its memory, to be compared with that of others.
    fn part(&self, written: bool, param: usize) -> Part {
        let start = self.data as usize;
        let elements = reach(&self.dims, Some(&self.strides)).unwrap_or_default();
        Part {
            bytes: start..start + elements * self.dtype.size() as usize,
            written,
            param,
        }
    }

    /// # Safety
    ///
    /// As for [`TensorView::from_raw`]: no two indices are one element, and nobody interferes.
    unsafe fn view(&self) -> TensorView<'_> {
        // SAFETY: LibTorch keeps the storage that `dims` and `strides` describe as long as the tensor lives, which is
        // as long as `self`; the rest is the caller's promise.
        unsafe {
            TensorView::from_raw(
                self.data,
                self.dtype,
                &self.dims,
                Some(&self.strides),
                self.device,
            )
        }
    }
}

fn dtype_of(name: &str, tensor: &Tensor) -> Result<DType, Error> {
    match tensor.f_kind()? {
        Kind::Float => Ok(DType::F32),
        Kind::Double => Ok(DType::F64),
        Kind::BFloat16 => Ok(DType::BF16),
        Kind::Half => Ok(DType::F16),
        kind => Err(Error::Kind {
            name: name.to_owned(),
            kind,
        }),
    }
}

fn device_of(name: &str, tensor: &Tensor) -> Result<Device, Error> {
    match tensor.device() {
        tch::Device::Cpu => Ok(Device::Cpu),
        tch::Device::Cuda(n) if u32::try_from(n).is_ok() => Ok(Device::Cuda(n as u32)),
        device => Err(Error::Device {
            name: name.to_owned(),
            device,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(tensor: Tensor) -> Layout {
        Layout::read("w", tensor).unwrap()
    }

    #[test]
    fn an_expanded_tensor_overlaps() {
        let ones = Tensor::ones([3, 1], (Kind::Float, tch::Device::Cpu));
        assert!(layout(ones.expand([3, 4], false)).overlaps());
        assert!(!layout(ones.shallow_clone()).overlaps());
        assert!(!layout(Tensor::ones([3, 4], (Kind::Float, tch::Device::Cpu)).tr()).overlaps());
        assert!(!layout(ones.expand([3, 0], false)).overlaps());
        assert!(layout(ones.view(3).as_strided([2, 2], [1, 1], 0)).overlaps());
        assert_eq!(
            Layout::read_only("w", ones.expand([3, 4], false))
                .unwrap()
                .strides,
            [4, 1]
        );
    }

    #[test]
    fn a_span_covers_strided_elements() {
        let matrix = Tensor::ones([4, 6], (Kind::Double, tch::Device::Cpu));
        let bytes = layout(matrix.narrow(1, 1, 2)).part(false, 0).bytes;
        assert_eq!(bytes.start, matrix.data_ptr() as usize + 8);
        assert_eq!(bytes.len(), (3 * 6 + 2) * 8);
    }
}

//! Whole steps on the device and on the host: parameters and state must have the same bits.

use crate::agree::Found;
use crate::placed::{Placed, bytes, numbers};
use optc_core::dtype::DType;
use optc_runtime::cuda::Device;
use optc_runtime::{
    BindOptions, Group, NonFinite, Optimizer, ParamDesc, Rules, StepError, StepInput, TensorView,
};
use std::error::Error;

/// A parameter: shape, strides if it is strided, values its strides reach.
struct Case {
    dims: Vec<i64>,
    strides: Option<Vec<i64>>,
    reach: usize,
}

fn cases(largest: u64) -> Vec<Case> {
    let lengths = [0, 1, 3, 16, 17, 4097, largest as i64];
    let flat = lengths.map(|n| Case {
        dims: vec![n],
        strides: None,
        reach: n as usize,
    });
    let strided = [
        Case {
            dims: vec![33, 20],
            strides: Some(vec![1, 33]),
            reach: 660,
        },
        Case {
            dims: vec![4, 3, 5, 6],
            strides: Some(vec![200, 1, 36, 5]),
            reach: 800,
        },
        Case {
            dims: vec![1000, 17],
            strides: Some(vec![40, 2]),
            reach: 40_000,
        },
    ];
    flat.into_iter().chain(strided).collect()
}

/// Both runs of one model.
struct Pair {
    cases: Vec<Case>,
    host: Vec<Vec<f32>>,
    device: Vec<Placed>,
    on_host: Optimizer,
    on_device: Optimizer,
}

/// Five steps with two groups, a gradient missing now and then, and a NaN that is refused.
pub(crate) fn compare(
    device: &Device,
    artifact: &[u8],
    largest: u64,
    found: &mut Found,
) -> Result<(), Box<dyn Error>> {
    // SAFETY: whoever runs this tool trusts the artifacts that it is given.
    let rules = unsafe { Rules::from_artifact(artifact) }?;
    for policy in [NonFinite::Propagate, NonFinite::Error] {
        let mut pair = Pair::new(device, &rules, policy, largest)?;
        for step in 1..=5 {
            pair.step(device, step, false)?;
        }
        if policy == NonFinite::Error {
            let refused = pair.step(device, 6, true);
            let named = refused.is_err_and(|error| matches!(*error, StepError::NonFinite { .. }));
            found.note(named, || "a NaN on the device is refused".into());
        }
        pair.compare(found)?;
    }
    Ok(())
}

impl Pair {
    fn new(
        device: &Device,
        rules: &Rules,
        policy: NonFinite,
        largest: u64,
    ) -> Result<Pair, Box<dyn Error>> {
        let cases = cases(largest);
        let options = BindOptions {
            groups: vec![Group::new("p[25]").hyper("lr", 0.25)],
            non_finite: policy,
            ..BindOptions::default()
        };
        let describe = |place: optc_runtime::Device| -> Vec<ParamDesc> {
            let one = |(n, case): (usize, &Case)| ParamDesc {
                device: place,
                ..ParamDesc::new(&format!("p{n}"), &case.dims, DType::F32)
            };
            cases.iter().enumerate().map(one).collect()
        };
        let host: Vec<Vec<f32>> = cases
            .iter()
            .zip(1..)
            .map(|(case, seed)| numbers(seed, case.reach))
            .collect();
        let placed = cases
            .iter()
            .zip(&host)
            .map(|(case, values)| Placed::new(device, &case.dims, case.strides.as_deref(), values));
        Ok(Pair {
            device: placed.collect::<Result<_, _>>()?,
            on_host: rules.bind(&describe(optc_runtime::Device::Cpu), &options)?,
            on_device: rules.bind(
                &describe(optc_runtime::Device::Cuda(device.ordinal())),
                &options,
            )?,
            host,
            cases,
        })
    }

    /// A step on both; with `bad`, one on the device alone whose last gradient has a NaN.
    fn step(&mut self, device: &Device, step: u64, bad: bool) -> Result<(), Box<StepError>> {
        let mut grads: Vec<Vec<f32>> = self
            .cases
            .iter()
            .zip(0..)
            .map(|(case, n)| numbers(1000 * step + n, case.reach))
            .collect();
        if let Some(last) = grads.last_mut().filter(|_| bad) {
            last[80] = f32::NAN;
        }
        let has = |n: usize| bad || step % 2 == 1 || n % 3 != 2;
        let placed = self
            .cases
            .iter()
            .zip(&grads)
            .map(|(case, grad)| Placed::new(device, &case.dims, case.strides.as_deref(), grad));
        let mut placed = placed
            .collect::<Result<Vec<Placed>, _>>()
            .map_err(|error| Box::new(error.into()))?;
        let inputs = self.device.iter_mut().zip(&mut placed).enumerate();
        let inputs: Vec<StepInput<'_>> = inputs
            .map(|(n, (param, grad))| StepInput {
                param: param.view(),
                grad: has(n).then(|| grad.view()),
            })
            .collect();
        self.on_device.step(&inputs).map_err(Box::new)?;
        drop(inputs);
        if bad {
            return Ok(());
        }
        self.step_host(&mut grads, has)
    }

    fn step_host(
        &mut self,
        grads: &mut [Vec<f32>],
        has: impl Fn(usize) -> bool,
    ) -> Result<(), Box<StepError>> {
        let inputs = self.host.iter_mut().zip(grads).zip(&self.cases).enumerate();
        let inputs: Vec<StepInput<'_>> = inputs
            .map(|(n, ((param, grad), case))| StepInput {
                param: view(param, case),
                grad: has(n).then(|| view(grad, case)),
            })
            .collect();
        self.on_host.step(&inputs).map_err(Box::new)
    }

    fn compare(&self, found: &mut Found) -> Result<(), Box<dyn Error>> {
        for (n, (host, device)) in self.host.iter().zip(&self.device).enumerate() {
            let same = bytes(host) == device.read()?;
            found.note(same, || format!("parameter {n} after five steps"));
            let name = format!("p{n}");
            for (a, b) in self.on_host.states(&name).zip(self.on_device.states(&name)) {
                let same = a.bytes()? == b.bytes()?;
                found.note(same, || {
                    format!("state {} of {name} after five steps", a.name)
                });
            }
        }
        Ok(())
    }
}

fn view<'a>(values: &'a mut [f32], case: &'a Case) -> TensorView<'a> {
    let (data, place) = (values.as_mut_ptr().cast(), optc_runtime::Device::Cpu);
    // SAFETY: `reach` values were made, which is what the dimensions and strides reach, and they are borrowed.
    unsafe { TensorView::from_raw(data, DType::F32, &case.dims, case.strides.as_deref(), place) }
}

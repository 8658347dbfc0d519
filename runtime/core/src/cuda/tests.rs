//! Steps on a device that is not there: the same bits as on the host, and an error by name for everything that lacks.

use super::fake::Fake;
use super::{CudaError, Driver, Stream};
use crate::engine::{NonFinite, StepInput};
use crate::error::{BindError, StepError};
use crate::view::{Device, TensorView};
use crate::{BindOptions, Group, Optimizer, ParamDesc, Rules};
use miette::Diagnostic;
use optc_artifact::{Builder, Manifest, Sources};
use optc_core::dtype::DType;
use optc_core::kernel::MapKernel;
use optc_core::settings::Overrides;
use optc_core::variants::variants;
use std::ffi::c_void;

const LARGE: u64 = 1 << 32;

/// A rule with sums, branches, and state that is computed from the parameter.
const NORMED: &str = r"
//! A step of fixed length around a point that follows.
optimizer Normed {
    hyper lr = 0.5 in [0, inf)
    rule each(w: [...]) {
        state anchor = w
        state level: f32 [] = 0.25
        level = lerp(level, sum(grad^2), 0.25)
        w -= lr * (grad + level * (w - anchor)) / (norm(grad) + 1e-7)
        every 2 steps { anchor = w }
    }
}";

fn kernels(rules: &Rules) -> Vec<MapKernel> {
    let dtypes = [DType::F32, DType::BF16];
    let all = rules.program.roots.iter().flat_map(|&id| {
        variants(&rules.program, id, &Overrides::default(), &dtypes)
            .kernels
            .into_values()
    });
    all.collect()
}

fn artifact(text: &str, target: &str, ptx: String) -> Rules {
    let mut sources = Sources::new("rule");
    sources.modules.insert("rule".into(), text.into());
    let manifest = Manifest {
        optc: "0.1.0".into(),
        root: "rule".into(),
        targets: [target.to_owned()].into(),
        ..Manifest::default()
    };
    let bytes = Builder::new(manifest, sources)
        .ptx(target, ptx)
        .build()
        .unwrap();
    // SAFETY: the artifact holds no machine code for the host.
    unsafe { Rules::from_artifact(&bytes) }.unwrap()
}

/// A rule with PTX, and the driver that runs it.
struct Bench {
    rules: Rules,
    fake: Fake,
}

fn bench(text: &str) -> Bench {
    bench_of(text, LARGE, |ptx| ptx)
}

fn bench_of(text: &str, size: u64, change: impl Fn(String) -> String) -> Bench {
    let source = Rules::from_source("rule", text).unwrap();
    let fake = Fake::new(kernels(&source), size);
    let rules = artifact(text, "sm_80", change(fake.ptx()));
    Bench { rules, fake }
}

fn adamw() -> &'static str {
    optc_stdlib::source("std.adamw").unwrap()
}

impl Bench {
    fn options(&self) -> BindOptions {
        BindOptions {
            cuda: Some(self.fake.driver()),
            threads: Some(2),
            ..BindOptions::default()
        }
    }

    fn bind(&self, params: &[ParamDesc]) -> Result<Optimizer, BindError> {
        self.rules.bind(params, &self.options())
    }
}

fn describe(shapes: &[&[i64]], device: impl Fn(usize) -> Device) -> Vec<ParamDesc> {
    let each = |(n, dims): (usize, &&[i64])| ParamDesc {
        device: device(n),
        ..ParamDesc::new(&format!("p{n}"), dims, DType::F32)
    };
    shapes.iter().enumerate().map(each).collect()
}

/// Numbers in (-1, 1), the same every time.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Parameters and an optimizer over them.
struct Model {
    optimizer: Optimizer,
    descriptions: Vec<ParamDesc>,
    params: Vec<Vec<f32>>,
    steps: u64,
}

impl Model {
    fn new(optimizer: Optimizer, descriptions: Vec<ParamDesc>) -> Model {
        let count = |param: &ParamDesc| param.dims.iter().product::<i64>() as usize;
        let params = descriptions
            .iter()
            .zip(1..)
            .map(|(param, seed)| numbers(seed, count(param)));
        Model {
            params: params.collect(),
            optimizer,
            descriptions,
            steps: 0,
        }
    }

    /// A step; every third parameter has no gradient in every second one.
    fn step(&mut self) -> Result<(), StepError> {
        self.steps += 1;
        let (steps, grads) = (self.steps, self.grads());
        let inputs = self
            .params
            .iter_mut()
            .zip(&grads)
            .zip(&self.descriptions)
            .enumerate();
        let inputs: Vec<StepInput<'_>> = inputs
            .map(|(n, ((param, grad), of))| StepInput {
                param: view(param.as_mut_ptr(), of),
                grad: (steps % 2 == 1 || n % 3 != 2).then(|| view(grad.as_ptr().cast_mut(), of)),
            })
            .collect();
        self.optimizer.step(&inputs)
    }

    fn grads(&self) -> Vec<Vec<f32>> {
        let seed = |n: usize| 1000 * self.steps + n as u64;
        self.params
            .iter()
            .enumerate()
            .map(|(n, param)| numbers(seed(n), param.len()))
            .collect()
    }

    /// The bits of all parameters and states.
    fn bits(&self) -> Vec<Vec<u8>> {
        let params = self
            .params
            .iter()
            .map(|param| param.iter().flat_map(|x| x.to_le_bytes()).collect());
        let states = self
            .descriptions
            .iter()
            .flat_map(|param| self.optimizer.states(&param.name));
        params
            .chain(states.map(|state| state.bytes().unwrap().into_owned()))
            .collect()
    }
}

fn view<'a>(data: *mut f32, of: &'a ParamDesc) -> TensorView<'a> {
    // SAFETY: the fake device's memory is the host's, and the tensor outlives the step.
    unsafe { TensorView::from_raw(data.cast::<c_void>(), of.dtype, &of.dims, None, of.device) }
}

const SHAPES: [&[i64]; 7] = [
    &[33, 20],
    &[],
    &[0],
    &[4097],
    &[4, 3, 5, 2],
    &[1_000_003],
    &[0, 5],
];

fn on_device(_: usize) -> Device {
    Device::Cuda(0)
}

/// Steps the same model on the host, on a device, and on both and another.
#[track_caller]
fn agrees(text: &str, shapes: &[&[i64]], options: &BindOptions, steps: usize) {
    let bench = bench(text);
    let model = |device: &dyn Fn(usize) -> Device| {
        let params = describe(shapes, device);
        let options = BindOptions {
            cuda: bench.options().cuda,
            ..options.clone()
        };
        Model::new(bench.rules.bind(&params, &options).unwrap(), params)
    };
    let mixed = |n: usize| [Device::Cuda(1), Device::Cpu, Device::Cuda(0)][n % 3];
    let mut models = [model(&|_| Device::Cpu), model(&on_device), model(&mixed)];
    for _ in 0..steps {
        models.iter_mut().for_each(|model| model.step().unwrap());
    }
    let [host, device, mixed] = models.each_ref().map(Model::bits);
    assert!(host == device, "the device disagrees with the host");
    assert!(host == mixed, "a mixture disagrees with the host");
    drop(models);
    assert!(
        bench.fake.counts().nothing_held(),
        "{:?}",
        bench.fake.counts()
    );
}

#[test]
fn adamw_has_the_bits_of_the_host() {
    let group = Group::new("p[34]")
        .hyper("lr", 0.25)
        .hyper("weight_decay", 0.5);
    let options = BindOptions {
        groups: vec![group],
        ..BindOptions::default()
    };
    agrees(adamw(), &SHAPES, &options, 4);
}

#[test]
fn sums_and_late_state_have_the_bits_of_the_host() {
    agrees(
        NORMED,
        &[&[33, 20], &[4097], &[0], &[65, 3], &[], &[3, 0]],
        &BindOptions::default(),
        3,
    );
}

#[test]
fn a_missing_gradient_may_count_as_zeros() {
    let text = adamw().replacen(
        "optimizer AdamW {",
        "optimizer AdamW {\n    absent grad: zeros",
        1,
    );
    agrees(
        &text,
        &[&[5], &[3, 2], &[4097], &[70]],
        &BindOptions::default(),
        3,
    );
}

#[test]
fn a_step_launches_once_per_kernel_and_waits_for_nothing() {
    let bench = bench(adamw());
    let params = describe(&SHAPES, on_device);
    let mut model = Model::new(bench.bind(&params).unwrap(), params);
    let report = model.optimizer.report().to_string();
    assert!(report.ends_with(", 1 on cuda:0"), "{report}");
    model.step().unwrap();
    let before = bench.fake.counts();
    (0..20).for_each(|_| model.step().unwrap());
    let after = bench.fake.counts();
    assert_eq!(after.launches - before.launches, 20);
    assert_eq!(
        (after.waits, after.allocations),
        (before.waits, before.allocations)
    );
}

#[test]
fn strided_tensors_have_the_bits_of_contiguous_ones() {
    let bench = bench(adamw());
    let dims = [3i64, 4];
    let run = |device: Device| {
        let params = describe(&[&dims], |_| device);
        let mut optimizer = bench.bind(&params).unwrap();
        // Columns apart, and a transposed gradient.
        let (mut param, grad) = (numbers(1, 24), numbers(2, 12));
        for _ in 0..3 {
            let raw = |data: *mut f32, strides: &'static [i64]| {
                // SAFETY: as in `view`; 24 and 12 elements hold what the strides reach.
                unsafe {
                    TensorView::from_raw(data.cast(), DType::F32, &dims, Some(strides), device)
                }
            };
            let param = raw(param.as_mut_ptr(), &[8, 2]);
            let grad = Some(raw(grad.as_ptr().cast_mut(), &[1, 3]));
            optimizer.step(&[StepInput { param, grad }]).unwrap();
        }
        param
    };
    let (host, device) = (run(Device::Cpu), run(Device::Cuda(0)));
    assert_eq!(host, device);
    assert_eq!(host[1], numbers(1, 2)[1], "what lies between stays");
}

#[test]
fn another_stream_follows_the_one_before() {
    let bench = bench(adamw());
    let params = describe(&[&[3]], on_device);
    let mut model = Model::new(bench.bind(&params).unwrap(), params);
    model.step().unwrap();
    assert_eq!(bench.fake.counts().stream, 0);
    // SAFETY: the fake driver takes any number.
    let stream = unsafe { Stream::from_raw(7 as *mut c_void) };
    model.optimizer.set_stream(0, stream).unwrap();
    model.optimizer.set_stream(1, Stream::default()).unwrap();
    model.step().unwrap();
    assert_eq!(bench.fake.counts().stream, 7);
}

#[test]
fn a_nan_is_refused_before_anything_is_written() {
    let bench = bench(adamw());
    let params = describe(&[&[5], &[2, 3], &[4100]], |n| {
        [Device::Cuda(0), Device::Cuda(0), Device::Cpu][n]
    });
    let options = BindOptions {
        non_finite: NonFinite::Error,
        ..bench.options()
    };
    let mut model = Model::new(bench.rules.bind(&params, &options).unwrap(), params);
    model.step().unwrap();
    let before = model.bits();
    let error = step_with_an_infinity(&mut model).unwrap_err();
    assert_eq!(error.to_string(), "the gradient of `p1` is -inf at [1, 1]");
    assert!(model.bits() == before, "something was written");
    assert_eq!(model.optimizer.step_of("p0"), Some(1));
}

#[test]
fn a_nan_skips_its_parameter_alone() {
    let text = adamw().replacen(
        "optimizer AdamW {",
        "optimizer AdamW {\n    nonfinite grad: skip",
        1,
    );
    let bench = bench(&text);
    let params = describe(&[&[5], &[2, 3], &[4100]], |n| {
        [Device::Cuda(0), Device::Cuda(0), Device::Cpu][n]
    });
    let mut model = Model::new(bench.bind(&params).unwrap(), params);
    model.step().unwrap();
    let before = model.params.clone();
    step_with_an_infinity(&mut model).unwrap();
    assert_eq!(model.params[1], before[1]);
    assert!(model.params[0] != before[0] && model.params[2] != before[2]);
    let steps = ["p0", "p1", "p2"].map(|name| model.optimizer.step_of(name));
    assert_eq!(steps, [Some(2), Some(1), Some(2)]);
    model.step().unwrap();
    assert_ne!(model.params[1], before[1]);
}

/// A step in which the second parameter's gradient holds an infinity.
fn step_with_an_infinity(model: &mut Model) -> Result<(), StepError> {
    let mut grads = model.grads();
    grads[1][4] = f32::NEG_INFINITY;
    let inputs = model.params.iter_mut().zip(&grads).zip(&model.descriptions);
    let inputs: Vec<StepInput<'_>> = inputs
        .map(|((param, grad), of)| StepInput {
            param: view(param.as_mut_ptr(), of),
            grad: Some(view(grad.as_ptr().cast_mut(), of)),
        })
        .collect();
    model.optimizer.step(&inputs)
}

#[test]
fn state_travels_between_host_and_device() {
    let (bench, folder) = (bench(adamw()), tempfile::tempdir().unwrap());
    let model = |device| {
        let params = describe(&SHAPES[..5], |_| device);
        Model::new(bench.bind(&params).unwrap(), params)
    };
    let path = |name: &str| folder.path().join(name);
    for (from, to) in [
        (Device::Cpu, Device::Cuda(0)),
        (Device::Cuda(0), Device::Cpu),
    ] {
        let (mut first, mut second) = (model(from), model(to));
        (0..3).for_each(|_| first.step().unwrap());
        first.optimizer.save(path("first")).unwrap();
        second.optimizer.load(path("first")).unwrap();
        second.optimizer.save(path("second")).unwrap();
        let [a, b] = ["first", "second"].map(|name| std::fs::read(path(name)).unwrap());
        assert!(a == b, "{from} to {to}");
        second.params.clone_from(&first.params);
        second.steps = first.steps;
        first.step().unwrap();
        second.step().unwrap();
        assert!(first.bits() == second.bits(), "{from} to {to}");
    }
}

/// The error's code and its whole text, help included.
#[track_caller]
fn refuses(outcome: Result<Optimizer, BindError>, code: &str, part: &str) {
    let Err(error) = outcome else {
        panic!("{code} went unnoticed")
    };
    assert_eq!(
        error
            .code()
            .map(|code| code.to_string())
            .unwrap_or_default(),
        code,
        "{error}"
    );
    let text = format!("{error}; {}", error.help().expect("help"));
    assert!(text.contains(part), "{text}");
}

#[test]
fn what_lacks_has_a_name() {
    let params = describe(&[&[3]], on_device);
    let source = Rules::from_source("rule", adamw()).unwrap();
    let help = "optc compile --target cpu,cuda";
    refuses(
        source.bind(&params, &BindOptions::default()),
        "opt::bind::no_cuda_code",
        help,
    );
    let refused = bench_of(adamw(), LARGE, |ptx| ptx + "\nrefuse me");
    refuses(
        refused.bind(&params),
        "opt::cuda::ptx",
        "ptxas fatal: line 1",
    );
    let lacking = bench_of(adamw(), LARGE, |ptx| {
        ptx.replace("optc_map_", "optc_other_")
    });
    refuses(lacking.bind(&params), "opt::bind::cuda_kernel", "optc_map_");
    let far = describe(&[&[3]], |_| Device::Cuda(7));
    refuses(
        bench(adamw()).bind(&far),
        "opt::cuda::no_device",
        "sees 2 devices",
    );
    for bench in [refused, lacking] {
        assert!(
            bench.fake.counts().nothing_held(),
            "{:?}",
            bench.fake.counts()
        );
    }
}

#[test]
fn other_gpus_are_told_apart() {
    let fake = Fake::new([], LARGE);
    let rules = artifact(adamw(), "sm_100", String::new());
    let options = BindOptions {
        cuda: Some(fake.driver()),
        ..BindOptions::default()
    };
    refuses(
        rules.bind(&describe(&[&[3]], on_device), &options),
        "opt::artifact::gpu",
        "sm_100",
    );
}

#[test]
fn a_product_is_refused_by_name() {
    let muon = optc_stdlib::source("std.muon").unwrap();
    let bench = bench(muon);
    let matrix = describe(&[&[4, 3]], on_device);
    refuses(
        bench.bind(&matrix),
        "opt::bind::cuda_operation",
        "rule `hidden` needs a matrix product for parameter `p0`",
    );
    assert!(
        bench.bind(&describe(&[&[4]], on_device)).is_ok(),
        "Muon's rule for vectors has no product"
    );
}

#[test]
fn too_little_memory_leaves_nothing_bound() {
    for size in [20, 100_000, 200_000] {
        let bench = bench_of(adamw(), size, |ptx| ptx);
        let params = describe(&[&[3], &[30_000]], on_device);
        refuses(
            bench.bind(&params),
            "opt::bind::memory",
            "on cuda:0 for the state of parameter",
        );
        assert!(
            bench.fake.counts().nothing_held(),
            "{:?}",
            bench.fake.counts()
        );
    }
}

#[test]
fn a_machine_without_a_driver_says_so() {
    // SAFETY: there is no such file.
    let error = unsafe { Driver::open("no-libcuda.so.1") }.unwrap_err();
    assert!(matches!(&error, CudaError::NoDriver { path, .. } if path == "no-libcuda.so.1"));
    assert!(
        error
            .help()
            .expect("help")
            .to_string()
            .contains("NVIDIA's driver")
    );
}

mod runner {
    //! One kernel by itself.

    use super::super::{Device, Runner, Tensor};
    use super::*;
    use optc_core::kernel::Space;
    use optc_core::kernel_eval;
    use optc_core::kernel_random::{inputs, kernel, same, scalars};

    #[test]
    fn a_kernel_alone_has_its_meaning() {
        let flat = (0..4).map(|seed| kernel(seed, Space::Flat));
        let kernels: Vec<MapKernel> = flat
            .chain((0..4).map(|seed| kernel(seed, Space::Grid)))
            .collect();
        let fake = Fake::new(kernels.clone(), LARGE);
        let device = Device::open(&fake.driver(), 0).unwrap();
        let runner = Runner::new(&device, &fake.ptx()).unwrap();
        for kernel in &kernels {
            let cols = if kernel.space == Space::Flat { 1 } else { 5 };
            let data = [0u64, 3, 4097].map(|rows| (rows, inputs(kernel, 1, rows, cols)));
            let tensors = data.each_ref().map(|(rows, data)| Tensor {
                inputs: data
                    .iter()
                    .zip(&kernel.inputs)
                    .map(|(x, input)| input.dtype.encode(x))
                    .collect(),
                scalars: scalars(kernel, 1),
                rows: *rows,
                cols,
            });
            let found = runner.run(kernel, &tensors).unwrap().unwrap();
            for ((rows, data), found) in data.iter().zip(found) {
                let data: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
                let expected = kernel_eval::run(kernel, &data, &scalars(kernel, 1), *rows, cols);
                for ((output, expected), bytes) in kernel.outputs.iter().zip(expected).zip(found) {
                    assert!(same(&output.dtype.decode(&bytes), &expected), "{kernel}");
                }
            }
        }
        assert!(
            runner
                .run(
                    &super::kernels(&Rules::from_std("std.sgd").unwrap())[0],
                    &[]
                )
                .unwrap()
                .is_none()
        );
    }
}

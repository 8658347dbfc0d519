//! What a map kernel means, point by point; the partial sums as a backend writes them.

use super::{Dims, Tensor};
use optc_core::dtype::DType;
use optc_core::kernel::{
    Access, BinaryOp, CHUNK, CompareOp, Inst, IntOp, LANES, LogicOp, MapKernel, OutputKind, ROW_CHUNK, Space, UnaryOp,
};

#[derive(Clone, Copy)]
enum Cell {
    Float(f64),
    Mask(bool),
    Int(i64),
}

impl Cell {
    fn float(self) -> f64 {
        match self {
            Cell::Float(x) => x,
            _ => panic!("not a float"),
        }
    }
    fn mask(self) -> bool {
        match self {
            Cell::Mask(x) => x,
            _ => panic!("not a mask"),
        }
    }
    fn int(self) -> i64 {
        match self {
            Cell::Int(x) => x,
            _ => panic!("not an integer"),
        }
    }
}

/// Runs `kernel`; the outputs are what a backend writes.
pub(crate) fn run(kernel: &MapKernel, inputs: &[Tensor], scalars: &[f64], dims: Dims) -> Vec<Tensor> {
    let inputs: Vec<Vec<f64>> = inputs.iter().map(Tensor::values).collect();
    let mut values = vec![vec![0.0; dims.points()]; kernel.outputs.len()];
    let mut cells = Vec::new();
    for point in 0..dims.points() {
        at(kernel, &inputs, scalars, dims, point, &mut cells);
        for (n, output) in kernel.outputs.iter().enumerate() {
            values[n][point] = cells[output.value as usize].float();
        }
    }
    let outputs = kernel.outputs.iter().zip(values).enumerate();
    outputs.map(|(n, (output, values))| write(kernel, n, output.kind, &values, dims)).collect()
}

fn write(kernel: &MapKernel, n: usize, kind: OutputKind, values: &[f64], dims: Dims) -> Tensor {
    let (dtype, _) = dims.written(kernel, n);
    let rows = || values.chunks(dims.cols.max(1)).map(run_sum);
    let written: Vec<f64> = match kind {
        OutputKind::Store => values.to_vec(),
        OutputKind::SumCols if dims.cols == 0 => vec![0.0; dims.rows],
        OutputKind::SumCols => rows().collect(),
        OutputKind::SumAll if kernel.space == Space::Flat => values.chunks(CHUNK as usize).map(run_sum).collect(),
        OutputKind::SumAll if dims.cols == 0 => vec![0.0; dims.rows.div_ceil(ROW_CHUNK as usize)],
        OutputKind::SumAll => {
            let sums: Vec<f64> = rows().collect();
            sums.chunks(ROW_CHUNK as usize).map(|chunk| chunk.iter().fold(0.0, |a, b| a + b)).collect()
        }
        OutputKind::SumRows => values
            .chunks((ROW_CHUNK as usize * dims.cols).max(1))
            .flat_map(|chunk| {
                (0..dims.cols).map(move |col| chunk[col..].iter().step_by(dims.cols).fold(0.0, |a, b| a + b))
            })
            .collect(),
    };
    Tensor::new(dtype, &written)
}

fn run_sum(run: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    for (e, value) in run.iter().enumerate() {
        lanes[e % LANES] += value;
    }
    for apart in [8, 4, 2, 1] {
        for lane in 0..apart {
            lanes[lane] += lanes[lane + apart];
        }
    }
    lanes[0]
}

fn at(kernel: &MapKernel, inputs: &[Vec<f64>], scalars: &[f64], dims: Dims, point: usize, cells: &mut Vec<Cell>) {
    let compute = kernel.compute;
    let single = compute == DType::F32;
    cells.clear();
    for inst in &kernel.insts {
        let float = |v: u32| cells[v as usize].float();
        let cell = match *inst {
            Inst::Load(n) => {
                let index = match kernel.inputs[n as usize].access {
                    Access::Full => point,
                    Access::Row => point / dims.cols,
                    Access::Col => point % dims.cols,
                    Access::One => 0,
                };
                Cell::Float(compute.round(inputs[n as usize][index]))
            }
            Inst::Scalar(n) => Cell::Float(compute.round(scalars[n as usize])),
            Inst::ScalarMask(n) => Cell::Mask(scalars[n as usize] != 0.0),
            Inst::Const(x) => Cell::Float(compute.round(x)),
            Inst::Unary(op, a) => Cell::Float(unary(op, float(a), single)),
            Inst::Binary(op, a, b) => Cell::Float(binary(op, float(a), float(b), single)),
            Inst::Compare(op, a, b) => Cell::Mask(compare(op, float(a), float(b))),
            Inst::Logic(LogicOp::And, a, b) => Cell::Mask(cells[a as usize].mask() && cells[b as usize].mask()),
            Inst::Logic(LogicOp::Or, a, b) => Cell::Mask(cells[a as usize].mask() || cells[b as usize].mask()),
            Inst::Not(a) => Cell::Mask(!cells[a as usize].mask()),
            Inst::Select(c, a, b) => Cell::Float(if cells[c as usize].mask() { float(a) } else { float(b) }),
            Inst::Round(dtype, a) => Cell::Float(dtype.round(float(a))),
            Inst::ToInt(a) => Cell::Int(float(a).round_ties_even() as i64),
            Inst::FromInt(a) if single => Cell::Float(f64::from(cells[a as usize].int() as i32 as f32)),
            Inst::FromInt(a) => Cell::Float(cells[a as usize].int() as f64),
            Inst::Bits(a) if single => Cell::Int(i64::from((float(a) as f32).to_bits() as i32)),
            Inst::Bits(a) => Cell::Int(float(a).to_bits() as i64),
            Inst::FromBits(a) if single => {
                Cell::Float(f64::from(f32::from_bits(cells[a as usize].int() as i32 as u32)))
            }
            Inst::FromBits(a) => Cell::Float(f64::from_bits(cells[a as usize].int() as u64)),
            Inst::IntConst(x) => Cell::Int(if single { i64::from(x as i32) } else { x }),
            Inst::Int(op, a, b) => Cell::Int(integer(op, cells[a as usize].int(), cells[b as usize].int(), single)),
        };
        cells.push(cell);
    }
}

fn unary(op: UnaryOp, x: f64, single: bool) -> f64 {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sqrt if single => f64::from((x as f32).sqrt()),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::RoundEven => x.round_ties_even(),
        UnaryOp::Floor => x.floor(),
    }
}

fn binary(op: BinaryOp, x: f64, y: f64, single: bool) -> f64 {
    if single {
        let (x, y) = (x as f32, y as f32);
        match op {
            BinaryOp::Add => return f64::from(x + y),
            BinaryOp::Sub => return f64::from(x - y),
            BinaryOp::Mul => return f64::from(x * y),
            BinaryOp::Div => return f64::from(x / y),
            BinaryOp::Min | BinaryOp::Max => {}
        }
    }
    match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::Min | BinaryOp::Max if x.is_nan() || y.is_nan() => f64::NAN,
        BinaryOp::Min if x.total_cmp(&y).is_lt() => x,
        BinaryOp::Min => y,
        BinaryOp::Max if x.total_cmp(&y).is_gt() => x,
        BinaryOp::Max => y,
    }
}

fn compare(op: CompareOp, x: f64, y: f64) -> bool {
    match op {
        CompareOp::Eq => x == y,
        CompareOp::Ne => x != y,
        CompareOp::Lt => x < y,
        CompareOp::Le => x <= y,
        CompareOp::Gt => x > y,
        CompareOp::Ge => x >= y,
    }
}

fn integer(op: IntOp, x: i64, y: i64, single: bool) -> i64 {
    let wide = match op {
        IntOp::Add => x.wrapping_add(y),
        IntOp::Sub => x.wrapping_sub(y),
        IntOp::And => x & y,
        IntOp::Or => x | y,
        IntOp::Shl => x.wrapping_shl(y as u32),
        IntOp::Shr if single => i64::from((x as u32).wrapping_shr(y as u32)),
        IntOp::Shr => (x as u64).wrapping_shr(y as u32) as i64,
        IntOp::Sar => x.wrapping_shr(y as u32),
    };
    if single { i64::from(wide as i32) } else { wide }
}

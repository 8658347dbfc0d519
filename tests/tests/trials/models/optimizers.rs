//! One tensor's step of an optimizer: what its paper and the reference say, without the language.

use super::{
    columns, descending, diagonal, eigen, identity, iterate, norm, of_eigenvalues, orthonormal,
    times, turned,
};

/// An optimizer with the state of one tensor.
pub(crate) trait Model {
    /// Where a step takes `w`.
    fn step(&mut self, w: &[f64], g: &[f64]) -> Vec<f64>;
}

/// AdamW; Adam without its decay.
pub(crate) struct Adam {
    pub lr: f64,
    pub beta2: f64,
    pub eps: f64,
    pub decay: f64,
    /// The moments of each element, and the steps they have seen.
    pub moments: Vec<[f64; 2]>,
    pub t: i32,
}

impl Adam {
    pub(crate) fn new(len: usize, lr: f64) -> Adam {
        Adam {
            lr,
            beta2: 0.999,
            eps: 1e-8,
            decay: 0.0,
            moments: vec![[0.0; 2]; len],
            t: 0,
        }
    }
}

impl Model for Adam {
    fn step(&mut self, w: &[f64], g: &[f64]) -> Vec<f64> {
        self.t += 1;
        let bias = [0.9, self.beta2].map(|beta: f64| 1.0 - beta.powi(self.t));
        let each = self.moments.iter_mut().zip(w).zip(g);
        let moved = each.map(|(([m, v], w), g)| {
            *m += 0.1 * (g - *m);
            *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
            let down = (*v / bias[1]).sqrt() + self.eps;
            w * (1.0 - self.lr * self.decay) - self.lr * *m / bias[0] / down
        });
        moved.collect()
    }
}

/// SOAP of a matrix with both bases, or of a tensor without any.
pub(crate) struct Soap {
    lr: f64,
    frequency: i32,
    /// Rows and columns of a matrix.
    modes: Option<[Mode; 2]>,
    mean: Vec<f64>,
    square: Vec<f64>,
    t: i32,
}

/// A mode of length `n`.
struct Mode {
    n: usize,
    gram: Vec<f64>,
    basis: Vec<f64>,
}

impl Mode {
    fn new(n: usize) -> Mode {
        Mode {
            n,
            gram: vec![0.0; n * n],
            basis: identity(n, 1.0),
        }
    }

    fn collect(&mut self, gram: &[f64]) {
        let each = self.gram.iter_mut().zip(gram);
        each.for_each(|(known, new)| *known = 0.95 * *known + 0.05 * new);
    }

    fn begin(&mut self) {
        let (values, vectors) = eigen(&self.gram, self.n);
        self.basis = columns(&vectors, &descending(&values));
    }

    /// One power iteration; the order that the vectors get first.
    fn refresh(&mut self) -> Vec<usize> {
        let n = self.n;
        let turned_gram = times(
            &times(&turned(&self.basis, n), &self.gram, n, n),
            &self.basis,
            n,
            n,
        );
        let order = descending(&diagonal(&turned_gram, n));
        let ordered = columns(&self.basis, &order);
        self.basis = orthonormal(&times(&self.gram, &ordered, n, n), n);
        order
    }
}

impl Soap {
    pub(crate) fn new(dims: &[u64], lr: f64, frequency: i32) -> Soap {
        let len = dims.iter().product::<u64>() as usize;
        let modes = match dims {
            &[m, n] => Some([Mode::new(m as usize), Mode::new(n as usize)]),
            _ => None,
        };
        Soap {
            lr,
            frequency,
            modes,
            mean: vec![0.0; len],
            square: vec![0.0; len],
            t: 0,
        }
    }

    /// QL' x QR.
    fn rotate(&self, x: &[f64]) -> Vec<f64> {
        let Some([left, right]) = &self.modes else {
            return x.to_vec();
        };
        let turned = times(&turned(&left.basis, left.n), x, left.n, right.n);
        times(&turned, &right.basis, right.n, right.n)
    }

    /// QL x QR'.
    fn rotate_back(&self, x: &[f64]) -> Vec<f64> {
        let Some([left, right]) = &self.modes else {
            return x.to_vec();
        };
        let half = times(&left.basis, x, left.n, right.n);
        times(&half, &turned(&right.basis, right.n), right.n, right.n)
    }

    fn collect(&mut self, g: &[f64]) {
        if let Some([left, right]) = &mut self.modes {
            let across = turned(g, right.n);
            left.collect(&times(g, &across, right.n, left.n));
            right.collect(&times(&across, g, left.n, right.n));
        }
    }

    fn refresh(&mut self) {
        let mean = self.rotate_back(&self.mean);
        if let Some([left, right]) = &mut self.modes {
            let (rows, cols) = (left.refresh(), right.refresh());
            let ordered = columns(&self.square, &cols);
            self.square = turned(&columns(&turned(&ordered, cols.len()), &rows), rows.len());
        }
        self.mean = self.rotate(&mean);
    }

    /// Adam's direction in the basis, with decay 0.95 of both moments.
    fn direction(&mut self, g: &[f64]) -> Vec<f64> {
        let turned = self.rotate(g);
        let moments = self.mean.iter_mut().zip(&mut self.square).zip(&turned);
        let inside = moments.map(|((m, v), g)| {
            *m = 0.95 * *m + 0.05 * g;
            *v = 0.95 * *v + 0.05 * g * g;
            *m / (v.sqrt() + 1e-8)
        });
        let inside: Vec<f64> = inside.collect();
        self.rotate_back(&inside)
    }
}

impl Model for Soap {
    fn step(&mut self, w: &[f64], g: &[f64]) -> Vec<f64> {
        self.t += 1;
        if self.t == 1 {
            self.collect(g);
            self.modes.iter_mut().flatten().for_each(Mode::begin);
            return w.to_vec();
        }
        let direction = self.direction(g);
        let left = 1.0 - 0.95f64.powi(self.t - 1);
        let size = self.lr * left.sqrt() / left;
        let moved = w.iter().zip(&direction);
        let moved = moved.map(|(w, n)| (w - size * n) * (1.0 - self.lr * 0.01));
        let moved = moved.collect();
        self.collect(g);
        if (self.t - 1) % self.frequency == 0 {
            self.refresh();
        }
        moved
    }
}

/// Muon of a matrix; what is none takes Adam.
pub(crate) struct Muon {
    lr: f64,
    momentum: f64,
    columns: Option<usize>,
    buffer: Vec<f64>,
    adam: Adam,
}

impl Muon {
    pub(crate) fn new(dims: &[u64], lr: f64, momentum: f64) -> Muon {
        let len = dims.iter().product::<u64>() as usize;
        let adam = Adam {
            beta2: 0.95,
            eps: 1e-10,
            ..Adam::new(len, 3e-4)
        };
        Muon {
            lr,
            momentum,
            columns: (dims.len() == 2).then(|| dims[1] as usize),
            buffer: vec![0.0; len],
            adam,
        }
    }
}

impl Model for Muon {
    fn step(&mut self, w: &[f64], g: &[f64]) -> Vec<f64> {
        let Some(n) = self.columns else {
            return self.adam.step(w, g);
        };
        let ahead = self.buffer.iter_mut().zip(g).map(|(buffer, g)| {
            *buffer = self.momentum * *buffer + (1.0 - self.momentum) * g;
            self.momentum * *buffer + (1.0 - self.momentum) * g
        });
        let ahead: Vec<f64> = ahead.collect();
        let size = norm(&ahead) + 1e-7;
        let rotation = iterate(ahead.iter().map(|u| u / size).collect(), n);
        let scale = self.lr * ((w.len() / n) as f64 / n as f64).max(1.0).sqrt();
        w.iter()
            .zip(&rotation)
            .map(|(w, o)| w - scale * o)
            .collect()
    }
}

/// Shampoo of 2018: `lr` 1, no momentum. A vector has one mode, a scalar none.
pub(crate) struct Shampoo {
    factors: Vec<Vec<f64>>,
    columns: usize,
}

impl Shampoo {
    pub(crate) fn new(dims: &[u64]) -> Shampoo {
        Shampoo {
            factors: dims.iter().map(|&n| identity(n as usize, 1e-6)).collect(),
            columns: dims.get(1).map_or(1, |&n| n as usize),
        }
    }
}

impl Model for Shampoo {
    /// Each factor collects Gram matrices; its root has exponent -1/4 of a matrix, -1/2 of a vector.
    fn step(&mut self, w: &[f64], g: &[f64]) -> Vec<f64> {
        let (n, m) = (self.columns, g.len() / self.columns);
        let across = turned(g, n);
        let grams = [times(g, &across, n, m), times(&across, g, m, n)];
        for (factor, gram) in self.factors.iter_mut().zip(&grams) {
            factor.iter_mut().zip(gram).for_each(|(f, g)| *f += g);
        }
        let exponent = -0.5 / self.factors.len().max(1) as f64;
        let root = |at: usize, n| of_eigenvalues(&self.factors[at], n, |x| x.powf(exponent));
        let direction = match self.factors.len() {
            0 => g.to_vec(),
            1 => times(&root(0, m), g, m, n),
            _ => times(&times(&root(0, m), g, m, n), &root(1, n), n, n),
        };
        w.iter().zip(&direction).map(|(w, d)| w - d).collect()
    }
}

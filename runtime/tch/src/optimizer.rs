//! The optimizer over a store, and its builder.

use crate::Error;
use crate::entry::Given;
use crate::variables::{self, Memory, Variable};
use optc_core::random::Noise;
use optc_runtime::cuda::Stream;
use optc_runtime::{BindOptions, Group, NonFinite, ParamDesc, Pool, Rules, StepError, StepInput};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tch::nn::{self, OptimizerConfig, VarStore};
use tch::{Kind, Tensor, no_grad_guard};

/// Steps the trainable variables of a store.
///
/// Groups are numbered as they were given to the builder, from 1; 0 is everything that no group takes.
#[derive(Debug)]
pub struct Optimizer {
    bound: optc_runtime::Optimizer,
    variables: Vec<Variable>,
    store: Arc<Mutex<nn::Variables>>,
    /// Trainable variables of the store when it was bound.
    known: usize,
    /// Never steps: dropping gradients, as opposed to zeroing them, is something only LibTorch's optimizers offer.
    dropper: nn::Optimizer,
}

/// Settings on the way to an [`Optimizer`]; see [`Optimizer::builder`].
#[derive(Debug, Clone, Default)]
pub struct Builder {
    options: BindOptions,
}

impl Builder {
    /// Which optimizer, if the source declares several.
    pub fn optimizer(mut self, name: &str) -> Builder {
        self.options.optimizer = Some(name.to_owned());
        self
    }

    /// A hyperparameter's value for all variables.
    pub fn hyper(mut self, name: &str, value: f64) -> Builder {
        self.options.hypers.push((name.to_owned(), value));
        self
    }

    /// A static's value, as on the command line: `5`, `true`, a word of a choice, `1,2,3;4,5,6`.
    pub fn set(mut self, name: &str, value: &str) -> Builder {
        self.options
            .statics
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// Variables with settings of their own.
    pub fn group(mut self, group: Group) -> Builder {
        self.options.groups.push(group);
        self
    }

    /// What to do about NaN and infinities in gradients; they are computed with by default.
    pub fn non_finite(mut self, policy: NonFinite) -> Builder {
        self.options.non_finite = policy;
        self
    }

    /// The seed of the random numbers that rules draw; 0 by default.
    pub fn seed(mut self, seed: u64) -> Builder {
        self.options.noise = Noise::Seeded(seed);
        self
    }

    /// Worker threads; as many as LibTorch uses by default.
    pub fn threads(mut self, threads: usize) -> Builder {
        self.options.threads = Some(threads);
        self
    }

    /// Workers to share with other optimizers.
    pub fn pool(mut self, pool: Arc<Pool>) -> Builder {
        self.options.pool = Some(pool);
        self
    }

    /// Builds it from the text of a `.opt` file.
    ///
    /// # Errors
    ///
    /// [`Error::Load`] with every mistake in the text; otherwise as [`Builder::build`].
    pub fn build_from_source(self, vs: &VarStore, text: &str) -> Result<Optimizer, Error> {
        self.build(vs, &Rules::from_source("source", text)?)
    }

    /// Builds it from a `.opt` file, an artifact, or a module of the standard library such as `std.soap`.
    ///
    /// Like any library, an artifact is code that this program runs: open only files you trust.
    ///
    /// # Errors
    ///
    /// [`Error::Load`]; otherwise as [`Builder::build`].
    pub fn build_from_file(
        self,
        vs: &VarStore,
        path: impl AsRef<Path>,
    ) -> Result<Optimizer, Error> {
        // SAFETY: whoever names the file trusts it; the documentation says so.
        let rules = unsafe { Rules::open(path) }?;
        self.build(vs, &rules)
    }

    /// Binds loaded rules to the trainable variables of a store, frozen ones among them.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`], or a variable that is sparse, not of a float kind, or in a group of the store.
    pub fn build(mut self, vs: &VarStore, rules: &Rules) -> Result<Optimizer, Error> {
        let variables = variables::of_store(vs)?;
        let params = variables
            .iter()
            .map(Variable::describe)
            .collect::<Result<Vec<ParamDesc>, Error>>()?;
        self.options.threads = self
            .options
            .threads
            .or(usize::try_from(tch::get_num_threads()).ok());
        let bound = rules.bind(&params, &self.options)?;
        let dropper = nn::Sgd::default().build(vs, 0.0)?;
        let store = Arc::clone(&vs.variables_);
        let known = trainable(&store);
        Ok(Optimizer {
            bound,
            variables,
            store,
            known,
            dropper,
        })
    }
}

fn trainable(store: &Mutex<nn::Variables>) -> usize {
    store
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .trainable_variables
        .len()
}

impl Optimizer {
    /// An optimizer with other settings than its defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// See [`Builder::build_from_source`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_source(vs: &VarStore, text: &str) -> Result<Optimizer, Error> {
        Optimizer::builder().build_from_source(vs, text)
    }

    /// See [`Builder::build_from_file`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_file(vs: &VarStore, path: impl AsRef<Path>) -> Result<Optimizer, Error> {
        Optimizer::builder().build_from_file(vs, path)
    }

    /// Updates the variables from their gradients; those without one are skipped, unless the rule says otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::Step`], or tensors that changed their kind, device or layout in a way no step can use.
    pub fn step(&mut self) -> Result<(), Error> {
        let memories = self.read(Variable::read)?;
        self.change(&memories, |bound, inputs| bound.step(inputs))
    }

    /// Does what the rules say beside their step, such as SAM's `first_step` or `eval` of a schedule-free rule. An entry
    /// that reads gradients leaves variables without one as they are; steps are not counted.
    ///
    /// # Errors
    ///
    /// [`Error::Given`]: a tensor for no variable. [`Error::Step`]: no such entry, or an input that is missing, unknown
    /// or does not fit. Otherwise as [`Optimizer::step`].
    pub fn run_entry(&mut self, name: &str, given: &Given) -> Result<(), Error> {
        self.check_known(given)?;
        let memories = self.read(|variable| variable.read_given(given))?;
        let numbers = given.numbers.iter();
        let numbers: Vec<(&str, f64)> = numbers.map(|(name, x)| (&**name, *x)).collect();
        let views: Vec<Vec<_>> = (0..given.tensors.len())
            .map(|at| {
                let each = memories.iter();
                // SAFETY: `memories` keeps the tensors alive, and `change` finds them apart before they are used.
                each.map(|memory| unsafe { memory.given(at) }).collect()
            })
            .collect();
        let tensors = given.tensors.iter().zip(&views);
        let tensors: Vec<_> = tensors
            .map(|((name, _), views)| (&**name, &**views))
            .collect();
        let given = optc_runtime::Given {
            numbers: &numbers,
            tensors: &tensors,
        };
        self.change(&memories, |bound, inputs| {
            bound.run_entry(name, inputs, given)
        })
    }

    fn check_known(&self, given: &Given) -> Result<(), Error> {
        for (input, of) in &given.tensors {
            let known = |name: &str| {
                self.variables
                    .iter()
                    .any(|variable| variable.name() == name)
            };
            if let Some((name, _)) = of.iter().find(|(name, _)| !known(name)) {
                return Err(Error::Given {
                    input: input.clone(),
                    name: name.clone(),
                });
            }
        }
        Ok(())
    }

    /// The memory of all variables as they are now.
    fn read(
        &self,
        one: impl FnMut(&Variable) -> Result<Memory, Error>,
    ) -> Result<Vec<Memory>, Error> {
        let _guard = no_grad_guard();
        self.check_not_grown()?;
        self.variables.iter().map(one).collect()
    }

    /// Does something with all variables.
    fn change(
        &mut self,
        memories: &[Memory],
        work: impl FnOnce(&mut optc_runtime::Optimizer, &[StepInput<'_>]) -> Result<(), StepError>,
    ) -> Result<(), Error> {
        let _guard = no_grad_guard();
        variables::check_apart(&self.variables, memories)?;
        // SAFETY: `&mut self` and the calling thread keep the variables for the time of the step, `memories` keeps
        // the tensors alive, and they were found apart.
        let inputs = memories.iter().map(|memory| unsafe { memory.input() });
        let inputs: Vec<StepInput<'_>> = inputs.collect();
        let done = work(&mut self.bound, &inputs);
        self.variables
            .iter_mut()
            .try_for_each(Variable::mark_changed)?;
        Ok(done?)
    }

    fn check_not_grown(&self) -> Result<(), Error> {
        let (bound, found) = (self.known, trainable(&self.store));
        if bound == found {
            Ok(())
        } else {
            Err(Error::Grown { bound, found })
        }
    }

    /// Drops all gradients, so that a variable the next loss does not reach is skipped.
    pub fn zero_grad(&mut self) {
        self.dropper.zero_grad();
    }

    /// Drops the gradients, computes those of `loss`, and steps.
    ///
    /// # Errors
    ///
    /// [`Error::LibTorch`] if there is no way back from `loss`; otherwise as [`Optimizer::step`].
    pub fn backward_step(&mut self, loss: &Tensor) -> Result<(), Error> {
        self.backward(loss)?;
        self.step()
    }

    /// Like [`Optimizer::backward_step`], with every element of the gradients held within `-max` and `max`.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::backward_step`].
    pub fn backward_step_clip(&mut self, loss: &Tensor, max: f64) -> Result<(), Error> {
        self.backward(loss)?;
        self.clip_grad_value(max)?;
        self.step()
    }

    /// Like [`Optimizer::backward_step`], with the norm of all gradients together held below `max`.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::backward_step`].
    pub fn backward_step_clip_norm(&mut self, loss: &Tensor, max: f64) -> Result<(), Error> {
        self.backward(loss)?;
        self.clip_grad_norm(max)?;
        self.step()
    }

    fn backward(&mut self, loss: &Tensor) -> Result<(), Error> {
        self.zero_grad();
        Ok(loss.f_backward()?)
    }

    /// Holds every element of the gradients within `-max` and `max`.
    ///
    /// # Errors
    ///
    /// [`Error::LibTorch`].
    pub fn clip_grad_value(&self, max: f64) -> Result<(), Error> {
        let _guard = no_grad_guard();
        for mut grad in self.grads() {
            let _ = grad.f_clamp_(-max, max)?;
        }
        Ok(())
    }

    /// Scales the gradients so that their Euclidean norm, taken over all together, is at most `max`.
    /// Returns the norm before.
    ///
    /// # Errors
    ///
    /// [`Error::LibTorch`].
    pub fn clip_grad_norm(&self, max: f64) -> Result<f64, Error> {
        let _guard = no_grad_guard();
        let norm_of = |grad: Tensor| grad.f_norm()?.f_to_kind(Kind::Double);
        let norms = self
            .grads()
            .map(norm_of)
            .collect::<Result<Vec<Tensor>, tch::TchError>>()?;
        if norms.is_empty() {
            return Ok(0.0);
        }
        let norm = Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?;
        let scale = max / (norm + 1e-6);
        if scale < 1.0 {
            for mut grad in self.grads() {
                let _ = grad.f_mul_scalar_(scale)?;
            }
        }
        Ok(norm)
    }

    fn grads(&self) -> impl Iterator<Item = Tensor> + '_ {
        self.variables.iter().filter_map(Variable::grad)
    }

    /// Sets the learning rate of all groups.
    ///
    /// # Errors
    ///
    /// [`Error::Hyper`]: the optimizer has no `lr`, or the value is outside its interval.
    pub fn set_lr(&mut self, lr: f64) -> Result<(), Error> {
        self.set_everywhere("lr", lr)
    }

    /// Sets the learning rate of one group.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::set_hyper`].
    pub fn set_lr_group(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        self.set_hyper(group, "lr", lr)
    }

    /// Sets the momentum of all groups.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::set_lr`].
    pub fn set_momentum(&mut self, momentum: f64) -> Result<(), Error> {
        self.set_everywhere("momentum", momentum)
    }

    /// Sets the momentum of one group.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::set_hyper`].
    pub fn set_momentum_group(&mut self, group: usize, momentum: f64) -> Result<(), Error> {
        self.set_hyper(group, "momentum", momentum)
    }

    /// Sets the weight decay of all groups.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::set_lr`].
    pub fn set_weight_decay(&mut self, weight_decay: f64) -> Result<(), Error> {
        self.set_everywhere("weight_decay", weight_decay)
    }

    /// Sets the weight decay of one group.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::set_hyper`].
    pub fn set_weight_decay_group(&mut self, group: usize, weight_decay: f64) -> Result<(), Error> {
        self.set_hyper(group, "weight_decay", weight_decay)
    }

    /// Sets a hyperparameter of one group, from the next step on; nothing is compiled.
    ///
    /// # Errors
    ///
    /// [`Error::Hyper`]: no such group or hyperparameter, or a value outside its interval.
    pub fn set_hyper(&mut self, group: usize, name: &str, value: f64) -> Result<(), Error> {
        Ok(self.bound.set_hyper(group, name, value)?)
    }

    fn set_everywhere(&mut self, name: &str, value: f64) -> Result<(), Error> {
        (0..self.bound.group_count()).try_for_each(|group| self.set_hyper(group, name, value))
    }

    /// A hyperparameter of one group, if both exist.
    pub fn hyper(&self, group: usize, name: &str) -> Option<f64> {
        self.bound.hyper(group, name)
    }

    /// All trainable variables of the store.
    pub fn trainable_variables(&self) -> Vec<Tensor> {
        self.dropper.trainable_variables()
    }

    /// Steps the variables of that CUDA device on another stream from now on: the one that LibTorch computes their
    /// gradients on, if that is not the legacy default stream.
    ///
    /// # Errors
    ///
    /// [`Error::Step`]: the device failed.
    pub fn set_stream(&mut self, device: u32, stream: Stream) -> Result<(), Error> {
        let changed = self.bound.set_stream(device, stream);
        Ok(changed.map_err(StepError::from)?)
    }

    /// The bound optimizer: state, steps, hyperparameters, and where its code comes from.
    pub fn bound(&self) -> &optc_runtime::Optimizer {
        &self.bound
    }

    /// Writes state, step counts and hyperparameters; what the file held before is replaced at once or not at all.
    /// Save the variables themselves with `VarStore::save`.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.bound.save(path)?)
    }

    /// Reads what [`Optimizer::save`] wrote; with the variables of that moment the run continues bit for bit.
    /// Returns what migrations did to a file of an earlier version, a line each.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`]; nothing is changed then.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Vec<String>, Error> {
        Ok(self.bound.load(path)?)
    }
}

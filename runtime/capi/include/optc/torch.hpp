/// Rules of optc as optimizers of LibTorch:
///
///     optc::Optimizer optimizer(model->named_parameters(), "adamw.opt", optc::Options(3e-4),
///                               {optc::Group("bias$", optc::Options().set("weight_decay", 0.0))});
///     loss.backward();
///     optimizer.step();
///     optimizer.zero_grad();
///
/// Everything that a run changes is where LibTorch keeps it: options in `param_groups()`, state in `state()`. What is
/// bound to the parameters is only machine code, made again when groups change. Compiled against the LibTorch of the
/// program; the library itself uses none.
#pragma once

#include <optc/archive.hpp>
#include <optc/error.hpp>
#include <optc/handle.hpp>
#include <optc/inputs.hpp>
#include <optc/optc.h>
#include <optc/options.hpp>
#include <optc/state.hpp>
#include <optc/stream.hpp>
#include <optc/tensor.hpp>

#include <ATen/Parallel.h>
#include <torch/optim/optimizer.h>
#include <torch/ordered_dict.h>
#include <torch/serialize.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace optc {

class Optimizer : public torch::optim::Optimizer {
 public:
  using Named = torch::OrderedDict<std::string, torch::Tensor>;
  using ParamGroup = torch::optim::OptimizerParamGroup;

  /// Steps the parameters of a module, as `named_parameters()` gives them. `source` is the path of a `.opt` file or of
  /// an artifact, the text of a rule, or a name of the standard library such as `adamw`. Group `n` of `param_groups()`
  /// is the `n`-th of `groups` counted from 1; 0 has the parameters that no pattern finds.
  ///
  /// An artifact is machine code that this program runs: open only files that you trust.
  Optimizer(const Named& params, const std::string& source, const Options& options = {},
            const std::vector<Group>& groups = {})
      : torch::optim::Optimizer(std::vector<ParamGroup>(), std::make_unique<Options>(options)),
        rules_(detail::open(source)) {
    for (const auto& item : params) admit(item.value(), item.key());
    refuse_empty();
    bind_by_pattern(options, groups);
  }

  /// Steps parameters without names, which messages and checkpoints number.
  Optimizer(std::vector<torch::Tensor> params, const std::string& source, const Options& options = {})
      : Optimizer(std::vector<ParamGroup>{ParamGroup(std::move(params))}, source, options) {}

  /// Steps groups as other optimizers of LibTorch take them. Their options are `optc::Options`.
  Optimizer(const std::vector<ParamGroup>& groups, const std::string& source, const Options& options = {})
      : torch::optim::Optimizer(std::vector<ParamGroup>(), std::make_unique<Options>(options)),
        rules_(detail::open(source)) {
    for (const ParamGroup& group : groups) {
      for (const torch::Tensor& param : group.params()) admit(param, std::to_string(params_.size()));
    }
    refuse_empty();
    for (const ParamGroup& group : groups) add_param_group(group);
    bind_groups();
  }

  /// Updates the parameters from their gradients; those without one are skipped, unless the rule says otherwise. A
  /// closure computes the loss once more, and its result is returned.
  torch::Tensor step(LossClosure closure = nullptr) override {
    torch::NoGradGuard no_grad;
    torch::Tensor loss = {};
    if (closure != nullptr) {
      at::AutoGradMode enable_grad(true);
      loss = closure();
    }
    follow();
    update();
    return loss;
  }

  /// Does what the rules say beside their step, such as SAM's `first_step` or `eval` of a schedule-free rule. An entry
  /// that reads gradients leaves parameters without one as they are; steps are not counted.
  void run_entry(const std::string& name, const Inputs& inputs = {}) {
    torch::NoGradGuard no_grad;
    follow();
    std::vector<std::string> names;
    for (const Param& param : params_) names.push_back(param.name);
    const detail::Handed handed(inputs, names);
    const auto takes = [&](size_t n, bool grad) {
      uint32_t present = grad ? OPTC_HAS_GRADIENT : 0;
      if (handed.complete(n)) present |= OPTC_HAS_TENSORS;
      if (find_state(n) != nullptr) present |= OPTC_HAS_STATE;
      bool takes = false;
      detail::check(optc_entry_takes(bound_.get(), name.c_str(), n, present, &takes));
      return takes;
    };
    update(takes, [&](const optc_tensor* const* params, const optc_tensor* const* grads) {
      return optc_run_entry(bound_.get(), name.c_str(), params, grads, params_.size(), handed.all.data(), handed.all.size());
    });
  }

  /// Writes options, steps and state into an archive; `torch::save(optimizer, path)` does.
  void save(torch::serialize::OutputArchive& archive) const override {
    // What was changed in groups is part of what is saved; the base class declares this constant.
    auto& self = const_cast<Optimizer&>(*this);
    self.follow();
    const Loan loan = self.lend_all();
    detail::write(archive, bound_);
  }

  /// Reads what `save` wrote; nothing is changed if it does not fit. What the rule's migrations do to an archive of an
  /// earlier version is a warning of LibTorch's.
  void load(torch::serialize::InputArchive& archive) override {
    follow();
    const std::string migrated = adopt(detail::read(archive, bound_));
    if (!migrated.empty()) TORCH_WARN(migrated);
  }

  /// Writes options, steps and state as safetensors, which Rust and Python read too; what the file held before is
  /// replaced at once or not at all.
  void save(const std::string& path) {
    follow();
    const Loan loan = lend_all();
    detail::check(optc_save(bound_.get(), path.c_str()));
  }

  /// Reads what `save`, or Rust or Python, wrote; with the parameters of that moment the run continues bit for bit.
  /// Nothing is changed if it does not fit. Returns what the rule's migrations did to a file of an earlier version, a
  /// line each.
  std::string load(const std::string& path) {
    follow();
    optc_checkpoint* checkpoint = nullptr;
    detail::check(optc_checkpoint_read(bound_.get(), path.c_str(), &checkpoint));
    return adopt(detail::Checkpoint(checkpoint));
  }

  /// The options of a group.
  Options& options(size_t group) { return options_of(param_groups_.at(group)); }
  const Options& options(size_t group) const {
    return const_cast<Optimizer*>(this)->options(group);
  }

  /// The state of a parameter; null before its first step or entry.
  const ParamState* state_of(const torch::Tensor& param) const {
    const auto found = state_.find(param.unsafeGetTensorImpl());
    return found == state_.end() ? nullptr : static_cast<const ParamState*>(found->second.get());
  }
  using torch::optim::Optimizer::state;

  /// What is bound and where its code comes from, in one line.
  std::string report() const {
    const char* text = nullptr;
    detail::check(optc_report(bound_.get(), &text));
    return text;
  }

 private:
  struct Param {
    std::string name;
    torch::Tensor tensor;
    /// At bind.
    int32_t grad_dtype;
  };

  /// Ends the loan of all state, whatever happens.
  struct Loan {
    explicit Loan(const detail::Bound& bound) : bound(bound.get()) {}
    Loan(Loan&& other) : bound(std::exchange(other.bound, nullptr)) {}
    ~Loan() {
      if (bound != nullptr) optc_reclaim_state(bound);
    }
    optc_optimizer* bound;
  };

  static Options& options_of(ParamGroup& group) {
    auto* options = group.has_options() ? dynamic_cast<Options*>(&group.options()) : nullptr;
    if (options != nullptr) return *options;
    detail::refuse("options", "a group has options of another optimizer", "give groups `optc::Options`");
  }

  // Parameters

  void admit(const torch::Tensor& tensor, const std::string& name) {
    detail::check_param(tensor, name);
    for (const Param& other : params_) {
      if (other.tensor.is_same(tensor)) {
        detail::refuse("duplicate", "`" + name + "` and `" + other.name + "` are one tensor", "give every parameter once");
      }
    }
    params_.push_back({name, tensor, grad_dtype(tensor, name)});
  }

  static int32_t grad_dtype(const torch::Tensor& tensor, const std::string& name) {
    const torch::Tensor grad = detail::readable_grad(tensor, name);
    return detail::dtype_number((grad.defined() ? grad : tensor).scalar_type());
  }

  void refuse_empty() const {
    if (params_.empty()) detail::refuse("empty", "the optimizer got no parameters", "make the model before it");
  }

  /// The parameters as the C interface takes them; valid as long as `params_`.
  std::vector<optc_param> described() const {
    std::vector<optc_param> all;
    for (const Param& param : params_) {
      const optc_tensor view = detail::view(param.tensor);
      optc_param one = {};
      one.struct_size = sizeof(one);
      one.name = param.name.c_str();
      one.dims = view.dims;
      one.rank = view.rank;
      one.dtype = view.dtype;
      one.grad_dtype = param.grad_dtype;
      one.device_type = view.device_type;
      one.device_index = view.device_index;
      all.push_back(one);
    }
    return all;
  }

  // Binding

  /// The terms of a group: its options, after those of the whole optimizer unless it has a source of its own.
  detail::Terms terms(const Options& options) {
    const std::string& source = options.source_name;
    if (source.empty()) return {options, rules_};
    if (sources_.count(source) == 0) sources_[source] = detail::open(source);
    return {options, sources_[source]};
  }

  void bind(const Options& own, const std::vector<optc_group>& groups) {
    if (!own.source_name.empty()) {
      detail::refuse("use", "the first group names a source of its own", "give that source to the optimizer");
    }
    const detail::Terms terms = this->terms(own);
    const std::vector<optc_param> params = described();
    optc_bind_options options = {};
    options.struct_size = sizeof(options);
    options.optimizer = terms.optimizer();
    options.rule = terms.rule();
    options.hypers = terms.hypers.data();
    options.hyper_count = terms.hypers.size();
    options.statics = terms.statics.data();
    options.static_count = terms.statics.size();
    options.groups = groups.data();
    options.group_count = groups.size();
    options.threads = static_cast<size_t>(at::get_num_threads());
    options.non_finite = static_cast<const Options&>(*defaults_).non_finite;
    options.state_is_lent = 1;
    options.seed = static_cast<const Options&>(*defaults_).random_seed;
    optc_optimizer* bound = nullptr;
    detail::check(optc_bind(rules_.get(), params.data(), params.size(), &options, &bound));
    bound_.reset(bound);
    devices_.clear();
    for (const optc_param& param : params) {
      if (param.device_type == OPTC_CUDA) devices_.insert(param.device_index);
    }
  }

  /// Binds all parameters, and makes the groups that the patterns find.
  void bind_by_pattern(const Options& options, const std::vector<Group>& groups) {
    std::vector<detail::Terms> all;
    std::vector<optc_group> patterns;
    for (const Group& group : groups) all.push_back(terms(group.options));
    for (size_t n = 0; n < groups.size(); ++n) {
      patterns.push_back(detail::to_c(all[n]));
      patterns.back().pattern = groups[n].pattern.c_str();
    }
    bind(options, patterns);
    members_.assign(groups.size() + 1, {});
    for (size_t n = 0; n < params_.size(); ++n) members_[detail::param_info(bound_, n).group].push_back(n);
    for (size_t group = 0; group < members_.size(); ++group) {
      std::vector<torch::Tensor> tensors;
      for (size_t n : members_[group]) tensors.push_back(params_[n].tensor);
      const Options& given = group == 0 ? options : groups[group - 1].options;
      add_param_group(ParamGroup(std::move(tensors), std::make_unique<Options>(given)));
    }
    complete();
  }

  /// Binds the parameters of `param_groups()` as they are now.
  void bind_groups() {
    std::vector<Options> merged;
    std::vector<std::vector<const char*>> names;
    rename();
    size_t next = 0;
    for (ParamGroup& group : param_groups_) {
      merged.push_back(after_defaults(options_of(group)));
      auto& own = names.emplace_back();
      for (size_t n = 0; n < group.params().size(); ++n) own.push_back(params_[next++].name.c_str());
    }
    std::vector<detail::Terms> all;
    std::vector<optc_group> groups;
    for (const Options& options : merged) all.push_back(terms(options));
    for (size_t n = 1; n < all.size(); ++n) {
      groups.push_back(detail::to_c(all[n]));
      groups.back().names = names[n].data();
      groups.back().name_count = names[n].size();
    }
    bind(merged.at(0), groups);
    members_.clear();
    size_t first = 0;
    for (const ParamGroup& group : param_groups_) {
      auto& own = members_.emplace_back();
      for (size_t n = 0; n < group.params().size(); ++n) own.push_back(first++);
    }
    complete();
  }

  /// A group's options on top of those that the optimizer was made with.
  Options after_defaults(const Options& options) const {
    if (!options.source_name.empty()) return options;
    Options merged = static_cast<const Options&>(*defaults_);
    for (const auto& [name, value] : options.numbers) merged.set(name, value);
    for (const auto& [name, value] : options.words) merged.set(name, value);
    if (!options.rule_name.empty()) merged.rule_name = options.rule_name;
    return merged;
  }

  /// Lists the parameters of all groups in their order, with the names that they had, or numbers.
  void rename() {
    std::unordered_map<void*, std::string> names;
    for (const Param& param : params_) names[param.tensor.unsafeGetTensorImpl()] = param.name;
    const std::vector<Param> before = std::move(params_);
    params_.clear();
    try {
      for (const ParamGroup& group : param_groups_) {
        for (const torch::Tensor& tensor : group.params()) {
          const auto known = names.find(tensor.unsafeGetTensorImpl());
          admit(tensor, known == names.end() ? std::to_string(params_.size()) : known->second);
        }
      }
    } catch (...) {
      params_ = before;
      throw;
    }
  }

  /// Sets all hyperparameters in the options of all groups, and remembers what was chosen at bind.
  void complete() {
    chosen_.clear();
    for (size_t group = 0; group < param_groups_.size(); ++group) {
      Options& options = this->options(group);
      options.numbers.clear();
      for (const auto& [name, value] : detail::hypers(bound_, group)) options.numbers[name] = value;
      chosen_.push_back(options);
      chosen_.back().shared.clear();
      for (const auto& [name, value] : detail::shared(bound_, group)) chosen_.back().shared[name] = value;
      options.shared.insert(chosen_.back().shared.begin(), chosen_.back().shared.end());
    }
  }

  /// Notes what the step worked out for whole groups.
  void note_shared() {
    for (size_t group = 0; group < chosen_.size(); ++group) {
      for (const auto& [name, value] : detail::shared(bound_, group)) {
        options(group).shared[name] = chosen_[group].shared[name] = value;
      }
    }
  }

  /// Takes over what was changed in `param_groups()`: hyperparameters as they are, anything else by binding again.
  void follow() {
    if (!is_bound()) bind_groups();
    for (size_t group = 0; group < param_groups_.size(); ++group) {
      for (const auto& [name, value] : options(group).numbers) {
        double& known = chosen_[group].numbers.at(name);
        if (known == value) continue;
        detail::check(optc_hyper_set(bound_.get(), group, name.c_str(), value));
        known = value;
      }
      for (const auto& [name, value] : options(group).shared) {
        double& known = chosen_[group].shared.at(name);
        if (known == value) continue;
        detail::check(optc_shared_set(bound_.get(), group, name.c_str(), value));
        known = value;
      }
    }
  }

  /// Whether parameters and choices are those that are bound.
  bool is_bound() const {
    if (param_groups_.size() != members_.size()) return false;
    for (size_t group = 0; group < members_.size(); ++group) {
      const std::vector<torch::Tensor>& tensors = param_groups_[group].params();
      if (tensors.size() != members_[group].size() || !same_choices(options(group), chosen_[group])) return false;
      for (size_t n = 0; n < tensors.size(); ++n) {
        if (!tensors[n].is_same(params_[members_[group][n]].tensor)) return false;
      }
    }
    return true;
  }

  static bool same_choices(const Options& a, const Options& b) {
    return a.words == b.words && a.numbers.size() == b.numbers.size() && a.rule_name == b.rule_name &&
           a.source_name == b.source_name;
  }

  // Stepping

  /// Does `work` with all parameters and gradients, and with the state of those that `takes` says.
  template <typename Takes, typename Work>
  void update(Takes takes, Work work) {
    std::vector<torch::Tensor> grads;
    std::vector<optc_tensor> views;
    for (const Param& param : params_) {
      grads.push_back(detail::readable_grad(param.tensor, param.name));
      views.push_back(detail::view(param.tensor));
    }
    for (const torch::Tensor& grad : grads) views.push_back(grad.defined() ? detail::view(grad) : optc_tensor{});
    std::vector<const optc_tensor*> places;
    for (const optc_tensor& view : views) places.push_back(view.struct_size == 0 ? nullptr : &view);

    take_streams();
    const Loan loan(bound_);
    std::map<size_t, std::unique_ptr<ParamState>> active;
    for (size_t n = 0; n < params_.size(); ++n) {
      if (takes(n, grads[n].defined())) active[n] = lend(n);
    }
    const optc_status done = work(places.data(), places.data() + params_.size());
    // What was done is noted before the error goes up: other parameters may have finished their step.
    const std::optional<Error> failure = done == OPTC_STATUS_OK ? std::nullopt : std::optional(Error::last());
    for (auto& [n, fresh] : active) note(n, std::move(fresh));
    note_shared();
    if (failure) throw *failure;
  }

  void update() {
    const auto takes = [&](size_t n, bool grad) { return grad || detail::param_info(bound_, n).steps_without_gradient; };
    update(takes, [&](const optc_tensor* const* params, const optc_tensor* const* grads) {
      return optc_step(bound_.get(), params, grads, params_.size());
    });
  }

  /// Lends the state of a parameter; what had to be made is returned.
  std::unique_ptr<ParamState> lend(size_t n) {
    const ParamState* state = find_state(n);
    std::unique_ptr<ParamState> fresh = state == nullptr ? detail::fresh_state(bound_, n, params_[n].tensor.device()) : nullptr;
    detail::lend(bound_, n, fresh == nullptr ? *state : *fresh, fresh == nullptr);
    return fresh;
  }

  /// Steps each device on the stream that LibTorch gives it work on now.
  void take_streams() {
    for (const int32_t device : devices_) {
      detail::check(optc_set_stream(bound_.get(), device, detail::current_stream(device)));
    }
  }

  /// Lends all state that there is.
  Loan lend_all() {
    take_streams();
    Loan loan(bound_);
    for (size_t n = 0; n < params_.size(); ++n) {
      if (const ParamState* state = find_state(n)) detail::lend(bound_, n, *state);
    }
    return loan;
  }

  /// Notes what was done; autograd must notice that the parameter is another one now.
  void note(size_t n, std::unique_ptr<ParamState> fresh) {
    torch::TensorImpl* tensor = params_[n].tensor.unsafeGetTensorImpl();
    tensor->bump_version();
    if (!detail::has_begun(bound_, n)) return;
    if (fresh != nullptr) state_[tensor] = std::move(fresh);
    static_cast<ParamState&>(*state_.at(tensor)).step = static_cast<int64_t>(detail::step_count(bound_, n));
  }

  // Files

  const ParamState* find_state(size_t n) const { return state_of(params_[n].tensor); }

  /// Makes a checkpoint the options and the state of this optimizer; returns what was migrated.
  std::string adopt(const detail::Checkpoint& saved) {
    std::vector<std::unique_ptr<ParamState>> states;
    for (size_t n = 0; n < params_.size(); ++n) states.push_back(detail::saved_state(bound_, saved, n, params_[n].tensor.device()));
    for (size_t group = 0; group < members_.size(); ++group) {
      size_t at = 0;
      for (const auto& [name, value] : detail::hypers(bound_, group)) {
        detail::check(optc_checkpoint_hyper(saved.get(), group, at++, &options(group).numbers[name]));
      }
      for (const auto& [name, value] : detail::shared(bound_, group)) {
        detail::check(optc_checkpoint_hyper(saved.get(), group, at++, &options(group).shared[name]));
      }
    }
    for (size_t n = 0; n < params_.size(); ++n) {
      void* key = params_[n].tensor.unsafeGetTensorImpl();
      if (states[n] == nullptr) state_.erase(key);
      else state_[key] = std::move(states[n]);
    }
    const char* migrated = nullptr;
    detail::check(optc_checkpoint_migrated(saved.get(), &migrated));
    return migrated;
  }

  detail::Rules rules_;
  /// Sources of groups, by what `use` says.
  std::map<std::string, detail::Rules> sources_;
  detail::Bound bound_;
  /// CUDA devices that parameters are on, by number.
  std::set<int32_t> devices_;
  /// In the order in which they are bound.
  std::vector<Param> params_;
  /// The parameters of each group, by position.
  std::vector<std::vector<size_t>> members_;
  /// The options of each group as they are bound.
  std::vector<Options> chosen_;
};

}  // namespace optc

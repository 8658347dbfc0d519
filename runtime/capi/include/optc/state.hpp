/// The state of a parameter as LibTorch's optimizers keep it, and its way into files.
#pragma once

#include <optc/error.hpp>
#include <optc/handle.hpp>
#include <optc/optc.h>
#include <optc/tensor.hpp>

#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace optc {

/// What a rule keeps for a parameter: tensors by the names of the source, and the number of steps.
class ParamState : public torch::optim::OptimizerCloneableParamState<ParamState> {
 public:
  /// Steps taken; an entry may have begun the state before the first.
  int64_t step = 0;
  /// `exp_avg`, `gram.0`, … in the order of the source.
  std::vector<std::string> names;
  /// In the same order.
  std::vector<torch::Tensor> tensors;

  /// A piece of state by its name.
  const torch::Tensor& get(const std::string& name) const {
    for (size_t n = 0; n < names.size(); ++n) {
      if (names[n] == name) return tensors[n];
    }
    throw Error("opt::torch::state", "there is no state `" + name + "`", "state has the names of the source");
  }
};

namespace detail {

/// State of zeros on a device, which a step or an entry fills.
inline std::unique_ptr<ParamState> fresh_state(const Bound& bound, size_t param, const torch::Device& device) {
  auto state = std::make_unique<ParamState>();
  const size_t count = param_info(bound, param).state_count;
  for (size_t n = 0; n < count; ++n) {
    const optc_state_info info = state_info(bound, param, n);
    const torch::IntArrayRef dims(info.dims, info.rank);
    state->names.emplace_back(info.name);
    state->tensors.push_back(torch::zeros(dims, torch::dtype(torch_type(info.dtype)).device(device)));
  }
  return state;
}

/// The state of a parameter in a checkpoint, on a device; null if it had not begun.
inline std::unique_ptr<ParamState> saved_state(const Bound& bound, const Checkpoint& saved, size_t param,
                                               const torch::Device& device) {
  auto state = fresh_state(bound, param, torch::kCPU);
  uint64_t steps = 0;
  check(optc_checkpoint_step(saved.get(), param, &steps));
  state->step = static_cast<int64_t>(steps);
  bool begun = steps > 0;
  for (size_t n = 0; n < state->tensors.size(); ++n) {
    const void* data = nullptr;
    size_t bytes = 0;
    check(optc_checkpoint_state(saved.get(), param, n, &data, &bytes));
    begun = begun || data != nullptr;
    if (bytes > 0) std::memcpy(state->tensors[n].data_ptr(), data, bytes);
    state->tensors[n] = state->tensors[n].to(device);
  }
  return begun ? std::move(state) : nullptr;
}

/// Lends state for the next step, entry or save.
inline void lend(const Bound& bound, size_t param, const ParamState& state, bool begun = true) {
  std::vector<optc_tensor> views;
  std::vector<const optc_tensor*> places;
  for (const torch::Tensor& tensor : state.tensors) {
    views.push_back(view(tensor));
  }
  for (const optc_tensor& view : views) places.push_back(&view);
  const uint64_t step = begun ? static_cast<uint64_t>(state.step) : OPTC_NOT_BEGUN;
  check(optc_lend_state(bound.get(), param, step, places.data(), places.size()));
}

}  // namespace detail
}  // namespace optc

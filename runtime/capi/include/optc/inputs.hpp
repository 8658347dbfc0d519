/// What an entry is given beside parameters and gradients.
#pragma once

#include <optc/optc.h>
#include <optc/tensor.hpp>

#include <torch/types.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace optc {

/// Numbers, and tensors for parameters, by the names of the rule: `Inputs().number("by", 0.5).tensors("to", {{"weight", w}})`.
class Inputs {
 public:
  using ByParameter = std::map<std::string, torch::Tensor>;

  Inputs& number(const std::string& name, double value) { return numbers_[name] = value, *this; }

  /// Tensors by the names of parameters; a parameter without one is left out.
  Inputs& tensors(const std::string& name, ByParameter of) { return tensors_[name] = std::move(of), *this; }

  const std::map<std::string, double>& numbers() const { return numbers_; }
  const std::map<std::string, ByParameter>& tensors() const { return tensors_; }

 private:
  std::map<std::string, double> numbers_;
  std::map<std::string, ByParameter> tensors_;
};

namespace detail {

/// The inputs as the C interface takes them, for parameters in that order; valid as long as `inputs`.
struct Handed {
  Handed(const Inputs& inputs, const std::vector<std::string>& params) {
    for (const auto& [name, value] : inputs.numbers()) add(name).number = value;
    for (const auto& [name, of] : inputs.tensors()) {
      std::vector<const optc_tensor*>& own = places.emplace_back();
      for (const std::string& param : params) own.push_back(place(of, param, name));
      check_known(of, params, name);
    }
    size_t n = 0;
    for (const auto& [name, of] : inputs.tensors()) add(name).tensors = places[n++].data();
  }

  /// Whether a parameter has all tensors.
  bool complete(size_t param) const {
    return std::all_of(places.begin(), places.end(), [&](const auto& own) { return own[param] != nullptr; });
  }

  std::vector<optc_input> all;

 private:
  optc_input& add(const std::string& name) {
    optc_input input = {};
    input.struct_size = sizeof(input);
    input.name = name.c_str();
    all.push_back(input);
    return all.back();
  }

  const optc_tensor* place(const Inputs::ByParameter& of, const std::string& param, const std::string& name) {
    const auto found = of.find(param);
    if (found == of.end()) return nullptr;
    check_tensor(found->second, "the input `" + name + "` for `" + param + "`");
    tensors.push_back(overlaps(found->second) ? found->second.contiguous() : found->second);
    views.push_back(std::make_unique<optc_tensor>(view(tensors.back())));
    return views.back().get();
  }

  static void check_known(const Inputs::ByParameter& of, const std::vector<std::string>& params, const std::string& name) {
    for (const auto& [param, tensor] : of) {
      if (std::find(params.begin(), params.end(), param) != params.end()) continue;
      refuse("input", "`" + name + "` has a tensor for `" + param + "`, which is no parameter here",
             "use the names that the optimizer was made with");
    }
  }

  std::vector<torch::Tensor> tensors;
  std::vector<std::unique_ptr<optc_tensor>> views;
  std::vector<std::vector<const optc_tensor*>> places;
};

}  // namespace detail
}  // namespace optc

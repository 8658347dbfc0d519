/// An optimizer in a LibTorch archive: what `torch::save` writes and `torch::load` reads.
#pragma once

#include <optc/options.hpp>
#include <optc/state.hpp>

#include <torch/serialize.h>

#include <string>
#include <vector>

namespace optc::detail {

/// What an archive holds, in the order of the groups.
struct Archived {
  std::vector<std::string> optimizers;
  std::vector<std::map<std::string, double>> hypers;
  std::vector<std::string> names;
  std::vector<ParamState> states;
};

inline c10::Dict<std::string, double> to_dict(const std::map<std::string, double>& numbers) {
  c10::Dict<std::string, double> dict;
  for (const auto& [name, value] : numbers) dict.insert(name, value);
  return dict;
}

inline c10::Dict<std::string, torch::Tensor> to_dict(const ParamState& state) {
  c10::Dict<std::string, torch::Tensor> dict;
  for (size_t n = 0; n < state.names.size(); ++n) dict.insert(state.names[n], state.tensors[n]);
  return dict;
}

inline void write(torch::serialize::OutputArchive& archive, const Archived& archived) {
  c10::List<c10::Dict<std::string, double>> hypers;
  c10::List<c10::Dict<std::string, torch::Tensor>> states;
  c10::List<int64_t> steps;
  for (const auto& group : archived.hypers) hypers.push_back(to_dict(group));
  for (const ParamState& state : archived.states) {
    states.push_back(to_dict(state));
    steps.push_back(state.step);
  }
  archive.write("format", c10::IValue(int64_t{1}));
  archive.write("optimizers", c10::IValue(archived.optimizers));
  archive.write("hypers", c10::IValue(hypers));
  archive.write("names", c10::IValue(archived.names));
  archive.write("steps", c10::IValue(steps));
  archive.write("states", c10::IValue(states));
}

[[noreturn]] inline void misfit(const std::string& what) {
  refuse("archive", "the archive does not fit: " + what,
         "load it into the optimizer, groups and parameters of the run that saved it");
}

inline c10::IValue entry(torch::serialize::InputArchive& archive, const std::string& key) {
  c10::IValue value;
  if (!archive.try_read(key, value)) misfit("it has no `" + key + "`");
  return value;
}

inline std::vector<std::string> texts(const c10::IValue& value) {
  std::vector<std::string> texts;
  for (const c10::IValue& text : value.toListRef()) texts.push_back(text.toStringRef());
  return texts;
}

/// Gives an empty state its tensors, all of which must be there with their shapes and types.
inline void fill(ParamState& state, const c10::IValue& saved, const std::string& param) {
  const auto dict = saved.toGenericDict();
  if (dict.size() != state.names.size()) misfit("`" + param + "` has other state");
  for (size_t n = 0; n < state.names.size(); ++n) {
    const auto found = dict.find(state.names[n]);
    const std::string what = "`" + state.names[n] + "` of `" + param + "`";
    if (found == dict.end()) misfit(what + " is missing");
    const torch::Tensor& tensor = found->value().toTensor();
    if (tensor.sizes() != state.tensors[n].sizes() || tensor.scalar_type() != state.tensors[n].scalar_type()) {
      misfit(what + " has another shape or type");
    }
    state.tensors[n].copy_(tensor);
  }
}

/// Reads hyperparameters and state into `archived`, which says what must be there.
inline void read(torch::serialize::InputArchive& archive, Archived& archived) {
  if (entry(archive, "format").toInt() != 1) misfit("it is of a later version");
  if (texts(entry(archive, "optimizers")) != archived.optimizers) misfit("it is of another optimizer, or of other groups");
  if (texts(entry(archive, "names")) != archived.names) misfit("it has other parameters");
  const auto hypers = entry(archive, "hypers").toList(), states = entry(archive, "states").toList();
  const auto steps = entry(archive, "steps").toIntVector();
  for (size_t group = 0; group < archived.hypers.size(); ++group) {
    for (const auto& hyper : hypers.get(group).toGenericDict()) {
      archived.hypers[group][hyper.key().toStringRef()] = hyper.value().toDouble();
    }
  }
  for (size_t n = 0; n < archived.states.size(); ++n) {
    archived.states[n].step = steps.at(n);
    if (steps.at(n) > 0) fill(archived.states[n], states.get(n), archived.names[n]);
  }
}

}  // namespace optc::detail

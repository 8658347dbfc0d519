/// Objects of the C interface with owners, and what C++ asks of them; needs no LibTorch.
#pragma once

#include <optc/error.hpp>
#include <optc/optc.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace optc::detail {

struct Free {
  void operator()(optc_rules* rules) const { optc_rules_free(rules); }
  void operator()(optc_optimizer* optimizer) const { optc_optimizer_free(optimizer); }
  void operator()(optc_checkpoint* checkpoint) const { optc_checkpoint_free(checkpoint); }
  void operator()(optc_bytes* bytes) const { optc_bytes_free(bytes); }
};

using Rules = std::shared_ptr<optc_rules>;
using Bound = std::unique_ptr<optc_optimizer, Free>;
using Checkpoint = std::unique_ptr<optc_checkpoint, Free>;
using Bytes = std::unique_ptr<optc_bytes, Free>;

/// A text has lines or braces; anything else is a path or a name of the standard library.
inline bool is_text(const std::string& source) {
  return source.find_first_of("\n{") != std::string::npos;
}

inline Rules open(const std::string& source) {
  optc_rules* rules = nullptr;
  check(is_text(source) ? optc_rules_from_source("source", source.c_str(), &rules)
                        : optc_rules_open(source.c_str(), &rules));
  return Rules(rules, Free());
}

/// The position of an optimizer in its source: the first if none is named, or none has the name.
inline size_t position(const Rules& rules, const std::string& optimizer) {
  const char* name = nullptr;
  for (size_t n = 0; optc_rules_optimizer(rules.get(), n, &name, nullptr) == OPTC_STATUS_OK; ++n) {
    if (optimizer == name) return n;
  }
  return 0;
}

/// Whether a name is that of a static: a choice that is made when parameters are bound.
inline bool is_static(const Rules& rules, const std::string& optimizer, const std::string& name) {
  const size_t at = position(rules, optimizer);
  optc_static known = {};
  known.struct_size = sizeof(known);
  for (size_t n = 0; optc_rules_static(rules.get(), at, n, &known) == OPTC_STATUS_OK; ++n) {
    if (name == known.name) return true;
  }
  return false;
}

using Numbers = std::vector<std::pair<std::string, double>>;

/// Numbers of a group in the order of the source, by `optc_group_hyper` or `optc_group_shared`.
template <typename Get>
Numbers numbers(const Bound& bound, size_t group, Get get) {
  Numbers all;
  const char* name = nullptr;
  double value = 0;
  while (get(bound.get(), group, all.size(), &name, &value) == OPTC_STATUS_OK) all.emplace_back(name, value);
  return all;
}

/// Hyperparameters.
inline Numbers hypers(const Bound& bound, size_t group) { return numbers(bound, group, optc_group_hyper); }

/// What the parameters of a group share.
inline Numbers shared(const Bound& bound, size_t group) { return numbers(bound, group, optc_group_shared); }

inline optc_param_info param_info(const Bound& bound, size_t param) {
  optc_param_info info = {};
  info.struct_size = sizeof(info);
  check(optc_param_get(bound.get(), param, &info));
  return info;
}

inline optc_state_info state_info(const Bound& bound, size_t param, size_t state) {
  optc_state_info info = {};
  info.struct_size = sizeof(info);
  check(optc_state_get(bound.get(), param, state, &info));
  return info;
}

inline std::string group_optimizer(const Bound& bound, size_t group) {
  const char* name = nullptr;
  check(optc_group_optimizer(bound.get(), group, &name));
  return name;
}

inline bool has_begun(const Bound& bound, size_t param) {
  bool begun = false;
  check(optc_state_begun(bound.get(), param, &begun));
  return begun;
}

inline uint64_t step_count(const Bound& bound, size_t param) {
  uint64_t steps = 0;
  check(optc_step_count(bound.get(), param, &steps));
  return steps;
}

}  // namespace optc::detail

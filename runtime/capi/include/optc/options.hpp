/// The options of a parameter group, where LibTorch's schedulers find `lr`.
#pragma once

#include <optc/error.hpp>
#include <optc/handle.hpp>
#include <optc/optc.h>

#include <torch/optim/optimizer.h>

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace optc {

/// Hyperparameters and statics by name. Those that are not set have the defaults of the source; once an optimizer has
/// them, all hyperparameters are set, and may be changed between steps.
class Options : public torch::optim::OptimizerCloneableOptions<Options> {
 public:
  Options() = default;
  explicit Options(double lr) { set("lr", lr); }

  /// A number: a hyperparameter's value, or that of a static.
  template <typename Number, std::enable_if_t<std::is_arithmetic_v<Number>, int> = 0>
  Options& set(const std::string& name, Number value) {
    if constexpr (std::is_same_v<Number, bool>) return set(name, value ? "true" : "false");
    words.erase(name);
    numbers[name] = static_cast<double>(value);
    return *this;
  }

  /// A static's value as on the command line: a word of a choice, `true`, `1,2,3;4,5,6`.
  Options& set(const std::string& name, const std::string& value) {
    numbers.erase(name);
    words[name] = value;
    return *this;
  }
  Options& set(const std::string& name, const char* value) { return set(name, std::string(value)); }

  /// The learning rate.
  Options& lr(double value) { return set("lr", value); }
  /// Which optimizer, if the source declares several.
  Options& optimizer(std::string name) { return optimizer_name = std::move(name), *this; }
  /// Another source for this group: a path, a text, or a name of the standard library.
  Options& use(std::string source) { return source_name = std::move(source), *this; }
  /// A rule of the source, in place of the first that fits.
  Options& rule(std::string name) { return rule_name = std::move(name), *this; }
  /// Refuse steps whose gradients hold NaN or infinities; counts for the whole optimizer.
  Options& refuse_non_finite() { return non_finite = OPTC_NON_FINITE_REFUSE, *this; }
  /// Leave parameters out of steps in which their gradients hold NaN or infinities; counts for the whole optimizer.
  Options& skip_non_finite() { return non_finite = OPTC_NON_FINITE_SKIP, *this; }

  /// The seed of the random numbers that rules draw; counts for the whole optimizer.
  Options& seed(uint64_t value) { return random_seed = value, *this; }

  /// A hyperparameter, or a number that the group's parameters share.
  double get(const std::string& name) const {
    for (const auto* all : {&numbers, &shared}) {
      const auto found = all->find(name);
      if (found != all->end()) return found->second;
    }
    throw Error("opt::step::unknown_hyper", "there is no hyperparameter `" + name + "`",
                "hyperparameters have the names of the source");
  }

  double get_lr() const override { return get("lr"); }
  void set_lr(const double lr) override { set("lr", lr); }

  std::map<std::string, double> numbers;
  /// What steps work out for all parameters of the group.
  std::map<std::string, double> shared;
  std::map<std::string, std::string> words;
  std::string optimizer_name, source_name, rule_name;
  int32_t non_finite = OPTC_NON_FINITE_PROPAGATE;
  uint64_t random_seed = 0;
};

/// Parameters in whose name a regular expression is found, with options of their own.
struct Group {
  explicit Group(std::string pattern, Options options = {})
      : pattern(std::move(pattern)), options(std::move(options)) {}

  std::string pattern;
  Options options;
};

namespace detail {

/// A number as a person would write it.
inline std::string written(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", value);
  return text;
}

/// The options as the C interface takes them; valid as long as the options.
struct Terms {
  Terms(const Options& options, const Rules& source) : options(&options), rules(source) {
    for (const auto& [name, value] : options.numbers) {
      if (is_static(rules, options.optimizer_name, name)) {
        texts.push_back(std::make_unique<std::string>(written(value)));
        statics.push_back({name.c_str(), texts.back()->c_str()});
      } else {
        hypers.push_back({name.c_str(), value});
      }
    }
    for (const auto& [name, value] : options.words) statics.push_back({name.c_str(), value.c_str()});
  }

  const char* optimizer() const { return or_null(options->optimizer_name); }
  const char* rule() const { return or_null(options->rule_name); }

  static const char* or_null(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

  const Options* options;
  Rules rules;
  std::vector<optc_setting> hypers;
  std::vector<optc_choice> statics;
  std::vector<std::unique_ptr<std::string>> texts;
};

/// A group as the C interface takes it.
inline optc_group to_c(const Terms& terms) {
  optc_group group = {};
  group.struct_size = sizeof(group);
  if (!terms.options->source_name.empty()) {
    group.rules = terms.rules.get();
    group.optimizer = terms.optimizer();
  }
  group.rule = terms.rule();
  group.hypers = terms.hypers.data();
  group.hyper_count = terms.hypers.size();
  group.statics = terms.statics.data();
  group.static_count = terms.statics.size();
  return group;
}

}  // namespace detail
}  // namespace optc

/// Failures of the C interface as C++ exceptions.
#pragma once

#include <optc/optc.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace optc {

/// What went wrong: `what()` says it in one line.
class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message, std::string help, std::string rendered = {})
      : std::runtime_error(message), code_(std::move(code)), help_(std::move(help)),
        rendered_(rendered.empty() ? code_ + "\n\n  × " + message + "\n  help: " + help_ + "\n" : std::move(rendered)) {}

  /// This thread's last error.
  static Error last() {
    return {optc_error_code(), optc_error_message(), optc_error_help(), optc_error_rendered()};
  }

  /// The stable code, such as `opt::bind::nothing_matches`.
  const std::string& code() const noexcept { return code_; }
  /// What to do about it; may be empty.
  const std::string& help() const noexcept { return help_; }
  /// All of it for a terminal, with the places in the source.
  const std::string& rendered() const noexcept { return rendered_; }

 private:
  std::string code_, help_, rendered_;
};

namespace detail {

inline void check(optc_status status) {
  if (status != OPTC_STATUS_OK) throw Error::last();
}

}  // namespace detail
}  // namespace optc

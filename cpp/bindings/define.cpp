#include "bindings/define.h"

#include <algorithm>

namespace ranvier::bind {
namespace {

// None, True, False, a string, a number.
py::object parsed_default(const std::string& text) {
  if (text == "None") return py::none();
  if (text == "True" || text == "False") return py::bool_(text == "True");
  if (text[0] == '\'') return py::str(text.substr(1, text.size() - 2));
  if (text.find_first_of(".e") == std::string::npos) return py::int_(std::stoll(text));
  return py::float_(std::stod(text));
}

// What is between `first` and `last`, without spaces around it.
std::string trimmed(const std::string& text, size_t first, size_t last) {
  while (first < last && text[first] == ' ') ++first;
  return text.substr(first, last - first);
}

// A copy that lives as long as the process.
const char* kept(const std::string& text) { return (new std::string(text))->c_str(); }

}  // namespace

Signature::Signature(const std::string& text) {
  const size_t open = text.find('('), close = text.rfind(')');
  name_ = kept(text.substr(0, open));
  std::vector<const char*> names;
  for (size_t first = open + 1; first < close;) {
    const size_t comma = std::min(text.find(',', first), close);
    const size_t equals = std::min(text.find('=', first), comma);
    names.push_back(kept(trimmed(text, first, equals)));
    defaults_.push_back(equals < comma ? parsed_default(text.substr(equals + 1, comma - equals - 1))
                                       : py::object());
    first = comma + 1;
  }
  names_ = new const char*[names.size()];
  std::copy(names.begin(), names.end(), names_);
}

}  // namespace ranvier::bind

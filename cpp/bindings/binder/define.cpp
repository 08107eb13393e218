// Parses the signatures that def() gets (define.h), and at each call puts the arguments in the order of the
// signature's parameters.
#include "bindings/binder/define.h"

#include <algorithm>
#include <cstring>

#include "bindings/binder/batched.h"

namespace ranvier::bind {
namespace {

// A default as a Python object: None, True, False, a string in single quotes, or a number. A string must have
// no comma: Defined's constructor splits the signature at commas.
py::object parsed_default(const std::string& text) {
  if (text == "None") return py::none();
  if (text == "True" || text == "False") return py::bool_(text == "True");
  if (text[0] == '\'') return py::str(text.substr(1, text.size() - 2));
  if (text.find_first_of(".e") == std::string::npos) return py::int_(std::stoll(text));
  PyObject* const number = PyFloat_FromString(py::str(text).ptr());  // std::stod would ask the locale
  if (!number) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(number);
}

// The text between `first` and `last`, without spaces around it.
std::string trimmed(const std::string& text, size_t first, size_t last) {
  while (first < last && text[first] == ' ') ++first;
  return text.substr(first, last - first);
}

// A copy that lives as long as the process.
const char* kept(const std::string& text) { return (new std::string(text))->c_str(); }

// The function's line in the stub, such as "name(a: Array, b: int = 1) -> Array".
std::string described(const Defined& d, const char* const* annotations, const std::string& returned) {
  std::string text = std::string(d.name) + "(";
  for (size_t i = 0; i < d.names.size(); ++i) {
    text += (i ? ", " : "") + std::string(d.names[i]) + ": " + annotations[i];
    if (d.defaults[i]) text += " = " + std::string(py::repr(d.defaults[i]));
  }
  return text + ") -> " + returned;
}

// The place of the parameter that a keyword names, or -1.
int place_of(const Defined& d, PyObject* keyword) {
  const auto& names = d.names_in_python;
  // Python interns the keywords in source code, so comparing pointers finds nearly all.
  auto at = std::find(names.begin(), names.end(), keyword);
  if (at == names.end())
    at = std::find_if(names.begin(), names.end(),
                      [&](PyObject* name) { return PyUnicode_Compare(name, keyword) == 0; });
  return at == names.end() ? -1 : static_cast<int>(at - names.begin());
}

// Fills `arguments`, one for each parameter: the argument of the call, else the default. given: first the
// positional arguments, then those with keywords, as in Python's vectorcall.
void arrange(const Defined& d, PyObject* const* given, Py_ssize_t positional, PyObject* keywords,
             Arg* arguments) {
  const auto count = static_cast<Py_ssize_t>(d.names.size());
  if (positional > count)
    fail_type(d.op, "got ", int64_t{positional}, " arguments; expected ", int64_t{count}, " at most");
  for (Py_ssize_t i = 0; i < count; ++i)
    arguments[i] = {d.op, d.names[i], i < positional ? given[i] : d.defaults[i]};
  for (Py_ssize_t k = 0; keywords && k < PyTuple_GET_SIZE(keywords); ++k) {
    const py::handle keyword = PyTuple_GET_ITEM(keywords, k);
    const int place = place_of(d, keyword.ptr());
    if (place < 0) fail_type(d.op, "got an argument ", keyword, "; expected only those that it has");
    if (place < positional) fail_type(d.op, "got ", d.names[place], " twice; expected it once");
    arguments[place].value = given[positional + k];
  }
  for (Py_ssize_t i = positional; i < count; ++i)
    if (!arguments[i].value) fail_type(d.op, "got no ", d.names[i], "; expected it");
}

// One call from Python: its result, or null with Python's error set.
PyObject* called(const Defined& d, PyObject* const* given, Py_ssize_t positional, PyObject* keywords) {
  return detail::guarded([&]() __attribute__((always_inline)) {
    alignas(Arg) char memory[sizeof(Arg[Defined::kMost])];  // raw bytes: an array of Arg would be initialised
    Arg* arguments = reinterpret_cast<Arg*>(memory);
    arrange(d, given, positional, keywords, arguments);
    try {
      return d.call(d, arguments);
    } catch (const BatchedArgument&) {
      return on_slices(d.name, given, positional, keywords).release().ptr();
    }
  });
}

// Python passes a C function its `self`, which has to be the module: a function with any other `self` could
// not be pickled. So `self` cannot say which Defined is meant. Each Defined has an entry function of its own
// instead: called_by_python<i> calls g_functions[i].
constexpr int kMostFunctions = 384;  // the most that a module may have: add_to() raises beyond it
const Defined* g_functions[kMostFunctions];

template <int i>
PyObject* called_by_python(PyObject*, PyObject* const* given, Py_ssize_t positional, PyObject* keywords) {
  return called(*g_functions[i], given, positional, keywords);
}

// The function called_by_python<place>, for a `place` that is known at run time only.
template <int... i>
PyCFunction entry(int place, std::integer_sequence<int, i...>) {
  static constexpr decltype(&called_by_python<0>) entries[] = {called_by_python<i>...};
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(entries[place]));
}

}  // namespace

py::object tuple_of(std::initializer_list<py::object> items) {
  py::tuple made(items.size());
  Py_ssize_t i = 0;
  for (const py::object& item : items) PyTuple_SET_ITEM(made.ptr(), i++, item.inc_ref().ptr());
  return made;
}

PyTypeObject* add_type(Module m, PyType_Spec& spec) {
  const py::object type = checked(PyType_FromSpec(&spec));
  m.attr(std::strrchr(spec.name, '.') + 1) = type;
  return reinterpret_cast<PyTypeObject*>(type.inc_ref().ptr());
}

// Splits "name(a, b=1)" at its parentheses and commas.
Defined::Defined(std::string_view signature, const char* op_name, Call call, const void* f, size_t bytes)
    : call(call) {
  std::memcpy(function, f, bytes);
  const std::string text(signature);
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  name = kept(text.substr(0, open));
  op = op_name ? op_name : name;
  for (size_t first = open + 1; first < close;) {
    const size_t comma = std::min(text.find(',', first), close);
    const size_t equals = std::min(text.find('=', first), comma);
    names.push_back(kept(trimmed(text, first, equals)));
    names_in_python.push_back(PyUnicode_InternFromString(names.back()));
    PyObject* value = nullptr;  // the default, if the parameter has one
    if (equals < comma) {
      const std::string written = text.substr(equals + 1, comma - equals - 1);
      value = parsed_default(written).release().ptr();
    }
    defaults.push_back(value);
    first = comma + 1;
  }
}

void detail::add_to(Module m, Defined* d, const char* const* annotations, std::string (*returned)()) {
  size_t parameters = 0;
  while (annotations[parameters]) ++parameters;
  if (parameters != d->names.size()) throw py::type_error(d->name);
  static int count = 0;
  if (count == kMostFunctions)
    throw py::index_error(std::string(d->name) + ": the module is full; raise kMostFunctions in define.cpp");
  const PyCFunction call = entry(count, std::make_integer_sequence<int, kMostFunctions>());
  g_functions[count++] = d;
  auto* method = new PyMethodDef{d->name, call, METH_FASTCALL | METH_KEYWORDS,
                                 kept(described(*d, annotations, returned()))};
  m.attr(d->name) =
      py::reinterpret_steal<py::object>(PyCFunction_NewEx(method, m.ptr(), m.attr("__name__").ptr()));
}

}  // namespace ranvier::bind

// def(m, "softmax(x, axis=-1, out=None)", f): adds the C++ function f to the module under a Python signature.
//
// The signature names the parameters and gives their defaults, as in Python. Each parameter of f has a type
// of params.h, whose constructor reads and checks the argument; errors name the op and the parameter. The
// stub `_core.pyi` gets its annotations from the same types (cmake/write_stub.py).
//
// f runs with the GIL; it releases it around a long kernel by invoke_released() (array_args.h). The arguments
// are borrowed references, which the caller in Python keeps for the length of the call. f may throw: Python
// gets the exception as an error.
//
// Only the templates in `detail` depend on the types of f. define.cpp does everything else, once for all
// functions. So a binding includes no more of pybind11 than pytypes.h (its wrappers of Python's objects): a
// file that includes pybind11.h takes twice as long to compile.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/binder/params.h"

namespace ranvier::bind {

using Module = py::handle;  // the module that functions are added to
py::object tuple_of(std::initializer_list<py::object> items);
// Makes a class and adds it to the module under the last part of spec.name. The class lives as long as the
// process.
PyTypeObject* add_type(Module m, PyType_Spec& spec);

// A function of the module. It lives as long as the process.
struct Defined {
  static constexpr size_t kMost = 24;  // the most parameters that a function may have

  // Reads the arguments, one for each parameter, and calls the function. Returns a new reference.
  using Call = PyObject* (*)(const Defined& self, const Arg* arguments);

  Defined(std::string_view signature, const char* op, Call call, const void* function, size_t bytes);
  const char* name;
  const char* op;                          // the op that errors name
  std::vector<const char*> names;          // the names of the parameters
  std::vector<PyObject*> names_in_python;  // the same as interned strings of Python
  std::vector<PyObject*> defaults;         // null where a parameter has no default
  Call call;
  alignas(8) char function[24];  // the bytes of f: a function pointer or a closure, cast back by `call`
};

namespace detail {

// Sets Python's error for the C++ exception that a `catch` block is handling (bind_runtime.cpp).
void raise_in_python();
// Returns f(); where it throws, sets Python's error and returns null.
template <class F>
__attribute__((always_inline)) inline PyObject* guarded(const F& f) {
  try {
    return f();
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (...) {
    raise_in_python();
  }
  return nullptr;
}

// Adds the function to the module. annotations: those of the parameters, with a null pointer as the end.
// returned(): the annotation of the result.
void add_to(Module m, Defined* function, const char* const* annotations, std::string (*returned)());

// For each type R that f may return: its annotation in the stub, and its conversion to a Python object. The
// general case is a class derived from py::object that has a RANVIER_ANNOTATION.
template <class R>
struct Result {
  static std::string annotation() { return R::annotation; }
  static py::object convert(R&& r) { return std::move(r); }
};
template <class R, class Python>
struct ResultAs {
  static py::object convert(R r) { return Python(r); }
};
template <>
struct Result<void> {
  static std::string annotation() { return "None"; }
};
template <>
struct Result<bool> : ResultAs<bool, py::bool_> {
  static std::string annotation() { return "bool"; }
};
template <>
struct Result<int> : ResultAs<int, py::int_> {
  static std::string annotation() { return "int"; }
};
template <>
struct Result<double> : ResultAs<double, py::float_> {
  static std::string annotation() { return "float"; }
};
template <>
struct Result<const char*> : ResultAs<const char*, py::str> {
  static std::string annotation() { return "str"; }
};
template <>
struct Result<Output> {
  static std::string annotation() { return "Array"; }
  static py::object convert(Output&& out) { return out.release(); }
};
template <>
struct Result<MaybeOutput> {
  static std::string annotation() { return "Array | None"; }
  static py::object convert(MaybeOutput&& out) { return out.release(); }
};
template <class... R>
struct Result<std::tuple<R...>> {
  static std::string annotation() {
    std::string text = "tuple[";
    const char* separator = "";
    for (const std::string& item : {Result<R>::annotation()...}) {
      text += separator + item;
      separator = ", ";
    }
    return text + "]";
  }
  static py::object convert(std::tuple<R...>&& parts) {
    return std::apply([](R&... r) { return tuple_of({Result<R>::convert(std::move(r))...}); }, parts);
  }
};

// The parameters of f as a recursive list: the first one and the list of the others. Their constructors read
// the arguments from left to right, so the first wrong argument is the one that an error names. (A std::tuple
// may construct its elements in any order.)
template <class... P>
struct Parameters {
  explicit Parameters(const Arg*) {}
};
template <class P, class... More>
struct Parameters<P, More...> {
  explicit Parameters(const Arg* argument) : first(*argument), more(argument + 1) {}
  P first;
  Parameters<More...> more;
};

// All arrays of floats of a call must have one dtype: each is compared with `first`, the first one given.
inline void check_dtype(const Input*& first, const Input& x) {
  if (!first || !*first)
    first = &x;
  else if (x && x.dtype() != first->dtype())
    first->expect_same_dtype(x);
}
template <class P>
void check_floats(const Input*& first, const P& x) {
  if constexpr (std::is_base_of_v<Floats, P> || std::is_base_of_v<MaybeFloats, P> ||
                std::is_base_of_v<Reals, P> || std::is_base_of_v<MaybeReals, P>)
    check_dtype(first, x);
}

// Calls f with the parameters, after the check of their dtypes. The second overload moves one parameter at a
// time from the recursive list to the argument pack `read`; the first one runs when the list is empty.
template <class F, class... P>
decltype(auto) call_with(const F& f, Parameters<>&, P&... read) {
  const Input* first = nullptr;
  (check_floats(first, read), ...);
  return f(std::move(read)...);
}
template <class F, class Next, class... More, class... P>
decltype(auto) call_with(const F& f, Parameters<Next, More...>& next, P&... read) {
  return call_with(f, next.more, read..., next.first);
}

// The Defined::Call of a function of type F, with parameters of types P and a result of type R.
template <class F, class R, class... P>
PyObject* called(const Defined& self, const Arg* arguments) {
  Parameters<P...> read(arguments);
  const F& f = *reinterpret_cast<const F*>(self.function);
  if constexpr (std::is_void_v<R>) {
    call_with(f, read);
    return py::none().release().ptr();
  } else
    return Result<R>::convert(call_with(f, read)).release().ptr();
}

// The last argument is a null pointer: its type std::function<R(P...)> tells R and P.
template <class F, class R, class... P>
void define(Module m, std::string_view signature, const char* op, const F& f, std::function<R(P...)>*) {
  static_assert(sizeof...(P) <= Defined::kMost && std::is_trivially_copyable_v<F>);
  static_assert(sizeof f <= sizeof Defined::function && alignof(F) <= 8);
  static constexpr const char* annotations[] = {std::decay_t<P>::annotation..., nullptr};
  add_to(m, new Defined(signature, op, called<F, R, std::decay_t<P>...>, &f, sizeof f), annotations,
         Result<R>::annotation);
}

}  // namespace detail

// f: a function, or a closure of at most 24 bytes. op: the name that errors show; null: the function's name.
template <class F>
void def(Module m, std::string_view signature, F f, const char* op = nullptr) {
  detail::define(m, signature, op, f, static_cast<decltype(std::function(f))*>(nullptr));
}

}  // namespace ranvier::bind

// def(m, "softmax(x, axis=-1, out=None)", f): adds a function to the module.
//
// Its parameters are named, and given their defaults, as in Python. f has a type of params.h for each, which
// reads and checks the argument; errors name the op and the parameter. f's types are also what the stub
// `_core.pyi` says about the function (cmake/write_stub.py).
//
// The types of f are known to one small function, detail::called. All else is done in define.cpp, once for
// all functions. So a binding needs of pybind11 only pytypes.h, Python's objects: a file that includes
// pybind11.h takes twice as long to compile.
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
// A class of the module, by the last part of its name. It lives as long as the process.
PyTypeObject* add_type(Module m, PyType_Spec& spec);

// A function of the module. It lives as long as the process.
struct Defined {
  static constexpr size_t kMost = 24;  // parameters

  // Reads the arguments, one for each parameter, and calls the function.
  using Call = PyObject* (*)(const Defined& self, const Arg* arguments);

  Defined(std::string_view signature, const char* op, Call call, const void* function, size_t bytes);
  const char* name;
  const char* op;                          // what errors name
  std::vector<const char*> names;          // the names of the parameters
  std::vector<PyObject*> names_in_python;  // interned
  std::vector<PyObject*> defaults;         // null: there is none
  Call call;
  alignas(8) char function[24];  // the function that `call` calls; `call` casts it to its type
};

namespace detail {

void raise_in_python();  // the exception that is being handled
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

// annotations: of the parameters, and a null pointer. returned: the annotation of the result.
void add_to(Module m, Defined* function, const char* const* annotations, std::string (*returned)());

// The name of a result's type in the stub, and its conversion to a Python object.
template <class R>
struct Result {  // a Python object whose class names itself
  static std::string annotation() { return R::annotation; }
  static py::object of(R&& r) { return std::move(r); }
};
template <class R, class Python>
struct ResultAs {
  static py::object of(R r) { return Python(r); }
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
  static py::object of(Output&& out) { return out.release(); }
};
template <>
struct Result<MaybeOutput> {
  static std::string annotation() { return "Array | None"; }
  static py::object of(MaybeOutput&& out) { return out.release(); }
};
template <class... R>
struct Result<std::tuple<R...>> {
  static std::string annotation() {
    std::string text;
    ((text += (text.empty() ? "tuple[" : ", ") + Result<R>::annotation()), ...);
    return text + "]";
  }
  static py::object of(std::tuple<R...>&& parts) {
    return std::apply([](R&... r) { return tuple_of({Result<R>::of(std::move(r))...}); }, parts);
  }
};

// The parameters made from the arguments, from left to right, each in its own place.
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

template <class F, class R, class... P>
PyObject* called(const Defined& self, const Arg* arguments) {
  Parameters<P...> read(arguments);
  const F& f = *reinterpret_cast<const F*>(self.function);
  if constexpr (std::is_void_v<R>)
    return call_with(f, read), py::none().release().ptr();
  else
    return Result<R>::of(call_with(f, read)).release().ptr();
}

template <class F, class R, class... P>
void define(Module m, std::string_view signature, const char* op, const F& f, std::function<R(P...)>*) {
  static_assert(sizeof...(P) <= Defined::kMost && std::is_trivially_copyable_v<F>);
  static_assert(sizeof f <= sizeof Defined::function && alignof(F) <= 8);
  static constexpr const char* annotations[] = {std::decay_t<P>::annotation..., nullptr};
  add_to(m, new Defined(signature, op, called<F, R, std::decay_t<P>...>, &f, sizeof f), annotations,
         Result<R>::annotation);
}

}  // namespace detail

// `op`: what errors name instead of the function.
template <class F>
void def(Module m, std::string_view signature, F f, const char* op = nullptr) {
  detail::define(m, signature, op, f, static_cast<decltype(std::function(f))*>(nullptr));
}

}  // namespace ranvier::bind

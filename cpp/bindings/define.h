// def(m, "softmax(x, axis=-1, out=None)", f): adds a function to the module.
//
// Its parameters are named, and given their defaults, as in Python. f has a type of params.h for each, which
// reads and checks the argument; errors name the op and the parameter. f's types are also what the stub
// `_core.pyi` says about the function (cmake/write_stub.py).
//
// The types of f are known to one small function, Typed::called. All else is done in define.cpp, once for all
// functions. So a binding needs of pybind11 only pytypes.h, Python's objects: a file that includes pybind11.h
// takes twice as long to compile.
#pragma once
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/params.h"

namespace ranvier::bind {

using Module = py::handle;  // that functions are added to
py::object tuple_of(std::initializer_list<py::object> items);

// A function of the module. It lives as long as the process.
struct Defined {
  static constexpr size_t kMost = 24;  // parameters

  Defined(const std::string& signature, const char* op);
  const char* name;
  const char* op;                          // what errors name
  std::vector<const char*> names;          // of the parameters
  std::vector<PyObject*> names_in_python;  // interned
  std::vector<PyObject*> defaults;         // null: there is none
  // Reads the arguments, one for each parameter, and calls the function.
  PyObject* (*call)(const Defined& self, PyObject* const* arguments);
};

namespace detail {

void raise_in_python();  // the exception that is being handled
void add_to(Module m, Defined* function, const std::vector<const char*>& annotations,
            const std::string& returned);

// What the stub calls a result, and how it becomes a Python object.
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

inline void check_dtype(const Input*& first, const Input& x) {
  if (!first || !*first)
    first = &x;
  else if (x && x.dtype() != first->dtype())
    first->expect_same_dtype(x);
}
template <class P>
void check_floats(const Input*& first, const P& x) {
  if constexpr (std::is_base_of_v<Floats, P> || std::is_base_of_v<MaybeFloats, P>) check_dtype(first, x);
}

template <class F, class R, class... P>
struct Typed : Defined {
  static_assert(sizeof...(P) <= kMost);
  F f;

  Typed(const std::string& signature, const char* op, F f) : Defined(signature, op), f(f) {
    call = [](const Defined& self, PyObject* const* arguments) {
      return static_cast<const Typed&>(self).called(arguments);
    };
  }

  PyObject* called(PyObject* const* argument) const {
    const char* const* name = names.data();
    std::tuple<P...> read{P(Arg{op, *name++, *argument++})...};  // braces: from left to right
    const Input* first = nullptr;
    std::apply([&](const auto&... x) { (check_floats(first, x), ...); }, read);
    if constexpr (std::is_void_v<R>)
      return std::apply(f, std::move(read)), py::none().release().ptr();
    else
      return Result<R>::of(std::apply(f, std::move(read))).release().ptr();
  }
};

template <class F, class R, class... P>
void define(Module m, const std::string& signature, const char* op, F f, std::function<R(P...)>*) {
  std::string returned = "None";
  if constexpr (!std::is_void_v<R>) returned = Result<R>::annotation();
  add_to(m, new Typed<F, R, std::decay_t<P>...>(signature, op, f), {std::decay_t<P>::annotation...},
         returned);
}

}  // namespace detail

// `op`: what errors name instead of the function.
template <class F>
void def(Module m, const std::string& signature, F f, const char* op = nullptr) {
  detail::define(m, signature, op, f, static_cast<decltype(std::function(f))*>(nullptr));
}

}  // namespace ranvier::bind

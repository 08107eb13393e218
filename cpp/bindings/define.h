// def(m, "softmax(x, axis=-1, out=None)", f): adds a function to the module.
//
// Its parameters are named, and given their defaults, as in Python. f has a type of params.h for each, which
// reads and checks the argument; errors name the op and the parameter. f's types are also what the stub
// `_core.pyi` says about the function (cmake/write_stub.py).
#pragma once
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/params.h"

namespace ranvier::bind {

// "name(a, b=1, c='x', d=None)". The names live as long as the process, as the functions do.
class Signature {
 public:
  explicit Signature(const std::string& text);
  const char* name() const { return name_; }
  size_t count() const { return defaults_.size(); }
  const char* const* names() const { return names_; }             // of the parameters
  py::object default_of(size_t i) const { return defaults_[i]; }  // null: there is none

 private:
  const char* name_;
  const char** names_;
  std::vector<py::object> defaults_;
};

namespace detail {

// An argument as pybind11 hands it over, on its way to a parameter of type P.
template <class P>
struct Given {
  py::handle value;
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
void define(py::module_& m, const char* op, const Signature& signature, F f, std::function<R(P...)>*) {
  const auto call = [f, op, names = signature.names()](Given<std::decay_t<P>>... given) -> R {
    const char* const* name = names;
    std::tuple<std::decay_t<P>...> read{std::decay_t<P>(Arg{op, *name++, given.value})...};
    const Input* first = nullptr;
    std::apply([&](const auto&... x) { (check_floats(first, x), ...); }, read);
    return std::apply(f, std::move(read));
  };
  if (signature.count() != sizeof...(P)) throw py::type_error(signature.name());
  m.def(signature.name(), call, signature);
}

}  // namespace detail

// `op`: what errors name instead of the function.
template <class F>
void def(py::module_& m, const std::string& signature, F f, const char* op = nullptr) {
  const Signature s(signature);
  detail::define(m, op ? op : s.name(), s, f, static_cast<decltype(std::function(f))*>(nullptr));
}

}  // namespace ranvier::bind

namespace pybind11::detail {

template <class P>
struct type_caster<ranvier::bind::detail::Given<P>> {
  static constexpr auto name = P::annotation;
  template <class>
  using cast_op_type = ranvier::bind::detail::Given<P>;

  bool load(handle argument, bool) {
    value = argument;
    return true;
  }
  operator ranvier::bind::detail::Given<P>() const { return {value}; }

 private:
  handle value;
};

template <>
struct type_caster<ranvier::bind::Output> {
  static constexpr auto name = const_name("Array");
  static handle cast(ranvier::bind::Output&& out, return_value_policy, handle) {
    return out.release().release();
  }
};

template <>
struct type_caster<ranvier::bind::MaybeOutput> {
  static constexpr auto name = const_name("Array | None");
  static handle cast(ranvier::bind::MaybeOutput&& out, return_value_policy, handle) {
    return out.release().release();
  }
};

// pybind11 reads the names and defaults of a function's parameters from this.
template <>
struct process_attribute<ranvier::bind::Signature> : process_attribute_default<ranvier::bind::Signature> {
  static void init(const ranvier::bind::Signature& signature, function_record* record) {
    for (size_t i = 0; i < signature.count(); ++i)
      record->args.emplace_back(signature.names()[i], nullptr, signature.default_of(i).release(), true, true);
  }
};

}  // namespace pybind11::detail

// Makes Python classes of C++ classes: Object<T> is a Python object that owns a T. Its constructor and
// methods take positional arguments only; FromPython<P> converts an argument, ToPython<R> a result.
// method<&T::f>() makes a method of it, add_class<T>() adds the class to the module.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings/binder/define.h"
#include "bindings/binder/methods.h"

namespace ranvier::bind {

template <class T>
struct Object {
  PyObject_HEAD T* value;                      // owned; null until holding() sets it
  inline static PyTypeObject* type = nullptr;  // set by add_class()

  static T*& place(PyObject* self) { return reinterpret_cast<Object*>(self)->value; }
  static T& of(PyObject* self) { return *place(self); }
  static py::object holding(std::unique_ptr<T> value) {
    py::object made = checked(type->tp_alloc(type, 0));
    place(made.ptr()) = value.release();
    return made;
  }
  static void free(PyObject* self) {
    PyTypeObject* own = Py_TYPE(self);
    if (PyType_IS_GC(own)) PyObject_GC_UnTrack(self);
    const py::error_scope raised;  // keeps Python's error: the destructor below may run Python code
    delete place(self);
    own->tp_free(self);
    Py_DECREF(own);
  }
};

// An argument x converted to the type of a parameter; TypeError where x is of another type.
template <class T>
struct FromPython {
  static T& of(PyObject* x) {
    if (Py_TYPE(x) != Object<T>::type)
      fail_type("_core", "got ", Py_TYPE(x)->tp_name, "; expected ", Object<T>::type->tp_name);
    return Object<T>::of(x);
  }
};
template <>
struct FromPython<py::handle> {
  static py::handle of(PyObject* x) { return x; }
};
template <class T>
T checked_object(PyObject* x, const char* expected) {
  if (!py::isinstance<T>(x)) fail_type("_core", "got ", Py_TYPE(x)->tp_name, "; expected ", expected);
  return py::reinterpret_borrow<T>(x);
}
template <>
struct FromPython<py::object> {
  static py::object of(PyObject* x) { return py::reinterpret_borrow<py::object>(x); }
};
template <>
struct FromPython<py::list> {
  static py::list of(PyObject* x) { return checked_object<py::list>(x, "list"); }
};
template <>
struct FromPython<py::tuple> {
  static py::tuple of(PyObject* x) { return checked_object<py::tuple>(x, "tuple"); }
};
template <>
struct FromPython<py::dict> {
  static py::dict of(PyObject* x) { return checked_object<py::dict>(x, "dict"); }
};
template <>
struct FromPython<bool> {
  static bool of(PyObject* x) { return Truth(Arg{"_core", "argument", x}); }
};
template <>
struct FromPython<std::string> {
  static std::string of(PyObject* x) { return std::string(Name(Arg{"_core", "argument", x}).text); }
};
template <>
struct FromPython<int64_t> {
  static int64_t of(PyObject* x) { return Whole(Arg{"_core", "argument", x}); }
};

// A result as a Python object. A null pointer becomes None; other smart pointers become a new Object.
template <class T>
struct ToPython {
  static py::object of(T x) { return detail::Result<T>::of(std::move(x)); }
};
template <>
struct ToPython<py::list> {
  static py::object of(py::list&& x) { return std::move(x); }
};
template <>
struct ToPython<py::dict> {
  static py::object of(py::dict&& x) { return std::move(x); }
};
template <>
struct ToPython<py::object> {
  static py::object of(py::object&& x) { return std::move(x); }
};
template <>
struct ToPython<std::string> {
  static py::object of(const std::string& x) { return py::str(x); }
};
template <>
struct ToPython<size_t> : detail::ResultAs<size_t, py::int_> {};
template <>
struct ToPython<int64_t> : detail::ResultAs<int64_t, py::int_> {};
template <class T>
struct ToPython<std::unique_ptr<T>> {
  static py::object of(std::unique_ptr<T> x) {
    return x ? Object<T>::holding(std::move(x)) : py::object(py::none());
  }
};
template <class T>
struct ToPython<std::shared_ptr<T>> {
  static py::object of(std::shared_ptr<T> x) {
    using Pointer = std::shared_ptr<T>;
    return x ? Object<Pointer>::holding(std::make_unique<Pointer>(std::move(x))) : py::object(py::none());
  }
};

// The Body (methods.h) of a method f of class C with parameters P and result R.
template <auto f, class R, class C, class... P>
struct Bound {
  template <size_t... i>
  static py::object run(PyObject* self, PyObject* const* given, std::index_sequence<i...>) {
    C& object = Object<std::remove_const_t<C>>::of(self);
    if constexpr (std::is_void_v<R>)
      return std::invoke(f, object, FromPython<std::decay_t<P>>::of(given[i])...), py::none();
    else
      return ToPython<R>::of(std::invoke(f, object, FromPython<std::decay_t<P>>::of(given[i])...));
  }
  static py::object body(PyObject* self, PyObject* const* given, Py_ssize_t) {
    return run(self, given, std::index_sequence_for<P...>());
  }
  static constexpr int count = sizeof...(P);
};

// f: a member function, or a function whose first parameter is a reference to the object.
template <auto f>
struct Method;
template <class R, class C, class... P, R (C::*f)(P...)>
struct Method<f> : Bound<f, R, C, P...> {};
template <class R, class C, class... P, R (C::*f)(P...) const>
struct Method<f> : Bound<f, R, const C, P...> {};
template <class R, class C, class... P, R (*f)(C&, P...)>
struct Method<f> : Bound<f, R, C, P...> {};

template <auto f>
PyMethodDef method(const char* name, const char* signature) {
  return method<Method<f>::body, Method<f>::count>(name, signature);
}

// For Py_tp_new: makes a T from positional arguments of types P.
template <class T, class... P>
struct Constructor {
  template <size_t... i>
  static py::object made(PyObject* const* given, std::index_sequence<i...>) {
    return Object<T>::holding(std::make_unique<T>(FromPython<P>::of(given[i])...));
  }
  static py::object body(PyObject*, [[maybe_unused]] PyObject* const* given, Py_ssize_t) {
    return made(given, std::index_sequence_for<P...>());
  }
  static PyObject* run(PyObject*, PyObject* arguments, PyObject* keywords) {
    if (keywords && PyDict_GET_SIZE(keywords) > 0) {
      PyErr_SetString(PyExc_TypeError, "[_core] got keywords; expected positional arguments");
      return nullptr;
    }
    return run_body(body, nullptr, reinterpret_cast<PyTupleObject*>(arguments)->ob_item,
                    PyTuple_GET_SIZE(arguments), sizeof...(P));
  }
};
template <class T, class... P>
PyType_Slot constructor() {
  return {Py_tp_new, slot(Constructor<T, P...>::run)};
}

// name: with the module's name, as "ranvier._core.Program". text: the docstring, which is also the text of
// the class in the stub. slots: methods, constructor and others.
template <class T>
void add_class(Module m, const char* name, const char* text, std::vector<PyType_Slot> slots,
               unsigned long flags = 0) {
  slots.push_back({Py_tp_doc, const_cast<char*>(text)});
  slots.push_back({Py_tp_dealloc, slot(Object<T>::free)});
  slots.push_back({0, nullptr});
  PyType_Spec spec{name, sizeof(Object<T>), 0, static_cast<unsigned>(Py_TPFLAGS_DEFAULT | flags),
                   slots.data()};
  Object<T>::type = add_type(m, spec);
}

}  // namespace ranvier::bind

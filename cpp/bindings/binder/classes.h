// Makes Python classes of C++ classes. replay/bind_program.cpp, replay/signature.cpp, replay/batch_run.cpp
// and ranks/rank_sum.cpp use it for the classes of _core that the Python layer uses inside: Program,
// Recording, Guards, RankSum ... Users never see them.
//
// Object<T> is a Python object that owns a T. add_class<T>() makes the class and adds it to the module.
// constructor<T, P...>() and method<&T::f>() make its constructor and its methods, which take positional
// arguments only; FromPython<P> converts an argument, ToPython<R> a result.
//
// All functions here run with the GIL. A method that releases it keeps the object alive: the caller in Python
// has a reference for the length of the call. A T is destroyed by the thread that drops the last reference,
// with the GIL.
//
// Why not pybind11's py::class_: bind_program.cpp, which binds five classes with 34 methods, was bound both
// ways (pybind11 3.1, GCC 12, x86-64, Python 3.11). With py::class_ the file takes 8.6 s of CPU time to
// compile, here 1.7 s; its code has 222 kB, here 51 kB; the stripped extension grows by 189 kB (2 %). A
// method without arguments takes 44 to 66 ns, here 13; one that gets an array 86 to 90, here 50; the
// constructor of Guards 226, here 41 to 55; an attribute 89 to 107, here 50. Programs are called once for
// each step of a training.
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

// The layout of the Python object in memory. The class of `self` must be Object<T>::type in all functions;
// FromPython<T> checks it, and Python does so for methods.
template <class T>
struct Object {
  PyObject_HEAD T* value;                      // owned; null until holding() sets it
  inline static PyTypeObject* type = nullptr;  // the Python class; set by add_class(), never freed

  static T*& place(PyObject* self) { return reinterpret_cast<Object*>(self)->value; }
  static T& of(PyObject* self) { return *place(self); }
  // A new Python object, which takes the T over.
  static py::object holding(std::unique_ptr<T> value) {
    py::object made = checked(type->tp_alloc(type, 0));
    place(made.ptr()) = value.release();
    return made;
  }
  // For Py_tp_dealloc: the last reference to `self` is gone.
  static void free(PyObject* self) {
    PyTypeObject* const cls = Py_TYPE(self);
    if (PyType_IS_GC(cls)) PyObject_GC_UnTrack(self);
    const py::error_scope raised;  // keeps Python's error: the destructor below may run Python code
    delete place(self);
    cls->tp_free(self);
    Py_DECREF(cls);  // each object of a class made at run time holds a reference to the class
  }
};

// FromPython<T>::convert(x): the argument x as a parameter of type T, by value or as a reference into the
// object; TypeError where x is of another type. The general case is the T of an Object<T>.
template <class T>
struct FromPython {
  static T& convert(PyObject* x) {
    if (Py_TYPE(x) != Object<T>::type)
      fail_type("_core", "got ", Py_TYPE(x)->tp_name, "; expected ", Object<T>::type->tp_name);
    return Object<T>::of(x);
  }
};
template <>
struct FromPython<py::handle> {
  static py::handle convert(PyObject* x) { return x; }
};
template <class T>
T checked_object(PyObject* x, const char* expected) {
  if (!py::isinstance<T>(x)) fail_type("_core", "got ", Py_TYPE(x)->tp_name, "; expected ", expected);
  return py::reinterpret_borrow<T>(x);
}
template <>
struct FromPython<py::object> {
  static py::object convert(PyObject* x) { return py::reinterpret_borrow<py::object>(x); }
};
template <>
struct FromPython<py::list> {
  static py::list convert(PyObject* x) { return checked_object<py::list>(x, "list"); }
};
template <>
struct FromPython<py::tuple> {
  static py::tuple convert(PyObject* x) { return checked_object<py::tuple>(x, "tuple"); }
};
template <>
struct FromPython<py::dict> {
  static py::dict convert(PyObject* x) { return checked_object<py::dict>(x, "dict"); }
};
template <>
struct FromPython<bool> {
  static bool convert(PyObject* x) { return Truth(Arg{"_core", "argument", x}); }
};
template <>
struct FromPython<std::string> {
  static std::string convert(PyObject* x) { return std::string(Name(Arg{"_core", "argument", x}).text); }
};
template <>
struct FromPython<int64_t> {
  static int64_t convert(PyObject* x) { return Whole(Arg{"_core", "argument", x}); }
};

// ToPython<T>::convert(x): a result as a Python object. A null pointer becomes None; other smart pointers
// become a new Object. The general case has the types that define.h converts, such as bool and double.
template <class T>
struct ToPython {
  static py::object convert(T x) { return detail::Result<T>::convert(std::move(x)); }
};
template <>
struct ToPython<py::list> {
  static py::object convert(py::list&& x) { return std::move(x); }
};
template <>
struct ToPython<py::dict> {
  static py::object convert(py::dict&& x) { return std::move(x); }
};
template <>
struct ToPython<py::object> {
  static py::object convert(py::object&& x) { return std::move(x); }
};
template <>
struct ToPython<std::string> {
  static py::object convert(const std::string& x) { return py::str(x); }
};
template <>
struct ToPython<size_t> : detail::ResultAs<size_t, py::int_> {};
template <>
struct ToPython<int64_t> : detail::ResultAs<int64_t, py::int_> {};
template <class T>
struct ToPython<std::unique_ptr<T>> {
  static py::object convert(std::unique_ptr<T> x) {
    if (!x) return py::none();
    return Object<T>::holding(std::move(x));
  }
};
template <class T>
struct ToPython<std::shared_ptr<T>> {
  static py::object convert(std::shared_ptr<T> x) {
    if (!x) return py::none();
    using Pointer = std::shared_ptr<T>;
    return Object<Pointer>::holding(std::make_unique<Pointer>(std::move(x)));
  }
};

// The Body (methods.h) of a method f of class C with parameters P and result R.
template <auto f, class R, class C, class... P>
struct Bound {
  template <size_t... i>
  static py::object run(PyObject* self, PyObject* const* given, std::index_sequence<i...>) {
    C& object = Object<std::remove_const_t<C>>::of(self);
    if constexpr (std::is_void_v<R>) {
      std::invoke(f, object, FromPython<std::decay_t<P>>::convert(given[i])...);
      return py::none();
    } else {
      return ToPython<R>::convert(std::invoke(f, object, FromPython<std::decay_t<P>>::convert(given[i])...));
    }
  }
  static py::object body(PyObject* self, PyObject* const* given, Py_ssize_t) {
    return run(self, given, std::index_sequence_for<P...>());
  }
  static constexpr int count = sizeof...(P);
};

// The Bound of f, which is a member function, or a function whose first parameter is a reference to the
// object. The specializations find the class C, the parameters P and the result R in the type of f.
template <auto f>
struct Method;
template <class R, class C, class... P, R (C::*f)(P...)>
struct Method<f> : Bound<f, R, C, P...> {};
template <class R, class C, class... P, R (C::*f)(P...) const>
struct Method<f> : Bound<f, R, const C, P...> {};
template <class R, class C, class... P, R (*f)(C&, P...)>
struct Method<f> : Bound<f, R, C, P...> {};

// An entry of Py_tp_methods. signature: the method's line in the stub (_core.pyi).
template <auto f>
PyMethodDef method(const char* name, const char* signature) {
  return method<Method<f>::body, Method<f>::count>(name, signature);
}

// For Py_tp_new: makes a T from positional arguments of types P.
template <class T, class... P>
struct Constructor {
  template <size_t... i>
  static py::object made(PyObject* const* given, std::index_sequence<i...>) {
    return Object<T>::holding(std::make_unique<T>(FromPython<P>::convert(given[i])...));
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

// Called once for each class, while the module loads. name: with the module's name, as
// "ranvier._core.Program". text: the docstring, which is also the text of the class in the stub. slots:
// methods, constructor and others. flags: beside Py_TPFLAGS_DEFAULT; with Py_TPFLAGS_HAVE_GC the slots have
// Py_tp_traverse and Py_tp_clear, which must allow for an Object whose value is still null.
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

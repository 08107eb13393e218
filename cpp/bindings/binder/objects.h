// Python's objects in C++: handle, a borrowed reference; object, an owned one; and an object of each of the
// types that the bindings make. Names and meaning are those of pybind11, of which the bindings need no more:
// its header of these classes took a fifth of their time to compile, most of it for texts of errors.
//
// A function that fails in Python throws error_already_set. All functions run with the GIL.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <exception>
#include <string>
#include <type_traits>
#include <utility>

namespace ranvier::bind::py {

class object;

// A borrowed reference, or null.
class handle {
 public:
  handle() = default;
  handle(PyObject* object) : object_(object) {}
  handle(PyTypeObject* type) : object_(reinterpret_cast<PyObject*>(type)) {}

  PyObject* ptr() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  bool is(handle other) const { return object_ == other.object_; }
  bool is_none() const { return object_ == Py_None; }
  const handle& inc_ref() const {
    Py_XINCREF(object_);
    return *this;
  }
  object attr(const char* name) const;
  void set_attr(const char* name, handle value) const;

 protected:
  PyObject* object_ = nullptr;
};

// What the second argument of a constructor says of the reference that the first one is.
struct Borrowed {};
struct Stolen {};

// An owned reference, or null.
class object : public handle {
 public:
  object() = default;
  object(handle h, Borrowed) : handle(h) { Py_XINCREF(object_); }
  object(handle h, Stolen) : handle(h) {}
  object(const object& other) : object(other, Borrowed()) {}
  object(object&& other) noexcept : handle(other.release()) {}
  // The operators are for names alone: x.attr("y") = z would set a temporary.
  object& operator=(const object& other) & {
    object(other).swap(*this);
    return *this;
  }
  object& operator=(object&& other) & noexcept {
    object(std::move(other)).swap(*this);
    return *this;
  }
  ~object() { Py_XDECREF(object_); }

  handle release() { return std::exchange(object_, nullptr); }  // the caller owns the reference
  void swap(object& other) noexcept { std::swap(object_, other.object_); }
};

template <class T>
T reinterpret_borrow(handle h) {
  return T(h, Borrowed());
}
template <class T>
T reinterpret_steal(handle h) {
  return T(h, Stolen());
}

// caught() takes Python's current error, with its traceback, and clears it. raise_again() sets an error as
// the current one.
object caught();
void raise_again(const object& error);

// Python's current error as an exception of C++. restore() makes it the current one again.
class error_already_set : public std::exception {
 public:
  const char* what() const noexcept override { return "an error of Python"; }
  bool matches(handle type) const { return PyErr_GivenExceptionMatches(error_.ptr(), type.ptr()) != 0; }
  void restore() const { raise_again(error_); }

 private:
  object error_ = caught();
};

// Keeps the error that is set, if any, from code that asks for errors or sets its own.
class error_scope {
 public:
  error_scope() { PyErr_Fetch(&type_, &error_, &trace_); }
  ~error_scope() { PyErr_Restore(type_, error_, trace_); }
  error_scope(const error_scope&) = delete;

 private:
  PyObject *type_, *error_, *trace_;
};

// Keeps other threads of a Python without a GIL from changing the object.
class scoped_critical_section {
 public:
#ifdef Py_GIL_DISABLED
  explicit scoped_critical_section(handle h) { PyCriticalSection_Begin(&section_, h.ptr()); }
  ~scoped_critical_section() { PyCriticalSection_End(&section_); }

 private:
  PyCriticalSection section_;
#else
  explicit scoped_critical_section(handle) {}
  ~scoped_critical_section() {}  // not trivial: a variable of this type is used
#endif
};

// Takes over a new reference that a function of Python's C API has returned; throws Python's error where it
// is null.
inline object checked(PyObject* result) {
  if (!result) throw error_already_set();
  return reinterpret_steal<object>(result);
}
// The same for a function that returns -1 where it fails.
inline void check(Py_ssize_t result) {
  if (result < 0) throw error_already_set();
}

class none : public object {
 public:
  none() : object(Py_None, Borrowed()) {}
};

class bool_ : public object {
 public:
  using object::object;
  explicit bool_(bool x) : object(x ? Py_True : Py_False, Borrowed()) {}
};

class int_ : public object {
 public:
  using object::object;
  template <class T, std::enable_if_t<std::is_integral_v<T>, int> = 0>
  explicit int_(T x) : object(new_integer(x)) {}

 private:
  template <class T>
  static object new_integer(T x) {
    if constexpr (std::is_signed_v<T>)
      return checked(PyLong_FromLongLong(x));
    else
      return checked(PyLong_FromUnsignedLongLong(x));
  }
};

class float_ : public object {
 public:
  using object::object;
  explicit float_(double x) : object(checked(PyFloat_FromDouble(x))) {}
};

class str : public object {
 public:
  using object::object;
  explicit str(const char* text) : object(checked(PyUnicode_FromString(text))) {}
  explicit str(const std::string& text);
  explicit str(handle h) : object(checked(PyObject_Str(h.ptr()))) {}  // str(h) in Python
  operator std::string() const;
};

// A list or a tuple. It must not change while a loop reads it; the loop's items are borrowed.
class sequence : public object {
 public:
  using object::object;
  size_t size() const { return static_cast<size_t>(PySequence_Fast_GET_SIZE(ptr())); }
  bool empty() const { return size() == 0; }
  object operator[](size_t i) const;
  const handle* begin() const { return reinterpret_cast<const handle*>(PySequence_Fast_ITEMS(ptr())); }
  const handle* end() const { return begin() + size(); }
};

class tuple : public sequence {
 public:
  using sequence::sequence;
  tuple() : tuple(size_t{0}) {}
  explicit tuple(size_t size)
      : sequence(checked(PyTuple_New(static_cast<Py_ssize_t>(size))).release(), Stolen()) {}
  explicit tuple(const object& x) : sequence(checked(PySequence_Tuple(x.ptr())).release(), Stolen()) {}
  static bool check(handle h) { return PyTuple_Check(h.ptr()); }

  // Once for each item of a tuple that was made with a size.
  void set(size_t i, object value) {
    PyTuple_SET_ITEM(ptr(), static_cast<Py_ssize_t>(i), value.release().ptr());
  }
};

class list : public sequence {
 public:
  using sequence::sequence;
  list() : sequence(checked(PyList_New(0)).release(), Stolen()) {}
  static bool check(handle h) { return PyList_Check(h.ptr()); }

  void append(handle item) { py::check(PyList_Append(ptr(), item.ptr())); }
};

class dict : public object {
 public:
  using object::object;
  dict() : object(checked(PyDict_New())) {}
  static bool check(handle h) { return PyDict_Check(h.ptr()); }

  void set(const char* key, handle value) { py::check(PyDict_SetItemString(ptr(), key, value.ptr())); }
};

template <class T>
bool isinstance(handle h) {
  return T::check(h);
}
inline str repr(handle h) { return reinterpret_steal<str>(checked(PyObject_Repr(h.ptr())).release()); }
[[noreturn]] void raise(PyObject* type, const std::string& text);

}  // namespace ranvier::bind::py

namespace ranvier::bind {
using py::caught, py::checked, py::raise_again;
}

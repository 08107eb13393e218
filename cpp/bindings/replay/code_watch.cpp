// CodeWatch: the profile function of a recording, for python/ranvier/compile/guarding/traced_code.py.
//
// Python calls it for each function that begins or returns, and for each call of a C function. Most of these
// are of code that is known already, so only what is new is passed on to a TracedCode: `_enter`, `_catches`
// and `_calls` there say what it means. A recorded run then takes little more time than an eager one.
#include <frameobject.h>

#include <cstring>
#include <unordered_set>

#include "bindings/binder/classes.h"

namespace ranvier::bind {
namespace {

// What `TracedCode._enter` returns of code that runs for the first time.
enum Entered {
  kNoted = 1,    // never ask again; else ask again for another caller
  kUser = 2,     // code of the user's, whose calls of C functions are looked at
  kCatches = 4,  // may catch exceptions: each of its frames is passed to `_catches`
  kIgnored = 8,  // this frame, with all that it calls, is no part of the step; ask at each call
};

// What a C function is, for `_calls`: bound methods are made anew for each call, so their addresses say
// nothing. owner: the class of the object to which it is bound, or the module or class itself.
struct Callee {
  PyMethodDef* method;
  PyObject* module;
  PyObject* owner;
  bool operator==(const Callee& other) const {
    return method == other.method && module == other.module && owner == other.owner;
  }
};

struct PairHash {
  size_t operator()(const std::pair<PyObject*, PyObject*>& pair) const {
    return std::hash<PyObject*>()(pair.first) * 31 + std::hash<PyObject*>()(pair.second);
  }
};
struct CalleeHash {
  size_t operator()(const Callee& callee) const {
    return std::hash<PyMethodDef*>()(callee.method) * 31 + std::hash<PyObject*>()(callee.owner);
  }
};

py::object code_of(PyFrameObject* frame) {
  return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetCode(frame)));
}

}  // namespace

class CodeWatch {
 public:
  // package: the folder of the library's own code, with the separator at its end.
  explicit CodeWatch(std::string package) : package_(std::move(package)) {}
  // From now on this thread's calls are noted. traced: the TracedCode; its methods are called until end().
  void begin(const py::object& traced) {
    traced_ = traced;
    PyEval_SetProfile(on_event, checked(PyCapsule_New(this, nullptr, nullptr)).ptr());
  }
  void end() {
    PyEval_SetProfile(nullptr, nullptr);
    ignored_ = py::object();
    traced_ = py::object();
  }
  bool ignores() const { return static_cast<bool>(ignored_); }
  // The code of the library that ran, without what `_enter` was asked about.
  py::list library() const {
    py::list codes;
    for (const py::object& code : library_) codes.append(code);
    return codes;
  }
  // True if code other than the user's has called the C function.
  bool has_called(const py::object& function) const { return called_.count(function.ptr()) > 0; }

 private:
  static int on_event(PyObject* capsule, PyFrameObject* frame, int what, PyObject* arg) try {
    auto* const watch = static_cast<CodeWatch*>(PyCapsule_GetPointer(capsule, nullptr));
    if (what == PyTrace_CALL) {
      watch->on_call(frame);
    } else if (what == PyTrace_RETURN) {
      if (watch->ignored_.ptr() == reinterpret_cast<PyObject*>(frame)) watch->ignored_ = py::object();
    } else if (what == PyTrace_C_CALL && !watch->ignored_) {
      watch->on_c_call(frame, arg);
    }
    return 0;
  } catch (...) {
    detail::raise_in_python();
    return -1;
  }

  void on_call(PyFrameObject* frame) {
    const py::object code = code_of(frame);
    if (!ignored_ && !noted_.count(code.ptr()) && !is_known_from(frame, code)) enter(frame, code);
    if (catching_.count(code.ptr())) checked(PyObject_CallMethod(traced_.ptr(), "_catches", "O", frame));
  }

  // True if this code was entered before from code of the same caller.
  bool is_known_from(PyFrameObject* frame, const py::object& code) {
    if (asked_.empty()) return false;
    return asked_.count({code.ptr(), caller_of(frame).ptr()}) > 0;
  }

  // The code that called that of the frame; null if nothing did.
  static py::object caller_of(PyFrameObject* frame) {
    const auto back = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetBack(frame)));
    if (!back) return {};
    return code_of(reinterpret_cast<PyFrameObject*>(back.ptr()));
  }

  // True for functions of the library, except special methods: some of them show all settings of an object.
  bool is_plain_library(const py::object& code) const {
    const auto* const c = reinterpret_cast<PyCodeObject*>(code.ptr());
    const char* const file = PyUnicode_AsUTF8(c->co_filename);
    const char* const name = PyUnicode_AsUTF8(c->co_name);
    if (!file || !name) {
      PyErr_Clear();  // a path that is no UTF-8: that of the package is
      return false;
    }
    return std::strncmp(file, package_.c_str(), package_.size()) == 0 && std::strncmp(name, "__", 2) != 0;
  }

  void enter(PyFrameObject* frame, const py::object& code) {
    if (is_plain_library(code)) {
      noted_.insert(code.ptr());
      library_.push_back(code);
      return;
    }
    const py::object answer = checked(PyObject_CallMethod(traced_.ptr(), "_enter", "OO", frame, code.ptr()));
    const long entered = PyLong_AsLong(answer.ptr());
    if (entered == -1 && PyErr_Occurred()) throw py::error_already_set();
    if (entered & kIgnored) {
      ignored_ = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(frame));
      return;
    }
    kept_.push_back(code);
    if (entered & kUser) user_.insert(code.ptr());
    if (entered & kCatches) catching_.insert(code.ptr());
    if (entered & kNoted) {
      noted_.insert(code.ptr());
      return;
    }
    const py::object caller = caller_of(frame);
    kept_.push_back(caller);
    asked_.insert({code.ptr(), caller.ptr()});
  }

  void on_c_call(PyFrameObject* frame, PyObject* function) {
    if (!user_.count(code_of(frame).ptr())) {
      called_.insert(function);
      return;
    }
    const bool is_plain = PyCFunction_Check(function);
    const Callee callee = is_plain ? callee_of(function) : Callee{};
    if (is_plain && allowed_.count(callee)) return;
    const py::object answer = checked(PyObject_CallMethod(traced_.ptr(), "_calls", "OO", function, frame));
    if (is_plain && answer.ptr() == Py_True) {
      kept_.push_back(py::reinterpret_borrow<py::object>(callee.owner));
      allowed_.insert(callee);
    }
  }

  static Callee callee_of(PyObject* function) {
    const auto* const c = reinterpret_cast<PyCFunctionObject*>(function);
    PyObject* owner = c->m_self;
    const bool is_bound = owner && !PyType_Check(owner) && !PyModule_Check(owner);
    if (is_bound) owner = reinterpret_cast<PyObject*>(Py_TYPE(owner));
    return {c->m_ml, c->m_module, owner};
  }

  std::string package_;
  py::object traced_;   // the TracedCode, between begin() and end()
  py::object ignored_;  // a running frame that, with all its calls, is no part of the step
  std::vector<py::object> library_;
  // Code: that `_enter` is not asked about again; other code with its caller's; that of the user's; that
  // which may catch exceptions.
  std::unordered_set<PyObject*> noted_;
  std::unordered_set<std::pair<PyObject*, PyObject*>, PairHash> asked_;
  std::unordered_set<PyObject*> user_;
  std::unordered_set<PyObject*> catching_;
  std::unordered_set<Callee, CalleeHash> allowed_;  // C functions that the user's code may call
  std::vector<py::object> kept_;  // so that no address in the sets above gets another object
  // C functions that other code has called. A bound method is made for one call: its address may be that of
  // another function later, so has_called() may say true too often, and a step then runs eagerly.
  std::unordered_set<PyObject*> called_;
};

namespace {

PyMethodDef g_code_watch[] = {
    method<&CodeWatch::begin>("begin", "begin(self: CodeWatch, traced: Any, /) -> None"),
    method<&CodeWatch::end>("end", "end(self: CodeWatch) -> None"),
    method<&CodeWatch::ignores>("ignores", "ignores(self: CodeWatch) -> bool"),
    method<&CodeWatch::library>("library", "library(self: CodeWatch) -> list[Any]"),
    method<&CodeWatch::has_called>("has_called", "has_called(self: CodeWatch, function: Any, /) -> bool"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_code_watch(Module m) {
  add_class<CodeWatch>(m, "ranvier._core.CodeWatch", "__new__(cls, package: str, /) -> CodeWatch",
                       {constructor<CodeWatch, std::string>(), {Py_tp_methods, g_code_watch}});
}

}  // namespace ranvier::bind

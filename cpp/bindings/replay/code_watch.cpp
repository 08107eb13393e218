// CodeWatch: finds the code that a recording enters, for python/ranvier/compile/guarding/traced_code.py.
//
// Python calls a profile function for each function that begins or returns, and for each call of a C
// function. Most of these are of code that is known already, so only what is new is passed on to a
// TracedCode: `_enter`, `_catches` and `_calls` there say what it means.
//
// While a profile function is set, Python 3.11 takes two to three times as long for each instruction. But C
// functions have to be seen in the user's code only. So in Python 3.11 a frame evaluation function (PEP 523),
// which Python calls where a frame begins, finds the code, and the profile function sleeps outside the user's
// code. Where a debugger traces the thread, or another program has set such a function, the profile function
// finds the code, as in other versions.
#include "bindings/binder/classes.h"

#include <frameobject.h>

#include <cstring>
#include <unordered_map>
#include <unordered_set>

#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
#define RANVIER_WATCHES_FRAMES
#define Py_BUILD_CORE 1
#include <internal/pycore_frame.h>
#undef Py_BUILD_CORE
#endif

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

py::object variables_of(PyFrameObject* frame) {
  return checked(PyObject_GetAttrString(reinterpret_cast<PyObject*>(frame), "f_globals"));
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
    begin_frames();
  }
  void end() {
    end_frames();
    PyEval_SetProfile(nullptr, nullptr);
    ignored_ = nullptr;
    traced_ = py::object();
  }
  bool ignores() const { return ignored_ != nullptr; }
  // The code of the library that ran, without what `_enter` was asked about.
  py::list library() const {
    py::list codes;
    for (const py::object& code : library_) codes.append(code);
    return codes;
  }

 private:
  static int on_event(PyObject* capsule, PyFrameObject* frame, int what, PyObject* arg) try {
    auto* const watch = static_cast<CodeWatch*>(PyCapsule_GetPointer(capsule, nullptr));
    if (what == PyTrace_CALL) {
      watch->on_call(frame);
    } else if (what == PyTrace_RETURN) {
      if (watch->ignored_ == frame) watch->ignored_ = nullptr;
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
    int entered = known(code.ptr());
    if (!entered && !ignored_ && !watches_frames_) {
      const auto caller =
          py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetBack(frame)));
      entered = enter(code, variables_of(frame), caller);
      if (entered & kIgnored) ignored_ = frame;
    }
    if (entered & kCatches) checked(PyObject_CallMethod(traced_.ptr(), "_catches", "O", frame));
  }

  // What is known of code that is noted; 0: it is not noted.
  int known(PyObject* code) const {
    const auto found = known_.find(code);
    return found == known_.end() ? 0 : found->second;
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

  // Notes code that runs. variables: its globals. caller: the frame that has called it, or null.
  // Returns a sum of flags of Entered.
  int enter(const py::object& code, const py::object& variables, const py::object& caller) {
    if (is_plain_library(code)) {
      known_[code.ptr()] = kNoted;
      library_.push_back(code);
      return kNoted;
    }
    const py::object callers_code = caller ? code_of(reinterpret_cast<PyFrameObject*>(caller.ptr())) : caller;
    if (asked_.count({code.ptr(), callers_code.ptr()})) return 0;
    PyObject* const from = caller ? caller.ptr() : Py_None;
    const py::object answer =
        checked(PyObject_CallMethod(traced_.ptr(), "_enter", "OOO", code.ptr(), variables.ptr(), from));
    const long entered = PyLong_AsLong(answer.ptr());
    if (entered == -1 && PyErr_Occurred()) throw py::error_already_set();
    if (entered & kIgnored) return kIgnored;
    kept_.push_back(code);
    if (entered & kNoted) {
      known_[code.ptr()] = static_cast<int>(entered);
      return static_cast<int>(entered);
    }
    kept_.push_back(callers_code);
    asked_.insert({code.ptr(), callers_code.ptr()});
    return 0;
  }

  void on_c_call(PyFrameObject* frame, PyObject* function) {
    if (!(known(code_of(frame).ptr()) & kUser)) return;
    const bool is_plain = PyCFunction_Check(function);
    const Callee callee = is_plain ? callee_of(function) : Callee{};
    if (is_plain && allowed_.count(callee)) return;
    checked(PyObject_CallMethod(traced_.ptr(), "_calls", "O", function));
    if (!is_plain) return;
    kept_.push_back(py::reinterpret_borrow<py::object>(callee.owner));
    allowed_.insert(callee);
  }

  static Callee callee_of(PyObject* function) {
    const auto* const c = reinterpret_cast<PyCFunctionObject*>(function);
    PyObject* owner = c->m_self;
    const bool is_bound = owner && !PyType_Check(owner) && !PyModule_Check(owner);
    if (is_bound) owner = reinterpret_cast<PyObject*>(Py_TYPE(owner));
    return {c->m_ml, c->m_module, owner};
  }

#ifdef RANVIER_WATCHES_FRAMES
  void begin_frames() {
    PyThreadState* const thread = PyThreadState_Get();
    PyInterpreterState* const interpreter = thread->interp;
    const _PyFrameEvalFunction now = _PyInterpreterState_GetEvalFrameFunc(interpreter);
    if (thread->c_tracefunc || (now != _PyEval_EvalFrameDefault && now != on_frame)) return;
    _PyInterpreterState_SetEvalFrameFunc(interpreter, on_frame);
    ++g_watches;
    t_watch = this;
    watches_frames_ = sleeps_ = true;
    PyThreadState_EnterTracing(thread);
  }

  void end_frames() {
    if (!watches_frames_) return;
    PyThreadState* const thread = PyThreadState_Get();
    PyThreadState_LeaveTracing(thread);
    watches_frames_ = sleeps_ = false;
    t_watch = nullptr;
    --g_watches;
    if (g_watches == 0 && _PyInterpreterState_GetEvalFrameFunc(thread->interp) == on_frame)
      _PyInterpreterState_SetEvalFrameFunc(thread->interp, _PyEval_EvalFrameDefault);
  }

  static PyObject* on_frame(PyThreadState* thread, _PyInterpreterFrame* frame, int has_raised) {
    CodeWatch* const watch = t_watch;
    // Python raises `tracing` also while it calls a profile or trace function, which is no part of the step.
    if (!watch || watch->ignored_ || thread->tracing > int{watch->sleeps_})
      return _PyEval_EvalFrameDefault(thread, frame, has_raised);
    return watch->evaluate(thread, frame, has_raised);
  }

  PyObject* evaluate(PyThreadState* thread, _PyInterpreterFrame* frame, int has_raised) {
    int entered;
    try {
      entered = entered_by(thread, frame);
    } catch (...) {
      detail::raise_in_python();
      return nullptr;
    }
    if (entered & kIgnored) ignored_ = frame;
    const bool slept = switch_profile(thread, !(entered & kUser));
    PyObject* const result = _PyEval_EvalFrameDefault(thread, frame, has_raised);
    switch_profile(thread, slept);
    if (ignored_ == frame) ignored_ = nullptr;
    return result;
  }

  // What is known of the code of a frame that begins.
  int entered_by(PyThreadState* thread, _PyInterpreterFrame* frame) {
    const auto code = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(frame->f_code));
    const int before = known(code.ptr());
    if (before) return before;
    const auto variables = py::reinterpret_borrow<py::object>(frame->f_globals);
    const auto caller =
        py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyThreadState_GetFrame(thread)));
    const Aside aside(*this, thread);
    return enter(code, variables, caller);
  }

  // While this exists, nothing that the thread runs is noted.
  class Aside {
   public:
    Aside(CodeWatch& watch, PyThreadState* thread)
        : watch_(watch), thread_(thread), slept_(watch.switch_profile(thread, true)) {
      ++thread->tracing;
    }
    ~Aside() {
      --thread_->tracing;
      watch_.switch_profile(thread_, slept_);
    }
    Aside(const Aside&) = delete;
    Aside& operator=(const Aside&) = delete;

   private:
    CodeWatch& watch_;
    PyThreadState* const thread_;
    const bool slept_;
  };

  // Lets the profile function sleep, or wakes it; returns whether it slept. Nothing after end_frames(), which
  // is called in a frame that evaluate() has begun.
  bool switch_profile(PyThreadState* thread, bool sleeps) {
    if (sleeps == sleeps_ || !watches_frames_) return sleeps;
    sleeps_ = sleeps;
    if (sleeps)
      PyThreadState_EnterTracing(thread);
    else
      PyThreadState_LeaveTracing(thread);
    return !sleeps;
  }

  static inline int g_watches = 0;  // of all threads
  static inline thread_local CodeWatch* t_watch = nullptr;
#else
  void begin_frames() {}
  void end_frames() {}
#endif

  std::string package_;
  py::object traced_;              // the TracedCode, between begin() and end()
  const void* ignored_ = nullptr;  // a running frame that, with all its calls, is no part of the step
  bool watches_frames_ = false;    // whether a frame evaluation function finds the code
  bool sleeps_ = false;            // whether the profile function is not called at the moment
  std::vector<py::object> library_;
  std::unordered_map<PyObject*, int> known_;  // by code: what `_enter` has said, if it is not asked again
  // Other code, with that of its caller.
  std::unordered_set<std::pair<PyObject*, PyObject*>, PairHash> asked_;
  std::unordered_set<Callee, CalleeHash> allowed_;  // C functions that the user's code may call
  std::vector<py::object> kept_;  // so that no address in the tables above gets another object
};

namespace {

PyMethodDef g_code_watch[] = {
    method<&CodeWatch::begin>("begin", "begin(self: CodeWatch, traced: Any, /) -> None"),
    method<&CodeWatch::end>("end", "end(self: CodeWatch) -> None"),
    method<&CodeWatch::ignores>("ignores", "ignores(self: CodeWatch) -> bool"),
    method<&CodeWatch::library>("library", "library(self: CodeWatch) -> list[Any]"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_code_watch(Module m) {
  add_class<CodeWatch>(m, "ranvier._core.CodeWatch", "__new__(cls, package: str, /) -> CodeWatch",
                       {constructor<CodeWatch, std::string>(), {Py_tp_methods, g_code_watch}});
}

}  // namespace ranvier::bind

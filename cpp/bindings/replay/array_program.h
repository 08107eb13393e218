// ArrayProgram: a recorded step, as Python replays it.
//
// A Program (cpp/program) runs kernel calls on addresses. What Python has to see around a run is here:
//
//   before it     the call is compared with the signature of the recorded one, and the guards with their
//   values;
//                 the program is pointed at the arrays of the call, and at gradients that a run adds to
//   after it      arrays of the results are handed out, gradients are set, changes in place counted
//
// array_program.cpp has a call from begin to end, array_program_gradients.cpp what a run finds and leaves in
// Tensors, array_program_watch.cpp what follows from parameters alone, batch_run.cpp many runs in one call,
// program_form.cpp programs that are made for another step.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "bindings/binder/array_args.h"
#include "bindings/replay/array_recording.h"
#include "bindings/replay/guards.h"
#include "bindings/replay/signature.h"
#include "program/check.h"
#include "program/program.h"

namespace ranvier::bind {

class BatchRun;
class ProgramForm;

// An array among the arguments: its layout in the recording, which kernels choose the order of a sum by.
struct ArrayArgument : ArrayLayout {
  py::object copy;  // an array that is not aligned to its elements is copied here; null before the first
  bool contiguous;

  explicit ArrayArgument(py::handle recorded);
  // The array, or its copy.
  py::handle aligned(py::handle array);
};

// A result: a view of an output's memory.
struct ResultForm : ArrayLayout {
  int output;  // its number; -1: it is a gradient that the step leaves as well
  int kept;    // number of this gradient's memory
  bool whole;  // the only result in its output, which it fills

  py::object make(py::handle memory) const;  // memory: uint8, contiguous
};

// A gradient that a run leaves, or removes (tensor is None).
struct Gradient {
  py::object leaf, tensor;
  int kept = -1;               // number of its memory, for Program::set_kept; -1: it stays where it is
  const void* data = nullptr;  // where the program writes it. No reference to the array: autograd counts them

  // True if the caller has kept the tensor, or its array, of the run before.
  bool is_held() const;
};

// A gradient that a run reads and adds to. Its memory may differ from run to run.
struct MovableGradient {
  py::object leaf;
  int kept;    // for Program::set_kept
  char* home;  // where it was in the recording; the memory stays allocated
  int64_t bytes;
};

// A Tensor whose changes are counted.
struct WatchedTensor {
  py::list cell;
  int64_t changes;  // when last looked at
};

// Settings that all programs of one form have in common.
struct ProgramSettings {
  int runs = 0;     // those that were measured
  int outputs = 0;  // blocks of memory that the results are in
  int team = 1;
  Isa isa{};
  KernelSettings kernels{};
  std::vector<ResultForm> results;
};

class ArrayProgram {
 public:
  friend class ArrayCheck;
  friend class BatchRun;
  friend class ProgramForm;
  // --- how it is made
  // arguments: arrays as those of a call. kept: arrays of the gradients that a run leaves. watched: Tensors
  // whose changes are counted: what follows from them alone is computed after a change only.
  ArrayProgram(ArrayRecording& recording, const py::list& arguments, const py::list& results,
               const py::list& kept, const py::list& watched);
  // A program of a form. lasting: the arrays that outlive a run.
  ArrayProgram(const std::shared_ptr<ProgramForm>& form, const ProgramSettings& settings,
               std::unique_ptr<Program> program, const std::vector<py::handle>& lasting,
               const py::list& arguments);
  ~ArrayProgram();
  // signature: of the calls that it serves. gradients: (leaf, Tensor or None, number among `kept` or -1), set
  // after a run. changed: the Tensors that a run changes in place: the tape compares their counters. renew:
  // makes a Tensor of the same shape and strides in new memory. reached: Tensors that guards hold, which are
  // no arguments.
  void set_call(const Signature& signature, const py::list& gradients, const py::list& changed,
                const py::object& renew, const py::list& reached);
  void set_guards(const py::list& guards);
  // found: (leaf, region) of the gradients that may move.
  void let_move(const py::list& found);
  // Puts the values of the leaves' present gradients into the program's own, which then take their place.
  void adopt_gradients();

  // --- whether it may run
  int64_t checks_left = 0;  // calls until the next check beside an eager run; negative: no more checks
  bool is_current();
  int first_changed();  // the first guard that does not hold; -1: all do
  // True if an array shares memory with what a run changes: whether it is read before or after that is not
  // defined.
  bool overlaps(const py::list& arrays) const;
  // True if an argument shares such memory, or is a Tensor that guards hold.
  bool meets(const py::tuple& arguments, const py::dict& keywords);

  // --- runs
  // A whole call with these arguments (keywords: a dict or null); None where it is not of the signature, or
  // has to be checked first, False where a check of values fails: nothing has changed then, and the eager
  // step raises the error.
  py::object call(const py::tuple& arguments, PyObject* keywords);
  void set_threads(bool solo);

  // --- what it shows, and Python's garbage collector
  size_t results() const { return settings_.results.size(); }
  py::list gradients();  // (leaf, Tensor or None)
  std::string other_path(const ArrayRecording& eager) const { return ranvier::other_path(*program_, eager); }
  template <class F>
  auto with_program(F f) {
    const Turn turn(*this);
    return f(*program_);
  }
  int visit(visitproc visit, void* arg) const;
  void clear();
  static void set_up();  // once, while the module loads

 private:
  // A lock on the program. While one exists, other threads wait for theirs, without the GIL. RuntimeError if
  // this thread has one already.
  class Turn {
   public:
    explicit Turn(ArrayProgram& program);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ArrayProgram& program() const { return program_; }

   private:
    ArrayProgram& program_;
  };

  // --- how it is made
  void add_result(const ArrayRecording& recording, py::handle result, Regions& regions);
  void hold(const OwnedMemory& memory);
  void find_written();
  void add_to_programs();

  // --- calls (array_program.cpp)
  bool holds();  // true if a replay does what the step would do
  bool read(Signature& call, const py::tuple& arguments, PyObject* keywords) const;
  // Reads a call; false if it differs from the recorded one.
  bool fits(Signature& call, const py::tuple& arguments, PyObject* keywords) const;
  bool meets(const Signature& call) const;
  bool writes_into(py::handle array) const;
  // The results; False where a check of values failed; None where a gradient is gone.
  py::object run_on(const std::vector<py::object>& arrays);
  void prepare(const std::vector<py::object>& arrays, std::vector<py::object>& memory);
  bool run();
  void forget_times();

  // --- results and gradients (array_program_gradients.cpp)
  py::object new_output(int number) const;
  py::object make_result(const ResultForm& form, const std::vector<py::object>& memory) const;
  std::vector<py::object> find_gradients();
  bool gradients_are_apart() const;
  bool meets_movable_gradient(const char* first, const char* last) const;  // in the bytes [first, last)
  void release_held_gradients();
  void renew(Gradient& gradient);
  // Before runs: held gets the gradients that they add to. False where one is gone.
  bool begin_runs(std::vector<py::object>& held);
  void end_runs() const;
  void set_gradients() const;

  // --- what follows from watched Tensors (array_program_watch.cpp)
  void watch();
  void keep_watched(const std::vector<int>& regions);

  // Which call it is, and what it depends on.
  std::optional<Signature> signature_;  // null before set_call(), and after clear()
  std::vector<ArrayArgument> arguments_;
  Guards guards_;
  std::vector<PyObject*> reached_;  // Tensors that guards hold
  // State that runs change and leave.
  ProgramSettings settings_;
  std::vector<Gradient> gradients_;
  std::vector<MovableGradient> movable_;
  std::vector<const char*> fixed_;                            // the begins of other persistent memory
  std::vector<std::pair<const char*, const char*>> written_;  // persistent memory, without kept gradients
  std::vector<std::pair<py::list, py::object>> changed_;      // cell and array of each Tensor
  std::vector<WatchedTensor> watched_;
  py::object renew_;  // see set_call()
  // Owners of memory that the program uses, kept from being freed.
  std::vector<Pin> pins_;
  std::vector<py::object> owners_;
  std::vector<std::unique_ptr<HostSite>> sites_;
  // Its runs.
  std::mutex mutex_;                       // held during a Turn
  std::atomic<std::thread::id> runner_{};  // the thread whose turn it is
  bool without_team_ = false;              // whether other threads left no team while times were measured
  Signature spare_call_;                   // empty but for its memory, which the next call has again, as ...
  std::vector<py::object> spare_memory_;   // ... this
  std::shared_ptr<ProgramForm> shared_;    // what it has in common with others, if that is known
  std::unique_ptr<Program> program_;
};

// A check of a program beside an eager run with these arrays as arguments, which begins after it and is
// recorded.
class ArrayCheck {
 public:
  ArrayCheck(const py::object& program, const py::object& eager, const py::list& arrays);
  std::string finish();  // what differs
  bool disturbed() const { return check_ && check_->disturbed(); }

 private:
  const py::object held_[2];
  ArrayProgram& program_;
  std::vector<py::object> arrays_;
  std::optional<Check> check_;
};

// The core of a `_core.Program`.
ArrayProgram& program_of(PyObject* self);

}  // namespace ranvier::bind

// ArrayProgram: a recorded step, as Python replays it.
//
// A Program (program/program.h) runs kernel calls on addresses and knows nothing of Python. An ArrayProgram
// has one, and does what Python has to see around a run:
//
//   before the run: it compares the call with the signature of the recorded call, and all guards with their
//   values; then it points the Program at the arrays of this call and at the gradients that the run adds to.
//
//   after the run: it returns arrays of the results, sets gradients, and counts changes in place.
//
// array_program.cpp has a call from begin to end; array_program_gradients.cpp results, gradients and counts;
// array_program_watch.cpp what is computed from parameters only; batch_run.cpp many runs in one call;
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
#include "bindings/binder/held.h"
#include "bindings/replay/array_recording.h"
#include "bindings/replay/guards.h"
#include "bindings/replay/signature.h"
#include "program/check.h"
#include "program/program.h"

namespace ranvier::bind {

class BatchRun;
class ProgramForm;

// An array among the arguments, with its layout in the recording. A replay needs the same layout, by which
// kernels choose the order of their sums.
struct ArrayArgument : ArrayLayout {
  py::object copy;  // an array not aligned to its elements is copied to this one; null until then
  bool contiguous;

  explicit ArrayArgument(py::handle recorded);
  // The array itself if it is aligned and in native byte order, else `copy` with its elements.
  py::handle aligned(py::handle array);
};

// A result of the step: where it lies in an output, a block of memory that is new in each run. Several
// results may be views of one output.
struct ResultForm : ArrayLayout {
  int output;  // the number of the output; -1: the result is also a gradient that the step leaves
  int kept;    // the number of this gradient's memory, for Program::set_kept; -1: it is no gradient
  bool whole;  // it is the only result in its output, and fills it

  py::object make(py::handle memory) const;  // the array; memory: the output, contiguous uint8
};

// What a leaf's grad is after a run.
struct Gradient {
  py::object leaf;
  py::object tensor;  // the grad; None: the run removes it
  int kept = -1;      // the number of its memory, for Program::set_kept; -1: its memory never changes
  const void* data = nullptr;  // where the program writes it. This is no reference to the array, because
                               // autograd counts references

  // True if the caller has kept the tensor of the last run, or its array.
  bool is_held() const;
};

// A gradient of an earlier step that a run reads or adds to. Its memory may differ from run to run.
struct MovableGradient {
  py::object leaf;
  int kept;    // the number of its memory, for Program::set_kept
  char* home;  // its address in the recording; this memory stays allocated
  int64_t bytes;
  const char* found = nullptr;  // its address when find_gradients() was called last
};

// A Tensor whose changes in place are counted in its cell (tensors/cell.h).
struct WatchedTensor {
  py::object cell;
  int64_t changes;  // the count when it was last compared
  int buffer;       // the number of its memory in Program::buffers()
};

// What all programs of one form (program_form.h) have in common.
struct ProgramSettings {
  int runs = 0;     // how many runs were measured; INT_MAX: none is to be measured
  int outputs = 0;  // how many blocks of memory the results are in
  int team = 1;     // threads
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
  // arguments, results: the arrays of the recorded call. kept: the arrays of the gradients that it left.
  // watched: Tensors, such as parameters, whose changes are counted: a value that depends on them only is
  // computed again only after a change.
  ArrayProgram(ArrayRecording& recording, const py::list& arguments, const py::list& results,
               const py::list& kept, const py::list& watched);
  // A program of a form. lasting: the arrays that outlive a run. arguments: arrays like those of a call.
  ArrayProgram(const std::shared_ptr<ProgramForm>& form, const ProgramSettings& settings,
               std::unique_ptr<Program> program, const std::vector<py::handle>& lasting,
               const py::list& arguments);
  ~ArrayProgram();
  // signature: of the calls that it serves.
  // gradients: tuples (leaf, Tensor or None, number in `kept` or -1): what each leaf's grad is after a run.
  // changed: the Tensors that a run changes in place. Their changes are counted, as the tape compares counts.
  // renew: a function of Python that makes a Tensor of the same shape and strides in new memory.
  // reached: Tensors that guards hold, and that must not be arguments as well.
  void set_call(const Signature& signature, const py::list& gradients, const py::list& changed,
                const py::object& renew, const py::list& reached);
  void set_guards(const py::list& guards);
  // found: tuples (leaf, region of the recording) of the gradients that become MovableGradients. Called at
  // most once, before the first run.
  void let_move(const py::list& found);
  // Copies the values of the leaves' present grads into the program's own Tensors, which become the grads.
  void adopt_gradients();

  // --- whether it may run
  int64_t checks_left = 0;  // calls until the next check beside an eager run; negative: no more checks
  bool is_current();        // true if settings and guards are those of the recording
  int first_changed();      // the first guard that does not hold; -1: all do
  // True if an array shares memory with what a run changes. A run must not get such an argument: it is not
  // defined whether it is read before or after the change.
  bool overlaps(const py::list& arrays) const;
  // True if an argument shares such memory, or is a Tensor that guards hold.
  bool meets(const py::tuple& arguments, const py::dict& keywords);

  // --- runs
  // A whole call with these arguments (keywords: a dict or null): the tuple of results. None if the program
  // cannot serve the call, or a check beside an eager run is due. False if a check of values in the step
  // failed, such as an index out of range: then nothing has changed, and the eager step raises the error.
  py::object call(const py::tuple& arguments, PyObject* keywords);
  void set_threads(bool solo);  // from now on all on one thread, or all on the team: for tests

  // --- information for Python, and Python's garbage collector
  size_t results() const { return settings_.results.size(); }
  py::list gradients();      // (leaf, Tensor or None)
  py::list watched() const;  // the cells of the watched Tensors
  size_t prepared_share() const { return program_->prepared_share(); }
  std::string other_path(const ArrayRecording& eager) const { return ranvier::other_path(*program_, eager); }
  template <class F>  // f(program), while no other thread runs it
  auto with_program(F f) {
    const Turn turn(*this);
    return f(*program_);
  }
  int visit(visitproc visit, void* arg) const;
  void clear();
  static void set_up();  // once, while the module loads

 private:
  // A lock on the program. While a Turn exists, other threads that make one wait, without the GIL.
  // RuntimeError if this thread has one already, as in a signal handler that calls the step.
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
  bool holds();  // true if settings, guards and gradients are as a replay needs them
  // Reads a call; false if it cannot be compared with others.
  bool read(Signature& call, const py::tuple& arguments, PyObject* keywords) const;
  // The same; false also if it differs from the recorded call.
  bool fits(Signature& call, const py::tuple& arguments, PyObject* keywords) const;
  bool meets(const Signature& call) const;
  bool writes_into(py::handle array) const;
  // Runs on the arrays of the arguments. The results; False if a check of values failed; None if another
  // thread has just removed a gradient that the run needs, or if there is no memory.
  py::object run_on(const std::vector<py::object>& arrays);
  // Points the program at its arguments, and at new outputs, which are appended to `memory`.
  void prepare(const std::vector<py::object>& arrays, std::vector<py::object>& memory);
  bool run();  // false if a check of values failed
  void forget_times();

  // --- results and gradients (array_program_gradients.cpp)
  py::object new_output(int number) const;
  py::object make_result(const ResultForm& form, const std::vector<py::object>& memory) const;
  std::vector<py::object> find_gradients();
  bool gradients_are_apart() const;
  bool meets_movable_gradient(const char* first, const char* last) const;  // in the bytes [first, last)
  void release_held_gradients();
  void drop_large_gradients();
  void renew(Gradient& gradient);
  // To be called before runs: `held` gets the arrays of the gradients that they add to, which the caller
  // keeps until the runs end. False if a leaf has no gradient any more, or if there is no memory.
  bool begin_runs(std::vector<py::object>& held);
  void end_runs() const;
  void set_gradients() const;
  // For ArrayCheck::compare(), before and after a run of the program beside an eager one.
  bool has_comparable_gradients() const;
  std::vector<Pin> pinned_gradients() const;
  std::vector<uint64_t> fingerprints(const std::vector<py::object>& memory) const;
  std::string difference(const py::list& results, const std::vector<uint64_t>& made) const;

  // --- values that depend on watched Tensors only (array_program_watch.cpp)
  void watch();
  void keep_watched();

  // The call that it serves, and what it depends on.
  std::optional<Signature> signature_;  // null before set_call(), and after clear()
  std::vector<ArrayArgument> arguments_;
  Guards guards_;
  std::vector<PyObject*> reached_;  // Tensors that guards hold, sorted
  // What runs leave and change.
  ProgramSettings settings_;
  std::vector<Gradient> gradients_;
  std::vector<MovableGradient> movable_;
  std::vector<const char*> fixed_;  // sorted addresses of persistent buffers that are no kept gradients
  // The bytes [first, last) of persistent memory that runs write, without kept gradients.
  std::vector<std::pair<const char*, const char*>> written_;
  std::vector<std::pair<py::object, py::object>> changed_;  // cell and array of each Tensor
  std::vector<WatchedTensor> watched_;
  bool has_watched_ = false;  // watch() was called
  py::object renew_;          // see set_call()
  // Keep the memory that the program uses from being freed (OwnedMemory in array_recording.h).
  std::vector<Pin> pins_;
  std::vector<py::object> owners_;
  std::vector<std::shared_ptr<HostSite>> sites_;
  // Its runs.
  std::mutex mutex_;                       // held during a Turn
  std::atomic<std::thread::id> runner_{};  // the thread that has the Turn
  bool without_team_ = false;              // true if other threads left no team while times were measured
  Signature spare_call_;                   // empty between calls; the next call reuses its memory
  std::vector<py::object> spare_memory_;   // the same
  std::shared_ptr<ProgramForm> shared_;    // its form, if one was made
  // What the step calls, by calls_made(): in the last recorded check, and in the last comparison that another
  // recorded check has followed. A recording makes other calls where an op uses NumPy without one.
  uint64_t recorded_calls_ = 0;
  uint64_t compared_calls_ = 0;
  std::unique_ptr<Program> program_;
};

// Compares a program with an eager run of the same step (program/check.h). It is made before the eager run,
// which is recorded in `eager`, or not recorded if this is None; arrays: the arguments of the call.
class ArrayCheck {
 public:
  ArrayCheck(const py::object& program, const py::object& eager, const py::list& arrays);
  std::string finish();  // after the eager run: what differs, or ""
  // The same for a run that was not recorded. results: its new arrays, as the program makes them. None if the
  // run and the program cannot be compared, because a gradient has moved, or exists in one of them only; or
  // if the run makes kernel calls that are new. A recorded check has to follow.
  py::object compare(const py::list& results);
  bool disturbed() const { return check_ && check_->disturbed(); }
  bool is_complete() const { return check_ && check_->is_complete(); }

 private:
  Check::Around around(std::vector<py::object>& outputs);  // outputs: of the program
  std::string difference();
  const py::object held_[2];
  const Recording* eager_ = nullptr;  // null: not recorded
  ArrayProgram& program_;
  std::vector<py::object> arrays_;
  // Of gradients that the run may free although the program reads them. References would not do: autograd
  // counts those to a gradient's array.
  std::vector<Pin> pins_;
  std::vector<uint64_t> made_;  // ArrayProgram::fingerprints, if the run is not recorded
  std::optional<Check> check_;
};

// The core of a `_core.Program`.
ArrayProgram& program_of(PyObject* self);

}  // namespace ranvier::bind

// ArrayProgram: a Program as Python calls it. It checks the arguments, points the program at them, and makes
// arrays of the results.
#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/isa.h"
#include "base/precision.h"
#include "bindings/array_args.h"
#include "bindings/array_recording.h"
#include "bindings/guards.h"
#include "program/check.h"
#include "program/program.h"

namespace ranvier::bind {

// A gradient that a run leaves, or removes (tensor is None).
struct Gradient {
  py::object leaf, tensor;
  int kept = -1;               // its place among the program's kept memory; -1: it stays where it is
  const void* data = nullptr;  // where the program writes it. No reference to the array: autograd counts them

  // Whether the caller has kept the tensor, or its array, of the run before.
  bool is_held() const;
};

// A gradient that a run reads and adds to. Its memory may differ from run to run.
struct MovableGradient {
  py::object leaf;
  int kept;    // for Program::set_kept
  char* home;  // where it was in the recording; the memory stays allocated
  int64_t bytes;
};

// The shape and dtype of an argument, and the array that it is copied to when it has another layout.
struct ArgumentForm {
  py::object sample;  // the array of the recording

  bool fits(py::handle array) const;
  bool has_strides_of(py::handle array) const;
  bool has_layout_of(py::handle array) const;  // so that it need not be copied
};

// A result: a view of an output's memory.
struct ResultForm : ArrayLayout {
  int output;  // or -1:
  int kept;    // of a gradient that the step leaves as well
  bool whole;  // the only result in its output, which it fills

  py::object make(py::handle memory) const;  // memory: uint8, contiguous
};

// What a positional argument of a call must be.
struct ArgumentRule {
  enum Kind { value, any_array, array, tensor } kind;  // any_array: of NumPy or a Tensor
  py::object expected;                                 // the value; of a Tensor its class

  bool is_class_of(PyObject* x) const { return reinterpret_cast<PyObject*>(Py_TYPE(x)) == expected.ptr(); }
};

// Which rows of a batch a program runs on, and how many rows the batch has.
struct RowsOfBatch {
  int64_t begin, count, step;
};
struct BatchSource;
struct PartOfBatch;
class ArrayForm;

// What programs of one form have alike.
struct ProgramSettings {
  int runs = 0, outputs = 0, team = 1;
  uint32_t conv_algorithms = ~0u;
  Isa isa{};
  Precision precision{}, current{};
  Bfloat16 bfloat16{};
  std::vector<ResultForm> results;
};

class ArrayProgram {
 public:
  friend class ArrayCheck;
  friend class ArrayForm;
  // watched: Tensors whose changes are counted; what follows from them alone is computed after a change only.
  ArrayProgram(ArrayRecording& recording, const py::list& arguments, const py::list& results,
               const py::list& kept_arrays, const py::list& watched);
  // A program of a form (array_form.h); arrays: what outlives a run.
  ArrayProgram(const std::shared_ptr<ArrayForm>& form, std::unique_ptr<Program> program,
               const py::list& arrays, const py::list& arguments, const py::list& kept);
  ~ArrayProgram();

  // form: what the positional arguments of a call must be, as pairs: `ArgumentRule`. reached: Tensors that
  // guards hold, which are no arguments. gradients: (leaf, Tensor or None, place among kept_arrays or -1),
  // set after a run. changed: the Tensors that a run changes in place: the tape compares their counters.
  // renew: makes a Tensor of the same shape and strides in new memory.
  void set_call(const py::list& form, const py::list& gradients, const py::list& changed,
                const py::object& renew, const py::list& reached);
  // found: (leaf, region) of the gradients that may move.
  void let_move(const py::list& found);
  void set_guards(const py::list& guards) {
    const Turn turn(*this);
    guards_.set(guards);
  }
  bool is_current() {
    const Turn turn(*this);
    return holds();
  }
  // Whether an argument shares memory with what a run changes: whether it is read before or after that is not
  // defined.
  bool overlaps(const py::tuple& arrays) const;
  // The first guard that does not hold; -1: all do.
  int first_changed() {
    const Turn turn(*this);
    return guards_.first_changed();
  }
  // Puts the values of the leaves' present gradients into the program's own, which then take their place.
  void adopt_gradients();
  py::list gradients();  // (leaf, Tensor or None)
  int visit(visitproc visit, void* arg) const;
  void clear();
  int64_t checks_left = 0;  // calls until the next check beside an eager run; negative: no more checks
  // A whole call with these arguments; None where it is not the one that was recorded, or has to be checked
  // first, False where a check of values fails: nothing has changed then, and the eager step raises the
  // error.
  py::object call(const py::tuple& arguments);
  py::object operator()(const py::tuple& arrays);  // the same, of arrays that fit
  // Up to `count` calls, on the batches first, first + 1 ... of `size` samples each: every result of all of
  // them as one array. None where call() would give it, or an array is not contiguous. An array of the
  // arguments has the samples of all batches, taken in this order (None: as they are), or, if `entries`
  // allows it, an entry for each batch: one axis more than in a call. It ends early after some time, after a
  // batch with a number that is not finite, and before one in which a check of values fails; None where that
  // is the first. batches_done(): how many there were, also after an exception.
  py::object run_batches(const py::tuple& arguments, const py::object& order, int64_t size, int64_t first,
                         int64_t count, bool entries);
  // The same for a step whose gradients are added over ranks, of which this program is the update. calls: the
  // parts of a batch, one after another: the arguments of one of the programs, the first and the last row
  // (one past) of the `size` that the rank has of a batch. They leave the gradients in the values of `sum`
  // (None: there is one rank). After the sum comes the update, with these arguments. The loss is the first of
  // the values `total`. The result has a row (loss, penalty, loss of this rank's parts) for each batch. It
  // ends after an update with a loss that is not finite, which changes nothing. divides: whether each rank
  // may update a part of the weights.
  py::object run_with_ranks(const py::tuple& calls, const py::tuple& programs, const py::object& order,
                            int64_t size, int64_t count, const py::object& total, const py::object& sum,
                            const py::tuple& arguments, bool divides);
  size_t results() const { return settings_.results.size(); }
  int64_t batches_done() const { return batches_done_; }

  template <class F>
  auto with_program(F f) {
    const Turn turn(*this);
    return f(*program_);
  }
  std::string other_path(const ArrayRecording& eager) const { return ranvier::other_path(*program_, eager); }
  void set_threads(bool solo);
  static void set_up();  // once, while the module loads

 private:
  // While one lives, other threads wait for theirs, without the GIL. RuntimeError where this thread has one.
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
  bool has_same_settings() const;  // as when it was recorded
  bool holds() { return has_same_settings() && guards_.first_changed() < 0 && gradients_are_apart(); }
  // The array of an argument; null where it is of another kind than the recorded one, or requires a gradient.
  static py::object array_of(PyObject* x, const ArgumentRule& rule);
  bool arrays_of(const py::tuple& arguments, std::vector<py::object>& arrays) const;
  bool sources_of(const py::tuple& arguments, const py::object& order, int64_t first, int64_t last,
                  const RowsOfBatch& rows, bool entries, std::vector<BatchSource>& sources) const;
  static bool find_part(const py::tuple& call, const std::deque<Turn>& programs, const py::object& order,
                        int64_t size, int64_t count, PartOfBatch& part);
  static bool find_parts(const py::tuple& calls, const std::deque<Turn>& programs, const py::object& order,
                         int64_t size, int64_t& count, std::vector<PartOfBatch>& parts);
  static bool are_measured(const std::vector<PartOfBatch>& parts);
  static bool run_parts(const std::vector<PartOfBatch>& parts, int64_t batch, bool last);
  bool begin_runs(const py::tuple& arguments, std::vector<py::object>& held);
  void end_runs();
  // The results; False where a check of values failed; None where a gradient is gone.
  py::object run_on(const py::handle* arrays);
  void prepare(const py::handle* arrays, std::vector<py::object>& memory);
  bool run();
  void forget_times();
  void count_changes() const;
  void release_held_gradients();
  void renew(Gradient& gradient);
  std::vector<py::object> find_gradients();
  bool gradients_are_apart() const;
  bool meets_movable_gradient(const char* first, const char* last) const;  // in the bytes [first, last)
  void set_gradients() const;
  void watch();
  void keep_watched(const std::vector<int>& regions);
  void find_written();
  void add_to_programs();
  void add_result(const ArrayRecording& recording, py::handle result, Regions& regions);
  py::object new_output(int number) const;
  py::object make_result(const ResultForm& form, const std::vector<py::object>& memory) const;
  bool writes_into(py::handle array) const;

  bool cleared_ = false;                   // by the garbage collector
  std::mutex mutex_;                       // held during a Turn
  std::atomic<std::thread::id> runner_{};  // whose turn it is
  int64_t batches_done_ = 0;
  ProgramSettings settings_;
  std::vector<ArgumentForm> arguments_;
  std::vector<ArgumentRule> rules_;
  std::vector<PyObject*> reached_;  // Tensors that guards hold
  Guards guards_;
  std::vector<Gradient> gradients_;
  std::vector<MovableGradient> movable_;
  std::vector<const char*> fixed_;  // where other persistent memory begins
  py::object renew_;
  std::vector<std::pair<py::list, py::object>> changed_;  // cell and array of each
  struct Watched {
    py::list cell;
    int64_t changes;  // when last looked at
  };
  std::vector<Watched> watched_;
  std::vector<std::pair<const char*, const char*>> written_;  // persistent memory, without kept gradients
  std::vector<Pin> pins_;
  std::vector<py::object> owners_;
  std::vector<std::unique_ptr<HostSite>> sites_;
  std::vector<py::object> spare_arrays_, spare_memory_;  // empty
  std::shared_ptr<ArrayForm> shared_;  // what it has in common with others, if that is known
  bool without_team_ = false;          // whether other threads left no team while times were measured
  std::unique_ptr<Program> program_;
};

// A check of a program beside an eager run with these arguments, which begins after it and is recorded. Both
// must outlive it.
class ArrayCheck {
 public:
  ArrayCheck(ArrayProgram& program, ArrayRecording& eager, const py::tuple& arrays);
  std::string finish();  // what differs
  bool disturbed() const { return check_ && check_->disturbed(); }

 private:
  ArrayProgram& program_;
  std::vector<py::object> held_;  // the arguments
  std::optional<Check> check_;
};

// The core of a `_core.Program`.
ArrayProgram& program_of(PyObject* self);

}  // namespace ranvier::bind

// run_batches(): replays programs on one batch after another of large arrays (see compile/many_calls.py). For
// each batch the programs of all calls run in order, with the rows of the batch as their arguments. The
// results of the last program for all batches become one array. It stops after kReturn milliseconds, before a
// check beside an eager run is due, and after a result that is not finite.
#include "bindings/replay/batch_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <deque>

#include "base/caches.h"
#include "base/rows.h"
#include "bindings/binder/classes.h"
#include "bindings/binder/errors.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/replay/array_program.h"

namespace ranvier::bind {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t kReturn = 50;  // milliseconds of a call, so that signal handlers and a progress bar can run
constexpr std::chrono::milliseconds kLook(1);  // about the time between two looks at the clock
constexpr int64_t kResults = 1 << 24;          // the most bytes of results in one call
constexpr int64_t kLine = 64;                  // bytes of a cache line

// An argument of a program in all batches. Its array has the rows (samples) of all batches, of which indices
// may pick those of a batch; or it has one entry for each batch, which counts as one row.
struct BatchSource {
  PickedRows from;   // the array, and the indices; index null: the rows of a batch are next to each other
  int64_t rows;      // how many a batch takes
  int64_t step;      // how many rows or indices lie from one batch to the next
  py::object array;  // keeps the memory
  py::object gathered = {};  // memory to which the picked rows are copied, if there are indices

  // The address of a batch's rows.
  char* at(int64_t batch) const {
    const int64_t bytes = from.row_bytes;
    if (!from.index) return const_cast<char*>(from.table) + batch * step * bytes;
    char* to = PyArray_BYTES(as_array(gathered));
    const PickedRows chosen{from.table, bytes, from.rows, from.index + batch * step, 1};
    if (bytes % 4 == 0)
      copy_rows(to, bytes, chosen, 0, rows);
    else
      for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * bytes, chosen.at(r), bytes);
    return to;
  }

  // Loads the rows of a later batch into the caches, while the batches before it are computed.
  void prefetch(int64_t batch) const {
    constexpr int64_t kMost = 1 << 16;  // bytes; larger batches are not prefetched
    if (!from.index || rows * from.row_bytes > kMost || from.rows * from.row_bytes <= caches.l2 / 2) return;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t at = 0; at < from.row_bytes + kLine; at += kLine)
        __builtin_prefetch(from.table + from.index[batch * step + r] * from.row_bytes + at);
  }
};

// The number in `data`, if the result is a single float; else 0.
double number_at(const ResultForm& form, const char* data) {
  const int type = reinterpret_cast<PyArray_Descr*>(form.dtype.ptr())->type_num;
  const bool one = std::all_of(form.shape, form.shape + form.ndim, [](int64_t n) { return n == 1; });
  if (!one || (type != NPY_FLOAT && type != NPY_DOUBLE)) return 0;
  data += form.offset;
  return type == NPY_FLOAT ? *reinterpret_cast<const float*>(data) : *reinterpret_cast<const double*>(data);
}

// The indices in Batches.order; null if that is None.
const int64_t* indices_of(const py::object& order) {
  static_assert(sizeof(npy_intp) == sizeof(int64_t));
  if (order.is_none()) return nullptr;
  PyArrayObject* a = as_array(order);
  if (!PyArray_CheckExact(order.ptr()) || PyArray_TYPE(a) != NPY_INTP || PyArray_NDIM(a) != 1 ||
      !PyArray_IS_C_CONTIGUOUS(a) || !PyArray_ISBEHAVED_RO(a))
    fail_type("program", "got an order that is no contiguous array of indices");
  return static_cast<const int64_t*>(PyArray_DATA(a));
}

// Fails unless the batches [first, last) lie within `length` (of the indices, or else of the array) and all
// their indices are those of rows.
void require_rows(const BatchSource& source, int64_t length, int64_t first, int64_t last) {
  if (first < 0 || length / source.step < last)
    fail_value("program", "got ", length, " rows; expected ", last, " batches of ", source.step);
  for (int64_t batch = first; source.from.index && batch < last; ++batch)
    for (int64_t r = 0; r < source.rows; ++r) {
      const int64_t i = source.from.index[batch * source.step + r];
      if (i < 0 || i >= source.from.rows)
        fail_value("program", "got the index ", i, " of ", source.from.rows, " samples");
    }
}

template <class All, class Is>
bool any(const All& all, const Is& is) {
  return std::any_of(all.begin(), all.end(), is);
}

}  // namespace

// One call of run_batches().
class BatchRun {
 public:
  BatchRun(const py::tuple& calls, const py::object& batches, Between* between);
  // A tuple: for each call the number of the program that has run; the results of the last program, each an
  // array with an axis of batches first; and the numbers of `between`, (batches, 2). None if no batch was
  // run.
  py::object run();

 private:
  // A call of a compiled function in each batch.
  struct Call {
    py::tuple programs;  // its programs; one that fits is chosen
    py::tuple arguments;
    py::dict keywords;
    int64_t begin, end;  // the call gets the rows [begin, end) of a batch
    // Found by find():
    ArrayProgram* program = nullptr;
    py::object number = {};                  // the program's index in `programs`
    std::vector<BatchSource> sources = {};   // for each array among the arguments
    std::vector<py::object> gradients = {};  // held during the runs (ArrayProgram::begin_runs)
  };
  bool find_all();
  bool find(Call& call) const;
  bool may_repeat(const ArrayProgram& program, bool last) const;
  bool find_sources(Call& call) const;
  bool find_source(const Call& call, size_t number, const py::object& array, BatchSource& source) const;
  void make_results();
  void run_all();
  bool run_one(const Call& call) const;
  bool stays(int64_t done);
  int64_t stride(int output) const;
  char* place(int output) const;  // the address of the present batch's part of an output
  double number();
  py::object results() const;
  ArrayProgram& last() const { return *calls_.back().program; }

  std::vector<Call> calls_;
  std::deque<ArrayProgram::Turn> turns_;  // a turn of each program
  const py::object batches_, order_;
  int64_t size_;                     // rows of a batch
  int64_t first_;                    // the number of the first batch
  int64_t count_;                    // how many batches
  bool entries_;                     // whether an array may have an entry for each batch
  Between* const between_;           // or null
  std::vector<py::object> results_;  // for each output of the last program, the memory of all batches
  std::vector<double> numbers_;      // Between::numbers of all batches
  int64_t done_ = 0;                 // how many batches have run
  Clock::time_point began_;
  int64_t looked_at_ = 1;  // the batch after which the clock is looked at next
};

BatchRun::BatchRun(const py::tuple& calls, const py::object& batches, Between* between)
    : batches_(batches), order_(batches.attr("order")), between_(between) {
  const auto whole = [&](const char* name) {
    return FromPython<int64_t>::convert(py::object(batches.attr(name)).ptr());
  };
  size_ = whole("size");
  first_ = whole("first");
  count_ = whole("count");
  entries_ = py::bool_(batches.attr("entries"));
  for (const py::handle tuple : calls) {
    const py::tuple call = FromPython<py::tuple>::convert(tuple.ptr());
    const auto item = [&](size_t i) { return py::object(call[i]).ptr(); };
    Call added;
    added.programs = FromPython<py::tuple>::convert(item(0));
    added.arguments = FromPython<py::tuple>::convert(item(1));
    added.keywords = FromPython<py::dict>::convert(item(2));
    added.begin = FromPython<int64_t>::convert(item(3));
    added.end = FromPython<int64_t>::convert(item(4));
    calls_.push_back(std::move(added));
    for (const py::handle one : calls_.back().programs) {
      ArrayProgram& program = FromPython<ArrayProgram>::convert(one.ptr());
      if (!any(turns_, [&](const auto& turn) { return &turn.program() == &program; }))
        turns_.emplace_back(program);
    }
  }
}

py::object BatchRun::run() {
  if (calls_.empty() || count_ < 1 || !find_all()) return py::none();
  make_results();
  // This object holds the arrays, and a run uses Python in a HostCall only, which takes the GIL.
  PyThreadState* state = PyEval_SaveThread();
  run_all();
  PyEval_RestoreThread(state);
  {
    const py::error_scope raised;
    batches_.attr("done") = py::int_(done_);
    for (const Call& call : calls_) {
      call.program->checks_left -= done_;
      if (done_ > 0) call.program->end_runs();
    }
  }
  if (PyErr_Occurred()) throw py::error_already_set();  // of a signal handler, or a process that did not come
  return done_ > 0 ? results() : py::none();            // None: a check of values failed in the first batch
}

// Finds the program of each call, and limits count_ to the batches before the next check of one of them is
// due. The last call is looked at first, as long as the leaves have the gradients of the batch before, which
// it may need; find() then gives them the gradients that the other programs expect.
bool BatchRun::find_all() {
  if (!std::all_of(calls_.rbegin(), calls_.rend(), [&](Call& call) { return find(call); })) return false;
  for (const Call& call : calls_) {
    const auto is_same = [&](const Call& other) { return other.program == call.program; };
    const int64_t uses = std::count_if(calls_.begin(), calls_.end(), is_same);
    if (call.program->checks_left > 0) count_ = std::min(count_, call.program->checks_left / uses);
  }
  if (between_) between_->begin(*last().program_);
  return count_ > 0;
}

// Finds the program that serves a call, and prepares it for runs. False if there is none.
bool BatchRun::find(Call& call) const {
  const bool is_last = &call == &calls_.back();
  for (size_t i = 0; i < call.programs.size(); ++i) {
    ArrayProgram& program = Object<ArrayProgram>::of(py::object(call.programs[i]).ptr());
    call.program = &program;
    call.number = py::int_(i);
    if (!may_repeat(program, is_last)) continue;
    // What an earlier run of it has left, such as no gradient, is what its guards expect in each batch.
    if (!is_last) program.set_gradients();
    if (program.holds() && find_sources(call) && program.begin_runs(call.gradients)) return true;
  }
  return false;
}

// True if the program may run for one batch after another: a run leaves nothing that Python must handle
// before the next one. Only the last program may return something, or add to a gradient of an earlier step. A
// result must not be a gradient, and must have room for the axis of batches. The run must not set another
// gradient of a leaf whose movable gradient it reads: the next batch would have to find that.
bool BatchRun::may_repeat(const ArrayProgram& program, bool last) const {
  if (program.checks_left == 0) return false;
  if (!last) return program.settings_.results.empty() && program.movable_.empty();
  const auto is_check = [](const Instruction& i) { return i.guard != nullptr; };
  // After a failed check the batch is undone, but the sum over processes cannot be.
  if (between_ && any(program.program_->instructions(), is_check)) return false;
  const auto is_kept = [](const ResultForm& form) { return form.output < 0 || form.ndim == kMaxDims; };
  return !any(program.settings_.results, is_kept) && !any(program.movable_, [&](const MovableGradient& f) {
    return any(program.gradients_, [&](const Gradient& g) { return g.leaf.is(f.leaf); });
  });
}

// Finds the sources of a call's arrays. True if the call is like the recorded one, except that each array has
// the rows of all batches, or an entry for each.
bool BatchRun::find_sources(Call& call) const {
  const ArrayProgram& program = *call.program;
  Signature given;
  if (call.begin < 0 || call.begin > call.end || call.end > size_) return false;
  if (!program.read(given, call.arguments, call.keywords.ptr()) || program.signature_->is_joined() ||
      !given.has_same_structure(*program.signature_))
    return false;
  call.sources.resize(given.arrays.size());
  for (size_t i = 0; i < given.arrays.size(); ++i)
    if (!find_source(call, i, given.arrays[i], call.sources[i])) return false;
  return true;
}

// The source of array `number`; false if it does not fit the recorded one, or is not contiguous and aligned.
bool BatchRun::find_source(const Call& call, size_t number, const py::object& array,
                           BatchSource& source) const {
  const ArrayArgument& recorded = call.program->arguments_[number];
  PyArrayObject* a = as_array(array);
  const bool each = entries_ && PyArray_NDIM(a) == recorded.ndim + 1;
  if (!each && (PyArray_NDIM(a) != recorded.ndim || recorded.ndim == 0)) return false;
  if (!each && (call.begin == call.end || recorded.shape[0] != call.end - call.begin)) return false;
  if (!recorded.contiguous || !PyArray_IS_C_CONTIGUOUS(a) || !PyArray_ISBEHAVED_RO(a)) return false;
  if (PyArray_SIZE(a) == 0 || call.program->writes_into(array)) return false;
  const int compared = each ? 0 : 1;  // the first dimension of the recorded array that is not the rows
  if (!std::equal(recorded.shape + compared, recorded.shape + recorded.ndim, PyArray_DIMS(a) + 1))
    return false;
  const int64_t samples = PyArray_DIM(a, 0);
  const int64_t bytes = PyArray_NBYTES(a) / samples;
  const int64_t* const index = each ? nullptr : indices_of(order_);
  const int64_t begin = each ? 0 : call.begin;
  // The call's part of a batch begins at row `begin`: of the indices if there are any, else of the array.
  const char* table = PyArray_BYTES(a);
  const int64_t* own_index = nullptr;
  int64_t length = samples;  // of the indices, or else of the array
  if (index) {
    own_index = index + begin;
    length = PyArray_DIM(as_array(order_), 0);
  } else {
    table += begin * bytes;
  }
  source.from = {table, bytes, samples, own_index, /*step=*/1};
  source.rows = each ? 1 : recorded.shape[0];
  source.step = each ? 1 : size_;
  source.array = array;
  require_rows(source, length, first_, first_ + count_);
  if (index) source.gathered = Output::contiguous(DType::uint8, {source.rows * bytes}).release();
  return true;
}

// Allocates the results, and limits count_ so that they fit in kResults bytes.
void BatchRun::make_results() {
  int64_t bytes = 1;
  const int outputs = last().settings_.outputs;
  for (int i = 0; i < outputs; ++i) bytes += static_cast<int64_t>(last().program_->output_bytes(i));
  count_ = std::min(count_, std::max<int64_t>(kResults / bytes, 1));
  for (int i = 0; i < outputs; ++i)
    results_.push_back(Output::contiguous(DType::uint8, {count_ * stride(i)}).release());
  if (between_) numbers_.reserve(2 * count_);  // no memory is allocated during the runs
}

// Bytes from an output of one batch to that of the next: each begins at a new cache line.
int64_t BatchRun::stride(int output) const {
  return (static_cast<int64_t>(last().program_->output_bytes(output)) + kLine - 1) / kLine * kLine;
}

char* BatchRun::place(int output) const {
  return PyArray_BYTES(as_array(results_[output])) + done_ * stride(output);
}

// Runs batch after batch. With `between_`, processes have to agree on how many batches follow: after meet()
// has agreed in batch k, batches up to k + 2 run in all of them, even if this one would stop.
void BatchRun::run_all() {
  const Team team(last().settings_.team);
  const auto run_last = [this] { return run_one(calls_.back()); };
  began_ = Clock::now();
  int64_t least = 0;  // how many batches run at least
  for (bool go = true; go && done_ < count_;) {
    for (size_t i = 0; i + 1 < calls_.size(); ++i)
      if (!run_one(calls_[i])) return;
    go = between_ && stays(done_ + 1);
    if (between_ && !between_->meet(go && done_ + 2 < count_)) return;
    const bool has_run = between_ ? between_->finish(team, run_last) : run_last();
    if (!has_run) return;
    const double found = number();
    ++done_;
    if (!between_) go = stays(done_);
    if (between_ && between_->agreed) least = done_ + 2;
    go = std::isfinite(found) && (go || done_ < least);
  }
}

// Runs a call's program on the present batch. False if a check of values failed.
bool BatchRun::run_one(const Call& call) const {
  Program& program = *call.program->program_;
  const int64_t batch = first_ + done_;
  for (size_t i = 0; i < call.sources.size(); ++i)
    program.set_argument(static_cast<int>(i), call.sources[i].at(batch));
  if (&call == &calls_.back())
    for (int i = 0; i < last().settings_.outputs; ++i) program.set_output(i, place(i));
  if (done_ + 1 < count_)
    for (const BatchSource& source : call.sources) source.prefetch(batch + 1);
  return call.program->run();
}

// True if another batch may follow the first `done`: all programs are measured (ArrayProgram::run), and there
// is time.
bool BatchRun::stays(int64_t done) {
  if (any(calls_, [](const Call& call) { return !call.program->program_->is_measured(); })) return false;
  if (done < looked_at_) return true;
  const Clock::duration taken = Clock::now() - began_;
  // The next look is after about kLook, by the time of the batches so far, but after at most as many again.
  looked_at_ = done + 1 + std::min<int64_t>(done, kLook * done / (taken + Clock::duration(1)));
  return taken < std::chrono::milliseconds(between_ ? between_->milliseconds : kReturn);
}

// A sum that is finite only if all numbers among the results of this batch are. Also stores the numbers of
// `between`.
double BatchRun::number() {
  double sum = 0;
  if (between_) {
    sum = between_->numbers[0];
    numbers_.insert(numbers_.end(), between_->numbers, between_->numbers + 2);
  }
  for (const ResultForm& form : last().settings_.results) sum += number_at(form, place(form.output));
  return sum;
}

// See run(). Each result is a view of the output's memory with an axis of batches in front.
py::object BatchRun::results() const {
  py::tuple chosen(calls_.size());
  py::tuple all(last().settings_.results.size());
  for (size_t i = 0; i < calls_.size(); ++i) chosen[i] = calls_[i].number;
  for (size_t i = 0; i < all.size(); ++i) {
    ResultForm form = last().settings_.results[i];
    std::copy_backward(form.shape, form.shape + form.ndim, form.shape + form.ndim + 1);
    std::copy_backward(form.strides, form.strides + form.ndim, form.strides + form.ndim + 1);
    ++form.ndim;
    form.shape[0] = done_;
    form.strides[0] = stride(form.output);
    all[i] = form.make(results_[form.output]);
  }
  const auto rows = static_cast<int64_t>(numbers_.size() / 2);
  const py::object numbers = Output::contiguous(DType::float64, {rows, 2}).release();
  std::copy(numbers_.begin(), numbers_.end(), static_cast<double*>(PyArray_DATA(as_array(numbers))));
  return tuple_of({chosen, all, numbers});
}

namespace {

py::object run_batches(PyObject*, PyObject* const* given, Py_ssize_t) {
  using Holder = std::unique_ptr<Between>;
  Between* between = nullptr;
  if (given[2] != Py_None) between = FromPython<Holder>::convert(given[2]).get();
  return BatchRun(FromPython<py::tuple>::convert(given[0]), FromPython<py::object>::convert(given[1]),
                  between)
      .run();
}

PyMethodDef g_batch_functions[] = {
    method<run_batches, 3>("run_batches",
                           "run_batches(calls: tuple[Any, ...], batches: Any, between: Between | None, /) -> "
                           "tuple[tuple[int, ...], tuple[Array, ...], Array] | None"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_batch_run(Module m) {
  add_class<std::unique_ptr<Between>>(m, "ranvier._core.Between", "", {}, Py_TPFLAGS_DISALLOW_INSTANTIATION);
  if (PyModule_AddFunctions(m.ptr(), g_batch_functions) < 0) throw py::error_already_set();
}

}  // namespace ranvier::bind

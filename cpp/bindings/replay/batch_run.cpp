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
constexpr int64_t kReturn = 50;                // milliseconds: for signal handlers and progress
constexpr std::chrono::milliseconds kLook(1);  // between two looks at the clock
constexpr int64_t kResults = 1 << 24;          // bytes
constexpr int64_t kLine = 64;                  // bytes of a cache line

// An argument in all batches: rows of an array, or an entry for each batch (one row).
struct BatchSource {
  PickedRows from;     // without indices the rows of a batch are next to each other
  int64_t rows, step;  // rows that are taken of a batch; from one batch to the next
  py::object array;
  py::object gathered = {};  // memory that rows are gathered in, if there are indices

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
    constexpr int64_t kMost = 1 << 16;  // bytes
    if (!from.index || rows * from.row_bytes > kMost || from.rows * from.row_bytes <= caches.l2 / 2) return;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t at = 0; at < from.row_bytes + kLine; at += kLine)
        __builtin_prefetch(from.table + from.index[batch * step + r] * from.row_bytes + at);
  }
};

// A result that is one number; 0 for any other.
double number_at(const ResultForm& form, const char* data) {
  const int type = reinterpret_cast<PyArray_Descr*>(form.dtype.ptr())->type_num;
  const bool one = std::all_of(form.shape, form.shape + form.ndim, [](int64_t n) { return n == 1; });
  if (!one || (type != NPY_FLOAT && type != NPY_DOUBLE)) return 0;
  data += form.offset;
  return type == NPY_FLOAT ? *reinterpret_cast<const float*>(data) : *reinterpret_cast<const double*>(data);
}

const int64_t* indices_of(const py::object& order) {
  static_assert(sizeof(npy_intp) == sizeof(int64_t));
  if (order.is_none()) return nullptr;
  PyArrayObject* a = as_array(order);
  if (!PyArray_CheckExact(order.ptr()) || PyArray_TYPE(a) != NPY_INTP || PyArray_NDIM(a) != 1 ||
      !PyArray_IS_C_CONTIGUOUS(a) || !PyArray_ISBEHAVED_RO(a))
    fail_type("program", "got an order that is no contiguous array of indices");
  return static_cast<const int64_t*>(PyArray_DATA(a));
}

// length: of the indices, or of the array.
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
  // Which program has run for each call, every result of the last one for all batches as one array, and the
  // numbers of `between`, (batches, 2). None where no batch was run.
  py::object run();

 private:
  // Calls of a program, one for each batch.
  struct Call {
    py::tuple programs;  // any of these
    py::tuple arguments;
    py::dict keywords;
    int64_t begin, end;  // the rows of a batch: [begin, end)
    // Found from them:
    ArrayProgram* program = nullptr;
    py::object number = {};  // among `programs`
    std::vector<BatchSource> sources = {};
    std::vector<py::object> gradients = {};
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
  char* place(int output) const;  // the address of this batch's part of an output
  double number();
  py::object results() const;
  ArrayProgram& last() const { return *calls_.back().program; }

  std::vector<Call> calls_;
  std::deque<ArrayProgram::Turn> turns_;  // a turn of each program
  const py::object batches_, order_;
  int64_t size_, first_, count_;
  bool entries_;  // whether an array may have an entry for each batch
  Between* const between_;
  std::vector<py::object> results_;  // all batches of an output
  std::vector<double> numbers_;
  int64_t done_ = 0;
  Clock::time_point began_;
  int64_t looked_at_ = 1;  // the batch after which the clock is looked at next
};

BatchRun::BatchRun(const py::tuple& calls, const py::object& batches, Between* between)
    : batches_(batches), order_(batches.attr("order")), between_(between) {
  const auto whole = [&](const char* of) { return Given<int64_t>::of(py::object(batches.attr(of)).ptr()); };
  size_ = whole("size"), first_ = whole("first"), count_ = whole("count");
  entries_ = py::bool_(batches.attr("entries"));
  for (const py::handle item : calls) {
    const py::tuple call = Given<py::tuple>::of(item.ptr());
    const auto at = [&](size_t i) { return py::object(call[i]).ptr(); };
    calls_.push_back({Given<py::tuple>::of(at(0)), Given<py::tuple>::of(at(1)), Given<py::dict>::of(at(2)),
                      Given<int64_t>::of(at(3)), Given<int64_t>::of(at(4))});
    for (const py::handle one : calls_.back().programs) {
      ArrayProgram& program = Given<ArrayProgram>::of(one.ptr());
      if (!any(turns_, [&](const auto& turn) { return &turn.program() == &program; }))
        turns_.emplace_back(program);
    }
  }
}

py::object BatchRun::run() {
  if (calls_.empty() || count_ < 1 || !find_all()) return py::none();
  make_results();
  PyThreadState* state = PyEval_SaveThread();  // the arrays are held here; a run touches no Python
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
  if (PyErr_Occurred()) throw py::error_already_set();  // a signal raised it, or another process did not come
  return done_ > 0 ? results() : py::none();            // none: a check failed
}

// The program of each call, and how many batches they may run before the next check of one. The last comes
// first: the guards of the others hold after its gradients are taken away, as before a call.
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

bool BatchRun::find(Call& call) const {
  const bool is_last = &call == &calls_.back();
  for (size_t i = 0; i < call.programs.size(); ++i) {
    ArrayProgram& program = Object<ArrayProgram>::of(py::object(call.programs[i]).ptr());
    call.program = &program, call.number = py::int_(i);
    if (!may_repeat(program, is_last)) continue;
    if (!is_last) program.set_gradients();  // none
    if (program.holds() && find_sources(call) && program.begin_runs(call.gradients)) return true;
  }
  return false;
}

// True if a batch may follow another: a run leaves nothing that Python has to handle first.
bool BatchRun::may_repeat(const ArrayProgram& program, bool last) const {
  if (program.checks_left == 0) return false;
  if (!last) return program.settings_.results.empty() && program.movable_.empty();
  const auto is_check = [](const Instruction& i) { return i.guard != nullptr; };
  if (between_ && any(program.program_->instructions(), is_check)) return false;  // it cannot be put back
  const auto is_kept = [](const ResultForm& form) { return form.output < 0 || form.ndim == kMaxDims; };
  return !any(program.settings_.results, is_kept) && !any(program.movable_, [&](const MovableGradient& f) {
    return any(program.gradients_, [&](const Gradient& g) { return g.leaf.is(f.leaf); });
  });
}

// True if a call is like the recorded one, with C-contiguous arrays that have a batch, or an entry for each.
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

bool BatchRun::find_source(const Call& call, size_t number, const py::object& array,
                           BatchSource& source) const {
  const ArrayArgument& recorded = call.program->arguments_[number];
  PyArrayObject* a = as_array(array);
  const bool each = entries_ && PyArray_NDIM(a) == recorded.ndim + 1;
  if (!each && (PyArray_NDIM(a) != recorded.ndim || recorded.ndim == 0)) return false;
  if (!each && (call.begin == call.end || recorded.shape[0] != call.end - call.begin)) return false;
  if (!recorded.contiguous || !PyArray_IS_C_CONTIGUOUS(a) || !PyArray_ISBEHAVED_RO(a)) return false;
  if (PyArray_SIZE(a) == 0 || call.program->writes_into(array) ||
      !std::equal(recorded.shape + !each, recorded.shape + recorded.ndim, PyArray_DIMS(a) + 1))
    return false;
  const int64_t samples = PyArray_DIM(a, 0), bytes = PyArray_NBYTES(a) / samples;
  const int64_t* const index = each ? nullptr : indices_of(order_);
  const int64_t begin = each ? 0 : call.begin;
  source = {
      {PyArray_BYTES(a) + (index ? 0 : begin * bytes), bytes, samples, index ? index + begin : nullptr, 1},
      each ? 1 : recorded.shape[0],
      each ? 1 : size_,
      array};
  require_rows(source, index ? PyArray_DIM(as_array(order_), 0) : samples, first_, first_ + count_);
  if (index) source.gathered = Output::contiguous(DType::uint8, {source.rows * bytes}).release();
  return true;
}

void BatchRun::make_results() {
  int64_t bytes = 1;
  const int outputs = last().settings_.outputs;
  for (int i = 0; i < outputs; ++i) bytes += static_cast<int64_t>(last().program_->output_bytes(i));
  count_ = std::min(count_, std::max<int64_t>(kResults / bytes, 1));
  for (int i = 0; i < outputs; ++i)
    results_.push_back(Output::contiguous(DType::uint8, {count_ * stride(i)}).release());
  if (between_) numbers_.reserve(2 * count_);  // what needs memory comes before a run
}

// The distance between the outputs of two batches in bytes: each begins a new cache line.
int64_t BatchRun::stride(int output) const {
  return (static_cast<int64_t>(last().program_->output_bytes(output)) + kLine - 1) / kLine * kLine;
}

char* BatchRun::place(int output) const {
  return PyArray_BYTES(as_array(results_[output])) + done_ * stride(output);
}

void BatchRun::run_all() {
  const Team team(last().settings_.team);
  const auto run_last = [this] { return run_one(calls_.back()); };
  began_ = Clock::now();
  int64_t least = 0;  // how many batches have been agreed on
  for (bool go = true; go && done_ < count_;) {
    for (size_t i = 0; i + 1 < calls_.size(); ++i)
      if (!run_one(calls_[i])) return;
    go = between_ && stays(done_ + 1);
    if (between_ && !between_->meet(go && done_ + 2 < count_)) return;
    if (!(between_ ? between_->finish(team, run_last) : run_last())) return;
    const double found = number();
    ++done_;
    if (!between_) go = stays(done_);
    if (between_ && between_->agreed) least = done_ + 2;
    go = std::isfinite(found) && (go || done_ < least);
  }
}

// False where a check of values has failed.
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

// True if another batch may follow the first `done`.
bool BatchRun::stays(int64_t done) {
  if (any(calls_, [](const Call& call) { return !call.program->program_->is_measured(); })) return false;
  if (done < looked_at_) return true;
  const Clock::duration taken = Clock::now() - began_;
  looked_at_ = done + 1 + std::min<int64_t>(done, kLook * done / (taken + Clock::duration(1)));
  return taken < std::chrono::milliseconds(between_ ? between_->milliseconds : kReturn);
}

// A number that is not finite if a number of this batch is not. Notes those of `between`.
double BatchRun::number() {
  double sum = 0;
  if (between_) {
    sum = between_->numbers[0];
    numbers_.insert(numbers_.end(), between_->numbers, between_->numbers + 2);
  }
  for (const ResultForm& form : last().settings_.results) sum += number_at(form, place(form.output));
  return sum;
}

py::object BatchRun::results() const {
  py::tuple chosen(calls_.size()), all(last().settings_.results.size());
  for (size_t i = 0; i < calls_.size(); ++i) chosen[i] = calls_[i].number;
  for (size_t i = 0; i < all.size(); ++i) {
    ResultForm form = last().settings_.results[i];
    std::copy_backward(form.shape, form.shape + form.ndim, form.shape + form.ndim + 1);
    std::copy_backward(form.strides, form.strides + form.ndim, form.strides + form.ndim + 1);
    ++form.ndim, form.shape[0] = done_, form.strides[0] = stride(form.output);
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
  Between* between = given[2] == Py_None ? nullptr : Given<Holder>::of(given[2]).get();
  return BatchRun(Given<py::tuple>::of(given[0]), Given<py::object>::of(given[1]), between).run();
}

PyMethodDef g_functions[] = {
    method<run_batches, 3>("run_batches",
                           "run_batches(calls: tuple[Any, ...], batches: Any, between: Between | None, /) -> "
                           "tuple[tuple[int, ...], tuple[Array, ...], Array] | None"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_batch_run(Module m) {
  add_class<std::unique_ptr<Between>>(m, "ranvier._core.Between", "", {}, Py_TPFLAGS_DISALLOW_INSTANTIATION);
  if (PyModule_AddFunctions(m.ptr(), g_functions) < 0) throw py::error_already_set();
}

}  // namespace ranvier::bind

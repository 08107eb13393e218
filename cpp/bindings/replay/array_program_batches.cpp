// Many batches in one call: the program runs on batch after batch of arrays, without Python in between.
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
#include "bindings/ranks/rank_update.h"
#include "bindings/replay/array_program.h"

namespace ranvier::bind {

constexpr int64_t kLine = 64;  // bytes of a cache line

// An argument in all batches: rows of an array, or an entry for each batch (one row).
struct BatchSource {
  PickedRows from;     // without indices the rows of a batch are next to each other
  int64_t rows, step;  // rows of a batch; from one batch to the next, if there are indices
  py::object array;
  py::object gathered = {};  // memory that rows are gathered in, if there are indices

  char* at(int64_t batch) const {
    const int64_t bytes = from.row_bytes;
    if (!from.index) return const_cast<char*>(from.table) + batch * rows * bytes;
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

namespace {

using Clock = std::chrono::steady_clock;
constexpr Clock::duration kReturn = std::chrono::milliseconds(50);  // for signal handlers and progress
// Likewise with other ranks, where the state of the optimizer goes round before.
constexpr Clock::duration kReturnOfRanks = std::chrono::milliseconds(250);
constexpr Clock::duration kLook = std::chrono::milliseconds(1);  // between two looks at the clock
constexpr int64_t kResults = 1 << 24;                            // bytes

// A result of all batches, each in separate cache lines.
struct Results {
  py::object memory;
  int64_t stride;

  char* at(int64_t batch) const { return PyArray_BYTES(as_array(memory)) + batch * stride; }
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

void require_rows(const BatchSource& source, int64_t length, int64_t first, int64_t last) {
  const int64_t step = source.from.index ? source.step : source.rows;
  if (first < 0 || length / step < last)
    fail_value("program", "got ", length, " rows; expected ", last, " batches of ", step);
  for (int64_t batch = first; source.from.index && batch < last; ++batch)
    for (int64_t r = 0; r < source.rows; ++r) {
      const int64_t i = source.from.index[batch * step + r];
      if (i < 0 || i >= source.from.rows)
        fail_value("program", "got the index ", i, " of ", source.from.rows, " samples");
    }
}

py::tuple tuple_of(const py::handle& x, Py_ssize_t size) {
  if (!PyTuple_CheckExact(x.ptr()) || (size >= 0 && PyTuple_GET_SIZE(x.ptr()) != size))
    fail_type("run_with_ranks", "got ", Py_TYPE(x.ptr())->tp_name, "; expected a tuple");
  return py::reinterpret_borrow<py::tuple>(x);
}

bool is_float(PyArrayObject* x) { return PyArray_TYPE(x) == NPY_FLOAT || PyArray_TYPE(x) == NPY_DOUBLE; }

}  // namespace

// True if a call is like the recorded one, with C-contiguous arrays that have a batch, or an entry for each.
bool ArrayProgram::sources_of(const py::tuple& arguments, PyObject* keywords, const py::object& order,
                              int64_t first, int64_t last, const RowsOfBatch& rows, bool entries,
                              std::vector<BatchSource>& sources) const {
  const int64_t* indices = indices_of(order);
  Signature call;
  if (!read(call, arguments, keywords) || signature_->is_joined()) return false;
  if (!call.has_same_structure(*signature_)) return false;
  for (size_t i = 0; i < arguments_.size(); ++i) {
    const py::object& array = call.arrays[i];
    const ArrayArgument& recorded = arguments_[i];
    PyArrayObject* a = as_array(array);
    const bool each = entries && PyArray_NDIM(a) == recorded.ndim + 1;
    if (!each && (PyArray_NDIM(a) != recorded.ndim || recorded.ndim == 0)) return false;
    if (!each && recorded.shape[0] != rows.count) return false;
    if (!recorded.contiguous || !PyArray_IS_C_CONTIGUOUS(a) || !PyArray_ISBEHAVED_RO(a)) return false;
    if (PyArray_SIZE(a) == 0 || writes_into(array) ||
        !std::equal(recorded.shape + !each, recorded.shape + recorded.ndim, PyArray_DIMS(a) + 1))
      return false;
    const int64_t samples = PyArray_DIM(a, 0), count = each ? 1 : rows.count;
    const int64_t bytes = PyArray_NBYTES(a) / samples;
    const int64_t* const index = each || !indices ? nullptr : indices + rows.begin;
    BatchSource source{{PyArray_BYTES(a), bytes, samples, index, 1}, count, rows.step, array};
    require_rows(source, source.from.index ? PyArray_DIM(as_array(order), 0) : samples, first, last);
    if (source.from.index) source.gathered = Output::contiguous(DType::uint8, {count * bytes}).release();
    sources.push_back(std::move(source));
  }
  return true;
}

py::object ArrayProgram::run_batches(const py::tuple& arguments, const py::dict& keywords,
                                     const py::object& order, int64_t size, int64_t first, int64_t count,
                                     bool entries) {
  batches_done_ = 0;
  std::vector<BatchSource> sources;
  for (const ResultForm& form : settings_.results)
    if (form.output < 0 || form.ndim == kMaxDims) return py::none();
  const Turn turn(*this);
  for (const MovableGradient& f : movable_)  // one batch would find what the one before has left
    for (const Gradient& g : gradients_)
      if (g.leaf.is(f.leaf)) return py::none();
  if (count < 1 || !holds()) return py::none();
  if (!sources_of(arguments, keywords.ptr(), order, first, first + count, {0, size, size}, entries, sources))
    return py::none();
  release_held_gradients();
  const std::vector<py::object> found = find_gradients();
  if (found.size() != movable_.size()) return py::none();
  watch();
  int64_t bytes = 1;
  for (int i = 0; i < settings_.outputs; ++i) bytes += static_cast<int64_t>(program_->output_bytes(i));
  count = std::min(count, std::max<int64_t>(kResults / bytes, 1));
  std::vector<Results> outputs;
  for (int i = 0; i < settings_.outputs; ++i) {
    const int64_t stride = (static_cast<int64_t>(program_->output_bytes(i)) + kLine - 1) / kLine * kLine;
    outputs.push_back({Output::contiguous(DType::uint8, {count * stride}).release(), stride});
  }
  int64_t done = 0;
  PyThreadState* state = PyEval_SaveThread();  // the arrays are held by the caller; a run touches no Python
  const Clock::time_point begin = Clock::now();
  int64_t looked_at = 1;  // the batch after which that is done next
  for (bool go = true; go && done < count;) {
    for (size_t i = 0; i < sources.size(); ++i)
      program_->set_argument(static_cast<int>(i), sources[i].at(first + done));
    for (int i = 0; i < settings_.outputs; ++i) program_->set_output(i, outputs[i].at(done));
    if (done + 1 < count)
      for (const BatchSource& source : sources) source.prefetch(first + done + 1);
    if (!run()) break;
    double sum = 0;
    for (const ResultForm& form : settings_.results) sum += number_at(form, outputs[form.output].at(done));
    ++done;
    go = std::isfinite(sum) && program_->is_measured();
    if (done != looked_at) continue;
    const Clock::duration taken = Clock::now() - begin;
    go = go && taken < kReturn;
    looked_at = done + 1 + std::min<int64_t>(done, kLook * done / (taken + Clock::duration(1)));
  }
  batches_done_ = done;
  PyEval_RestoreThread(state);
  if (done > 0) {
    set_gradients();
    count_changes();
  }
  if (PyErr_Occurred()) throw py::error_already_set();  // a signal raised it in a HostCall
  if (done == 0) return py::none();                     // a check failed
  py::tuple results(settings_.results.size());
  for (size_t i = 0; i < settings_.results.size(); ++i) {
    ResultForm form = settings_.results[i];
    std::copy_backward(form.shape, form.shape + form.ndim, form.shape + form.ndim + 1);
    std::copy_backward(form.strides, form.strides + form.ndim, form.strides + form.ndim + 1);
    ++form.ndim, form.shape[0] = done, form.strides[0] = outputs[form.output].stride;
    results[i] = form.make(outputs[form.output].memory);
  }
  return results;
}

// Points the program at the arguments of the runs to come. False where it has to be called in Python.
// held: what the runs use; its last entry has the result, if there is one.
bool ArrayProgram::begin_runs(const py::tuple& arguments, std::vector<py::object>& held) {
  if (settings_.outputs > 1 || static_cast<int>(settings_.results.size()) != settings_.outputs) return false;
  for (const Instruction& i : program_->instructions())
    if (i.guard) return false;
  Signature call;
  if (!fits(call, arguments, nullptr) || !holds() || meets(call)) return false;
  release_held_gradients();
  held = find_gradients();
  if (held.size() != movable_.size()) return false;
  std::vector<py::object> memory;
  prepare(call.arrays, memory);
  watch();
  for (std::vector<py::object>* more : {&call.arrays, &memory})
    held.insert(held.end(), more->begin(), more->end());
  return true;
}

void ArrayProgram::end_runs() {
  set_gradients();
  count_changes();
}

// The sum over ranks after the parts of a batch, and the update after it: a whole one, or this rank's part.
class SumOverRanks {
 public:
  // ranks: null where there is one. divides: whether the update may be made in parts.
  SumOverRanks(RankSum* ranks, const Program& update, bool divides) : ranks_(ranks) {
    if (ranks && divides) parts_.emplace(update, *ranks);
  }

  // stays: whether this rank makes two more batches in any case. False where an exception is set.
  bool add(bool stays) {
    if (!ranks_) return true;
    const bool says = parts_ && parts_->pays() && stays;
    if (!(divided_ ? parts_->add(says) : ranks_->add(says))) return false;
    agreed_ = ranks_->agreed();
    return true;
  }
  bool agreed() const {
    return agreed_;
  }  // whether all ranks make two more batches: the next update is in parts

  // After add(). is_finite: of the summed loss, the same on all ranks. False where an exception is set.
  template <class Whole>
  bool update(const Team& team, bool is_finite, const Whole& whole) {
    if (divided_ && !is_finite) {
      divided_ = false;
      if (!parts_->complete()) return false;
    }
    if (divided_ && !parts_->run(team, !agreed_)) return false;
    if (!divided_) whole();
    divided_ = agreed_;
    return true;
  }

 private:
  RankSum* ranks_;
  std::optional<RankUpdate> parts_;
  bool agreed_ = false, divided_ = false;  // divided: each rank makes a part of the update that comes
};

// A part of a rank's batch: its rows, and the program that runs on them.
struct PartOfBatch {
  ArrayProgram* program = nullptr;
  std::vector<BatchSource> sources;
};

// The program of a part, if there is one, and where its arguments are.
bool ArrayProgram::find_part(const py::tuple& call, const std::deque<Turn>& programs, const py::object& order,
                             int64_t size, int64_t count, PartOfBatch& part) {
  const py::tuple arguments = tuple_of(call[0], -1);
  const int64_t begin = Given<int64_t>::of(PyTuple_GET_ITEM(call.ptr(), 1));
  const int64_t end = Given<int64_t>::of(PyTuple_GET_ITEM(call.ptr(), 2));
  if (begin < 0 || begin >= end || end > size) return false;
  for (const Turn& turn : programs) {
    ArrayProgram& program = turn.program();
    part.sources.clear();
    if (program.checks_left == 0 || !program.settings_.results.empty() || !program.movable_.empty()) continue;
    program.set_gradients();  // none, as before a call
    if (!program.holds() || !program.sources_of(arguments, nullptr, order, 0, count,
                                                {begin, end - begin, size}, true, part.sources))
      continue;
    part.program = &program;
    program.release_held_gradients();
    program.watch();
    return true;
  }
  return false;
}

// All parts, and how many batches their programs may run before the next check.
bool ArrayProgram::find_parts(const py::tuple& calls, const std::deque<Turn>& programs,
                              const py::object& order, int64_t size, int64_t& count,
                              std::vector<PartOfBatch>& parts) {
  parts.resize(calls.size());
  std::vector<const ArrayProgram*> used;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!find_part(tuple_of(calls[i], 3), programs, order, size, count, parts[i])) return false;
    used.push_back(parts[i].program);
  }
  for (const ArrayProgram* program : used)
    if (program->checks_left > 0)
      count = std::min(count, program->checks_left / std::count(used.begin(), used.end(), program));
  return count > 0;
}

bool ArrayProgram::are_measured(const std::vector<PartOfBatch>& parts) {
  return std::all_of(parts.begin(), parts.end(),
                     [](const PartOfBatch& part) { return part.program->program_->is_measured(); });
}

// Runs the parts on a batch. False where a check of values has failed.
bool ArrayProgram::run_parts(const std::vector<PartOfBatch>& parts, int64_t batch, bool last) {
  for (const PartOfBatch& part : parts) {
    for (size_t i = 0; i < part.sources.size(); ++i)
      part.program->program_->set_argument(static_cast<int>(i), part.sources[i].at(batch));
    for (size_t i = 0; !last && i < part.sources.size(); ++i) part.sources[i].prefetch(batch + 1);
    if (!part.program->run()) return false;
  }
  return true;
}

py::object ArrayProgram::run_with_ranks(const py::tuple& calls, const py::tuple& programs,
                                        const py::object& order, int64_t size, int64_t count,
                                        const py::object& total, const py::object& sum,
                                        const py::tuple& arguments, bool divides) {
  batches_done_ = 0;
  if (!PyArray_Check(total.ptr()) || !is_float(as_array(total)) || !PyArray_SIZE(as_array(total)))
    fail_type("run_with_ranks", "got no array of floats for the sums of losses");
  RankSum* ranks = sum.is_none() ? nullptr : &rank_sum_of(sum.ptr());
  std::vector<py::object> held;
  std::deque<Turn> turns;
  for (const py::handle one : programs) turns.emplace_back(Given<ArrayProgram>::of(one.ptr()));
  const Turn turn(*this);
  if (count < 1 || calls.empty() || !begin_runs(arguments, held)) return py::none();
  if (checks_left > 0) count = std::min(count, checks_left);
  std::vector<PartOfBatch> parts;
  if (!find_parts(calls, turns, order, size, count, parts)) return py::none();
  const bool penalised = !settings_.results.empty();
  const py::object results = Output::contiguous(DType::float64, {count, 3}).release();
  auto* const values = static_cast<double*>(PyArray_DATA(as_array(results)));
  const bool wide = PyArray_TYPE(as_array(total)) == NPY_DOUBLE;
  const char* const penalty = penalised ? PyArray_BYTES(as_array(held.back())) : nullptr;
  const auto loss = [wide, x = PyArray_BYTES(as_array(total))]() -> double {
    return wide ? *reinterpret_cast<const double*>(x) : *reinterpret_cast<const float*>(x);
  };
  SumOverRanks over_ranks(ranks, *program_, divides && !penalised);
  const Team team(settings_.team);
  const Clock::duration most = ranks ? kReturnOfRanks : kReturn;
  int64_t done = 0, least = 0;  // this many batches have been promised to the other ranks
  PyThreadState* state = PyEval_SaveThread();
  const Clock::time_point begin = Clock::now();
  for (bool go = true; go && done < count;) {
    if (!run_parts(parts, done, done + 1 == count)) break;
    const double own = loss();
    const bool stays = program_->is_measured() && are_measured(parts) && Clock::now() - begin < most;
    if (!over_ranks.add(stays && done + 2 < count)) break;
    double* const found = values + 3 * done++;
    found[0] = loss(), found[1] = 0, found[2] = own;
    if (over_ranks.agreed()) least = done + 2;
    if (!over_ranks.update(team, std::isfinite(found[0]), [this] { run(); })) break;
    if (penalised) found[1] = number_at(settings_.results[0], penalty);
    go = std::isfinite(found[0] + found[1]) && (stays || done < least);
  }
  batches_done_ = done, checks_left -= done;
  PyEval_RestoreThread(state);
  for (const PartOfBatch& part : parts) {
    part.program->checks_left -= done;
    if (done > 0) part.program->end_runs();
  }
  if (done > 0) end_runs();
  if (PyErr_Occurred()) throw py::error_already_set();  // a rank did not come
  return done == 0 ? py::object(py::none()) : results;
}

}  // namespace ranvier::bind

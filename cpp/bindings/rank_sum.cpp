#include "bindings/rank_sum.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/parallel.h"
#include "bindings/classes.h"
#include "bindings/numpy_api.h"

namespace ranvier::bind {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kSpins = 1000;  // looks without a pause: another rank comes within some microseconds
constexpr Clock::duration kLong = std::chrono::milliseconds(2);  // then Python waits, which looks for faults
constexpr int64_t kBlock = 1024;                                 // elements that are added at once
constexpr int64_t kWhole = 16384;  // bytes below which each rank adds all elements: one meeting less

// The sum of `ranks` rows along the tree, at one block; it is a row itself or in `into`.
template <class T>
const T* tree(const char* row, int64_t stride, int64_t ranks, int64_t n, T* into) {
  if (ranks == 1) return reinterpret_cast<const T*>(row);
  int64_t half = 1;
  while (2 * half < ranks) half *= 2;
  T memory[kBlock];
  const T* lower = tree(row, stride, half, n, into);
  const T* upper = ranks - half > 1 ? tree(row + half * stride, stride, ranks - half, n, memory)
                                    : reinterpret_cast<const T*>(row + half * stride);
  for (int64_t i = 0; i < n; ++i) into[i] = lower[i] + upper[i];
  return into;
}

}  // namespace

RankSum::RankSum(const py::object& rows, const py::object& marks, const py::object& total, int64_t rank,
                 const py::object& wait)
    : held_{rows, marks, total}, wait_(wait), rank_(rank) {
  for (const py::object& o : held_)
    if (!PyArray_CheckExact(o.ptr()) || !PyArray_ISBEHAVED(as_array(o)))
      fail_type("RankSum", "got no array that can be written");
  PyArrayObject *r = as_array(rows), *m = as_array(marks), *t = as_array(total);
  const int type = PyArray_TYPE(t);
  if ((type != NPY_FLOAT && type != NPY_DOUBLE) || PyArray_TYPE(r) != type || PyArray_TYPE(m) != NPY_INT64)
    fail_type("RankSum", "got other dtypes; expected float32 or float64, and int64");
  type_ = type == NPY_FLOAT ? DType::float32 : DType::float64;
  size_ = PyArray_ITEMSIZE(t);
  if (PyArray_NDIM(r) != 2 || PyArray_NDIM(m) != 2 || PyArray_NDIM(t) != 1)
    fail_value("RankSum", "got other dimensions; expected 2, 2 and 1");
  ranks_ = PyArray_DIM(r, 0), count_ = PyArray_DIM(r, 1), stride_ = PyArray_STRIDE(r, 0);
  if (PyArray_DIM(m, 0) != ranks_ || PyArray_DIM(m, 1) != 8 || !PyArray_IS_C_CONTIGUOUS(m) ||
      PyArray_DIM(t, 0) != count_ || !PyArray_IS_C_CONTIGUOUS(t) || rank < 0 || rank >= ranks_ ||
      count_ < 1 || stride_ < count_ * size_ || PyArray_STRIDE(r, 1) != size_)
    fail_value("RankSum", "got arrays that do not fit each other");
  rows_ = PyArray_BYTES(r), total_ = PyArray_BYTES(t);
  marks_ = static_cast<int64_t*>(PyArray_DATA(m));
}

// Waits for another rank.
bool RankSum::other(int64_t rank, Kind kind) {
  const auto there = [&] { return __atomic_load_n(&mark(rank, kind), __ATOMIC_ACQUIRE) >= number_; };
  for (int i = 0; i < kSpins; ++i) {
    if (there()) return true;
    pause();
  }
  for (const Clock::time_point begin = Clock::now(); Clock::now() - begin < kLong; std::this_thread::yield())
    if (there()) return true;
  while (!there()) {
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject* waited = PyObject_CallFunction(wait_.ptr(), "LiL", static_cast<long long>(rank),
                                             static_cast<int>(kind), static_cast<long long>(number_));
    Py_XDECREF(waited);
    PyGILState_Release(state);
    if (!waited) return false;
  }
  return true;
}

bool RankSum::all(Kind kind) {
  for (int64_t rank = 0; rank < ranks_; ++rank)
    if (rank != rank_ && !other(rank, kind)) return false;
  return true;
}

bool RankSum::begin() { return all(kRead); }

// Where a rank's share of the elements begins: at a cache line.
int64_t RankSum::bound(int64_t rank) const {
  return rank == ranks_ ? count_ : count_ * rank / ranks_ / 16 * 16;
}

// kept: the sum takes the place of the rank's terms too, where the others read it.
void RankSum::sum(int64_t begin, int64_t end, bool kept) {
  const auto blocks = [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = begin; i < end; i += kBlock) {
      const int64_t n = std::min(kBlock, end - i);
      T* out = of<T>(total_) + i;
      tree<T>(rows_ + i * size_, stride_, ranks_, n, out);
      if (kept) std::memcpy(of<T>(row(rank_)) + i, out, n * sizeof(T));
    }
  };
  type_ == DType::float32 ? blocks(0.0f) : blocks(0.0);
}

bool RankSum::add() {
  ++number_;
  tell(kArrived);
  if (!all(kArrived)) return false;
  if (ranks_ == 2 || count_ * size_ <= kWhole) {
    sum(0, count_, false);
  } else {
    sum(bound(rank_), bound(rank_ + 1), true);
    tell(kAdded);
    for (int64_t step = 1; step < ranks_; ++step) {
      const int64_t rank = (rank_ + step) % ranks_, first = bound(rank) * size_;
      if (!other(rank, kAdded)) return false;
      std::memcpy(total_ + first, row(rank) + first, bound(rank + 1) * size_ - first);
    }
  }
  tell(kRead);
  return true;
}

bool RankSum::spread() {
  if (!begin()) return false;
  ++number_;
  if (rank_ == 0) std::memcpy(row(0), total_, count_ * size_);
  tell(kArrived);
  if (rank_ != 0) {
    if (!other(0, kArrived)) return false;
    std::memcpy(total_, row(0), count_ * size_);
  }
  tell(kAdded), tell(kRead);
  return true;
}

RankSum& rank_sum_of(PyObject* self) { return Given<RankSum>::of(self); }

namespace {

py::object new_sum(PyObject*, PyObject* const* given, Py_ssize_t) {
  const auto object = [&](int i) { return py::reinterpret_borrow<py::object>(given[i]); };
  return Object<RankSum>::holding(
      std::make_unique<RankSum>(object(0), object(1), object(2), Given<int64_t>::of(given[3]), object(4)));
}

template <bool (RankSum::*f)()>
void without_gil(RankSum& sum) {
  PyThreadState* state = PyEval_SaveThread();
  const bool done = (sum.*f)();
  PyEval_RestoreThread(state);
  if (!done) throw py::error_already_set();
}

PyMethodDef g_sum[] = {method<without_gil<&RankSum::begin>>("begin", "begin(self: RankSum) -> None"),
                       method<without_gil<&RankSum::add>>("add", "add(self: RankSum) -> None"),
                       method<without_gil<&RankSum::spread>>("spread", "spread(self: RankSum) -> None"),
                       {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_rank_sum(Module m) {
  add_class<RankSum>(m, "ranvier._core.RankSum",
                     "__new__(cls, rows: Array, marks: Array, total: Array, rank: int, "
                     "wait: Callable[[int, int, int], None], /) -> RankSum",
                     {{Py_tp_new, slot(run_slot<new_sum, 5>)}, {Py_tp_methods, g_sum}});
}

}  // namespace ranvier::bind

// RankSum (rank_sum.h): the phases of a sum over the processes of a host, and the loops that add and copy
// elements.
#include "bindings/ranks/rank_sum.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "base/fp_environment.h"
#include "base/parallel.h"
#include "bindings/binder/classes.h"
#include "bindings/binder/numpy_api.h"
#include "program/check.h"

namespace ranvier::bind {
namespace {

using Clock = std::chrono::steady_clock;
// A rank waits for another in three ways: it looks kSpins times (mostly the other comes within some
// microseconds), then looks and yields the core for the time kLong, then calls Python's `wait`, which also
// notices processes that have ended.
constexpr int kSpins = 1000;
constexpr Clock::duration kLong = std::chrono::milliseconds(2);
constexpr int64_t kBlock = 1024;    // elements that are added at once
constexpr int64_t kPast = 1 << 12;  // bytes from which a copy bypasses the caches
// Vectors up to this many bytes are added whole by every rank, which saves one synchronization: with more
// than two ranks, and with two.
constexpr int64_t kWhole = 1 << 14, kWholeOfTwo = 1 << 19;

// out[i] = lower[i] + upper[i] for i < n. Vectors are written explicitly, since this file is optimized for
// size.
template <class T>
void add_lines(const T* lower, const T* upper, T* out, int64_t n) {
  typedef T Lanes __attribute__((vector_size(16), aligned(alignof(T)), may_alias));
  constexpr int64_t kLanes = 16 / sizeof(T), kLine = 4 * kLanes;
  constexpr int64_t kAhead = 192 * kLine;  // elements; far ahead, since other ranks' rows come from memory
  int64_t i = 0;
  for (; i + kLine <= n; i += kLine) {
    __builtin_prefetch(lower + i + kAhead);
    __builtin_prefetch(upper + i + kAhead);
    for (int64_t j = i; j < i + kLine; j += kLanes)
      *reinterpret_cast<Lanes*>(out + j) =
          *reinterpret_cast<const Lanes*>(lower + j) + *reinterpret_cast<const Lanes*>(upper + j);
  }
  for (; i < n; ++i) out[i] = lower[i] + upper[i];
}

// The terms of all ranks in one block of elements. The terms of this rank are read from its vector, not from
// its row.
template <class T>
struct Terms {
  const char* rows;  // of rank 0, at the first element of the block
  int64_t stride;    // bytes from a row to the next
  int64_t own;       // this rank
  const T* values;   // this rank's terms

  const T* row(int64_t rank) const {
    return rank == own ? values : reinterpret_cast<const T*>(rows + rank * stride);
  }
  // The sum of the n terms of the ranks [first, first + ranks) along the tree: in `into`, or for one rank its
  // own terms.
  const T* sum(int64_t first, int64_t ranks, int64_t n, T* into) const {
    if (ranks == 1) return row(first);
    int64_t half = 1;
    while (2 * half < ranks) half *= 2;
    T lower_sums[kBlock], upper_sums[kBlock];
    const T* lower = sum(first, half, n, lower_sums);
    const T* upper = sum(first + half, ranks - half, n, upper_sums);
    add_lines(lower, upper, into, n);
    return into;
  }
};

// A copy that bypasses the caches. An ordinary store would first have to fetch the line from the core that
// read it last.
void copy_past(char* to, const char* from, int64_t bytes) {
#if defined(__x86_64__)
  int64_t i = 0;
  if (bytes >= kPast && reinterpret_cast<uintptr_t>(to) % 16 == 0) {
    for (; i + 64 <= bytes; i += 64)
      for (int64_t j = i; j < i + 64; j += 16)
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + j),
                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + j)));
    _mm_sfence();
  }
  std::memcpy(to + i, from + i, bytes - i);
#else
  std::memcpy(to, from, bytes);
#endif
}

}  // namespace

RankSum::RankSum(const py::object& values, const py::object& rows, const py::object& marks, int64_t rank,
                 const py::object& wait)
    : held_{values, rows, marks}, wait_(wait), rank_(rank) {
  PyArrayObject* v = as_array(values);
  PyArrayObject* r = as_array(rows);
  PyArrayObject* m = as_array(marks);
  bool fit = true;
  for (const py::object& o : held_)
    fit = fit && PyArray_CheckExact(o.ptr()) && PyArray_ISBEHAVED(as_array(o));
  fit = fit && PyArray_NDIM(v) == 1 && PyArray_NDIM(r) == 2 && PyArray_NDIM(m) == 2 && rank >= 0;
  if (fit) {
    type_ = PyArray_TYPE(v) == NPY_FLOAT ? DType::float32 : DType::float64;
    size_ = PyArray_ITEMSIZE(v);
    ranks_ = PyArray_DIM(r, 0);
    count_ = PyArray_DIM(r, 1);
    stride_ = PyArray_STRIDE(r, 0);
    values_ = PyArray_BYTES(v);
    rows_ = PyArray_BYTES(r);
    marks_ = static_cast<int64_t*>(PyArray_DATA(m));
    const int type = PyArray_TYPE(v);
    fit = (type == NPY_FLOAT || type == NPY_DOUBLE) && PyArray_TYPE(r) == type &&
          PyArray_TYPE(m) == NPY_INT64 && PyArray_IS_C_CONTIGUOUS(v) && PyArray_IS_C_CONTIGUOUS(m) &&
          PyArray_DIM(m, 0) == ranks_ && PyArray_DIM(m, 1) == 8 && PyArray_DIM(v, 0) == count_ &&
          count_ > 0 && rank < ranks_ && stride_ >= count_ * size_ && PyArray_STRIDE(r, 1) == size_;
  }
  if (!fit)
    fail_value("RankSum",
               "got arrays that do not fit each other; expected float32 or float64 (n) and "
               "(ranks, n), and int64 (ranks, 8)");
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

// Equal shares, whose bounds are multiples of 16 elements, so that each begins at a cache line.
int64_t RankSum::bound(int64_t rank) const {
  return rank == ranks_ ? count_ : count_ * rank / ranks_ / 16 * 16;
}

void RankSum::publish(int64_t begin, int64_t end) {
  copy_past(row(rank_) + begin * size_, values_ + begin * size_, (end - begin) * size_);
}

void RankSum::sum(int64_t begin, int64_t end, bool published) {
  const FpEnvironment environment;
  const auto blocks = [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = begin; i < end; i += kBlock) {
      T* const values = reinterpret_cast<T*>(values_) + i;
      const Terms<T> terms{rows_ + i * size_, stride_, rank_, values};
      terms.sum(0, ranks_, std::min(kBlock, end - i), values);
      if (published) publish(i, std::min(i + kBlock, end));  // while the block is in cache
    }
  };
  if (type_ == DType::float32) {
    blocks(0.0f);
  } else {
    blocks(0.0);
  }
}

// The phases: wait until all ranks have read the last sum, publish this rank's terms, wait for those of all
// others, sum. Of a long vector, then publish the sums of this rank's share and read those of the other
// shares.
bool RankSum::add(bool says, int64_t head) {
  agreed_ = says;
  if (ranks_ == 1) return true;
  if (!all(kRead)) return false;  // the other ranks have read this rank's row of the last sum
  ++number_;
  const bool whole = head < 0 && count_ * size_ <= (ranks_ == 2 ? kWholeOfTwo : kWhole);
  if (whole) {
    publish(0, count_);
  } else {  // all but this rank's share, which only this rank reads
    publish(0, begin_own(head));
    publish(end_own(), count_);
  }
  mark(rank_, kSays) = says;
  tell(kArrived);
  if (!all(kArrived)) return false;
  for (int64_t rank = 0; rank < ranks_; ++rank) agreed_ = agreed_ && mark(rank, kSays);
  if (head >= 0) {
    sum(0, head, false);
    return true;
  }
  if (whole) {
    sum(0, count_, false);
  } else {
    sum(bound(rank_), end_own(), true);
    tell(kAdded);
    for (int64_t step = 1; step < ranks_; ++step) {
      const int64_t rank = (rank_ + step) % ranks_;
      const int64_t first = bound(rank) * size_;
      if (!other(rank, kAdded)) return false;
      std::memcpy(values_ + first, row(rank) + first, bound(rank + 1) * size_ - first);
    }
  }
  tell(kRead);
  return true;
}

void RankSum::move(int64_t rank, int64_t at, int64_t size, char* data) const {
  const int64_t begin = std::max(bound(rank), at);
  const int64_t n = std::min(bound(rank + 1), at + size) - begin;
  if (n <= 0) return;
  char* const mine = data + (begin - at) * size_;
  char* const shared = row(rank) + begin * size_;
  if (rank == rank_)
    copy_past(shared, mine, n * size_);
  else
    std::memcpy(mine, shared, n * size_);
}

void RankSum::give(int64_t at, int64_t n, const float* data) {
  copy_past(row(rank_) + at * size_, reinterpret_cast<const char*>(data), n * size_);
}

bool RankSum::take(const std::function<void(int64_t)>& copy) {
  tell(kAdded);
  for (int64_t step = 1; step < ranks_; ++step) {
    const int64_t rank = (rank_ + step) % ranks_;
    if (!other(rank, kAdded)) return false;
    copy(rank);
  }
  tell(kRead);
  return true;
}

bool RankSum::exchange(const std::function<void(int64_t)>& copy, bool begins) {
  if (begins) {
    if (!all(kRead)) return false;
    ++number_;
  }
  copy(rank_);
  return take(copy);
}

bool RankSum::spread() {
  if (!all(kRead)) return false;
  ++number_;
  if (rank_ == 0) publish(0, count_);
  tell(kArrived);
  if (rank_ != 0) {
    if (!other(0, kArrived)) return false;
    std::memcpy(values_, row(0), count_ * size_);
  }
  tell(kRead);
  return true;
}

namespace {

template <bool (RankSum::*f)()>
void without_gil(RankSum& sum) {
  PyThreadState* state = PyEval_SaveThread();
  const bool done = (sum.*f)();
  PyEval_RestoreThread(state);
  if (!done) throw py::error_already_set();
}

struct Number : py::int_ {
  RANVIER_ANNOTATION("int");
};

// A checksum of an array's bytes, by which ranks compare arrays.
Number checksum_of(Raw data) {
  if (!PyArray_CheckExact(data.value.ptr()) || !PyArray_ISCARRAY_RO(as_array(data.value)))
    fail_type("checksum", "got ", Py_TYPE(data.value.ptr())->tp_name, "; expected a contiguous array");
  PyArrayObject* a = as_array(data.value);
  PyThreadState* state = PyEval_SaveThread();  // the array is held by the caller
  const uint64_t sum = checksum(PyArray_DATA(a), PyArray_NBYTES(a));
  PyEval_RestoreThread(state);
  return {py::int_(sum)};
}

PyMethodDef g_sum[] = {method<without_gil<&RankSum::add>>("add", "add(self: RankSum) -> None"),
                       method<without_gil<&RankSum::spread>>("spread", "spread(self: RankSum) -> None"),
                       {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_rank_sum(Module m) {
  def(m, "checksum(data)", checksum_of);
  add_class<RankSum>(m, "ranvier._core.RankSum",
                     "__new__(cls, values: Array, rows: Array, marks: Array, rank: int, "
                     "wait: Callable[[int, int, int], None], /) -> RankSum",
                     {constructor<RankSum, py::object, py::object, py::object, int64_t, py::object>(),
                      {Py_tp_methods, g_sum}});
}

}  // namespace ranvier::bind

// The sum of a vector over the processes of a host, in memory that they share.
#pragma once
#include <cstdint>

#include "bindings/params.h"

namespace ranvier::bind {

// Each process (rank) writes its terms to its row, and calls add(). Every element is added along one binary
// tree: neighbours, then neighbouring pairs ... A rank meets the others by numbers in a cache line of its
// own, each the number of sums for which it has done something: no rank waits for a message.
class RankSum {
 public:
  // rows: (ranks, n), shared; marks: (ranks, 8) int64, shared, zeros at first; total: (n). wait(rank, kind,
  // number): returns when marks[rank, kind] >= number, or raises.
  RankSum(const py::object& rows, const py::object& marks, const py::object& total, int64_t rank,
          const py::object& wait);

  // Waits until all ranks have read the rows of the last sum: they can be written again. As in all of these,
  // false where an exception of `wait` is set; they are called without the GIL.
  bool begin();
  // total = the sum over all ranks; the row is then in use until begin().
  bool add();
  // total = the total of rank 0, where it differs.
  bool spread();
  double first() const { return type_ == DType::float32 ? *of<float>(total_) : *of<double>(total_); }

 private:
  enum Kind { kArrived, kAdded, kRead };

  template <class T>
  static T* of(char* data) {
    return reinterpret_cast<T*>(data);
  }
  int64_t& mark(int64_t rank, Kind kind) const { return marks_[8 * rank + kind]; }
  char* row(int64_t rank) const { return rows_ + rank * stride_; }
  bool all(Kind kind);
  bool other(int64_t rank, Kind kind);
  void tell(Kind kind) { __atomic_store_n(&mark(rank_, kind), number_, __ATOMIC_RELEASE); }
  int64_t bound(int64_t rank) const;
  void sum(int64_t begin, int64_t end, bool kept);

  py::object held_[3], wait_;
  char *rows_, *total_;
  int64_t* marks_;
  int64_t rank_, ranks_, count_, stride_;  // stride: bytes
  int64_t number_ = 0;                     // of the sum
  DType type_;
  int64_t size_;  // bytes of an element
};

RankSum& rank_sum_of(PyObject* self);

}  // namespace ranvier::bind

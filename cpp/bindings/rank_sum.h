// The sum of a vector over the processes of a host, in memory that they share.
#pragma once
#include <cstdint>

#include "bindings/params.h"

namespace ranvier::bind {

// Each process (rank) copies its terms to its row, and adds those of all. Every element is added along one
// binary tree: neighbours, then neighbouring pairs ... A rank meets the others by numbers in a cache line of
// its own, each the number of sums for which it has done something: no rank waits for a message.
class RankSum {
 public:
  // values: (n), of this rank; rows: (ranks, n), shared; marks: (ranks, 8) int64, shared, zeros at first.
  // wait(rank, kind, number): returns when marks[rank, kind] >= number, or raises.
  RankSum(const py::object& values, const py::object& rows, const py::object& marks, int64_t rank,
          const py::object& wait);

  // The values become the sum over all ranks. False where an exception of `wait` is set; without the GIL.
  bool add();
  // The values become those of rank 0.
  bool spread();

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
  void publish(int64_t begin, int64_t end);
  void sum(int64_t begin, int64_t end, bool published);

  py::object held_[3], wait_;
  char *values_, *rows_;
  int64_t* marks_;
  int64_t rank_, ranks_, count_, stride_;  // stride: bytes
  int64_t number_ = 0;                     // of the sum
  DType type_;
  int64_t size_;  // bytes of an element
};

RankSum& rank_sum_of(PyObject* self);

}  // namespace ranvier::bind

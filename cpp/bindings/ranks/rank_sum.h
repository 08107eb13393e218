// The sum of a vector over the processes of a host, in memory that they share.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>

#include "bindings/binder/params.h"

namespace ranvier::bind {

// Each process (rank) copies its terms to its row, and adds those of all. Every element is added along one
// binary tree: neighbours, then neighbouring pairs ... Ranks synchronize through counters, each rank in a
// cache line of its own: how many sums it has reached in each phase. No messages are sent.
class RankSum {
 public:
  // values: (n), of this rank; rows: (ranks, n), shared; marks: (ranks, 8) int64, shared, zeros at first.
  // wait(rank, kind, number): returns when marks[rank, kind] >= number, or raises.
  RankSum(const py::object& values, const py::object& rows, const py::object& marks, int64_t rank,
          const py::object& wait);

  // The values become the sum over all ranks. False where an exception of `wait` is set; without the GIL.
  bool add() { return add(false); }
  // says: see agreed(). With a `head`, the first `head` values only. Of the others each rank owns a part:
  // it computes their sums by sum(), uses them, and publishes a result by give(); then take() reads the
  // results of all ranks.
  bool add(bool says, int64_t head = -1);
  void sum(int64_t begin, int64_t end) { sum(begin, end, false); }
  // Copies n numbers to the rank's row, as its element `at` and those after it.
  void give(int64_t at, int64_t n, const float* data);
  // copy(rank): calls move() for the result of a rank. It is called for each other rank as soon as that has
  // called give().
  bool take(const std::function<void(int64_t rank)>& copy);
  // The same after copy() of the rank itself, in place of give(). begins: it is an exchange of its own, and
  // not the end of such an add().
  bool exchange(const std::function<void(int64_t rank)>& copy, bool begins);
  // data: elements [at, at + size) of a vector as the values are. Those that are the rank's are copied to its
  // row, or from there on the other ranks.
  void move(int64_t rank, int64_t at, int64_t size, char* data) const;
  bool agreed() const { return agreed_; }  // whether all ranks have said `true` in the last sum
  // The values become those of rank 0.
  bool spread();

  int64_t ranks() const { return ranks_; }
  int64_t count() const { return count_; }
  DType type() const { return type_; }
  char* values() const { return values_; }
  int64_t begin_own(int64_t head) const { return std::max(bound(rank_), head); }
  int64_t end_own() const { return bound(rank_ + 1); }
  int64_t bound(int64_t rank) const;  // where a rank's elements begin

 private:
  enum Kind { kArrived, kAdded, kRead, kSays };

  int64_t& mark(int64_t rank, Kind kind) const { return marks_[8 * rank + kind]; }
  char* row(int64_t rank) const { return rows_ + rank * stride_; }
  bool all(Kind kind);
  bool other(int64_t rank, Kind kind);
  void tell(Kind kind) { __atomic_store_n(&mark(rank_, kind), number_, __ATOMIC_RELEASE); }
  void publish(int64_t begin, int64_t end);
  void sum(int64_t begin, int64_t end, bool published);

  py::object held_[3], wait_;
  char *values_, *rows_;
  int64_t* marks_;
  int64_t rank_, ranks_, count_, stride_;  // stride: bytes
  int64_t number_ = 0;                     // the number of the sum
  bool agreed_ = false;
  DType type_;
  int64_t size_;  // bytes of an element
};

}  // namespace ranvier::bind

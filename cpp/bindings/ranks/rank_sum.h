// RankSum: the sum of a vector over the processes of a host ("ranks"), in memory that they share.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>

#include "bindings/binder/params.h"

namespace ranvier::bind {

// Each rank copies its vector to its row of the shared memory, and then adds the rows. A short vector is
// added whole by every rank; of a long one each rank adds an equal share of the elements and reads the sums
// of the others. Every element is added along the same binary tree (neighbouring ranks, then neighbouring
// pairs ...), so all ranks get the same bits. Ranks synchronize through counters ("marks"): each rank counts,
// in a cache line of its own, how many sums it has reached in each phase.
class RankSum {
 public:
  // values: (n), float32 or float64, this rank's vector. rows: (ranks, n), shared. marks: (ranks, 8) int64,
  // shared, zeros at first; the columns are those of Kind. wait(rank, kind, number): a function of Python
  // that returns when marks[rank, kind] >= number, or raises, as when that process has ended.
  RankSum(const py::object& values, const py::object& rows, const py::object& marks, int64_t rank,
          const py::object& wait);

  // All ranks make the same calls in the same order, without the GIL. Those that wait for other ranks return
  // false if `wait` has raised an error of Python.

  // The values become the sum over all ranks.
  bool add() { return add(false); }
  // The same; agreed() then tells whether all ranks have passed says = true. With head >= 0 only the first
  // `head` values are summed. Of the others each rank owns a part, [begin_own(head), end_own()): it sums them
  // by sum(), computes something from the sums, such as new weights, and publishes that by give(). take()
  // then reads what all ranks have published, and ends the call.
  bool add(bool says, int64_t head = -1);
  void sum(int64_t begin, int64_t end) { sum(begin, end, false); }
  // Copies n numbers to this rank's row, at its elements [at, at + n).
  void give(int64_t at, int64_t n, const float* data);
  // copy(rank) is called for each other rank as soon as its give() calls are done, and calls move() to read
  // its row.
  bool take(const std::function<void(int64_t rank)>& copy);
  // First calls copy() for this rank, in which move() writes its row (in place of give()), then take().
  // begins: it is an exchange of its own; false: it is the end of an add() with a head.
  bool exchange(const std::function<void(int64_t rank)>& copy, bool begins);
  // data: the elements [at, at + size) of a vector of as many elements as the values. Those that belong to
  // `rank` are copied from data to its row if it is this rank, else from its row to data.
  void move(int64_t rank, int64_t at, int64_t size, char* data) const;
  bool agreed() const { return agreed_; }  // see add()
  // The values become those of rank 0.
  bool spread();

  int64_t ranks() const { return ranks_; }
  int64_t count() const { return count_; }
  DType type() const { return type_; }
  char* values() const { return values_; }
  // The elements that this rank owns, without the first `head` ones.
  int64_t begin_own(int64_t head) const { return std::max(bound(rank_), head); }
  int64_t end_own() const { return bound(rank_ + 1); }
  int64_t bound(int64_t rank) const;  // the first element that a rank owns

 private:
  // The columns of marks. The number of the last sum in which the rank: has written its terms; has written
  // its sums; has read everything, so that rows may be overwritten. kSays: what it has passed as `says` (0 or
  // 1).
  enum Kind { kArrived, kAdded, kRead, kSays };

  int64_t& mark(int64_t rank, Kind kind) const { return marks_[8 * rank + kind]; }
  char* row(int64_t rank) const { return rows_ + rank * stride_; }
  bool all(Kind kind);                  // waits until all other ranks have reached this sum's phase
  bool other(int64_t rank, Kind kind);  // waits for one rank
  void tell(Kind kind) { __atomic_store_n(&mark(rank_, kind), number_, __ATOMIC_RELEASE); }
  void publish(int64_t begin, int64_t end);              // copies these values to this rank's row
  void sum(int64_t begin, int64_t end, bool published);  // sums these values; published: publishes them, too

  py::object held_[3], wait_;  // held_: the three arrays
  char *values_, *rows_;
  int64_t* marks_;
  int64_t rank_, ranks_;
  int64_t count_;       // of the values
  int64_t stride_;      // bytes from a row to the next
  int64_t number_ = 0;  // the number of the present sum, from 1 on
  bool agreed_ = false;
  DType type_;
  int64_t size_;  // bytes of an element
};

}  // namespace ranvier::bind

// Many runs in one call: programs run on batch after batch of arrays, without Python in between.
#pragma once
#include <functional>

#include "base/parallel.h"
#include "program/program.h"

namespace ranvier::bind {

// Work on each batch before the last program runs, such as a sum over other processes; it also says how that
// program runs then. Python gives it as a `_core.Between`. All but begin() is called without the GIL.
class Between {
 public:
  virtual ~Between() = default;
  // Once, before the first batch. last: the last program, on whose arrays it stays.
  virtual void begin(const Program& last) = 0;
  // stays: whether two more batches follow, as far as this process knows. False where an exception is set.
  virtual bool meet(bool stays) = 0;
  // Runs the last program, as `run` does. False where it has failed, or an exception is set.
  virtual bool finish(const Team& team, const std::function<bool()>& run) = 0;

  int64_t milliseconds = 50;  // after which no further batch begins
  // Results of the last meet(): the numbers that Python gets for the batch, where no other batch follows if
  // the first is not finite; and true if two more batches follow in any case.
  double numbers[2] = {};
  bool agreed = false;
};

}  // namespace ranvier::bind

// Runs programs on one batch after another in a single call, without Python in between (batch_run.cpp).
// Between is the interface for work that is done within each batch.
#pragma once
#include <functional>

#include "base/parallel.h"
#include "program/program.h"

namespace ranvier::bind {

// Work on each batch before the last program runs, such as a sum of gradients over processes; it also runs
// the last program. Python passes it as a `_core.Between`. All methods except begin() are called without the
// GIL.
class Between {
 public:
  virtual ~Between() = default;
  // Called once, before the first batch. last: the last program, whose arrays stay the same in all batches.
  virtual void begin(const Program& last) = 0;
  // Called in each batch, after all programs except the last. stays: as far as this process knows, two more
  // batches follow. False if Python's error is set.
  virtual bool meet(bool stays) = 0;
  // Runs the last program: by run(), or in its own way. False if it has failed, or Python's error is set.
  virtual bool finish(const Team& team, const std::function<bool()>& run) = 0;

  int64_t milliseconds = 50;  // no further batch begins after this time
  // Set by meet(). numbers: what Python gets for the batch; if numbers[0] is not finite, no other batch
  // follows. agreed: two more batches follow in any case, in all processes.
  double numbers[2] = {};
  bool agreed = false;
};

}  // namespace ranvier::bind

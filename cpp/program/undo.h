// Undo: what a run of a program has changed is put back where a check fails.
//
// Checks that depend on arguments alone come before anything else. Others follow instructions that change
// what outlives the run: statistics, gradients, parameters, streams of random numbers. The bytes of such
// memory are copied before each run. Where no check comes after a change, nothing is copied.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/allocator.h"

namespace ranvier {

struct Buffer;
struct Instruction;
class Team;

class Undo {
 public:
  // first: the first instruction that is not prepared.
  Undo(const std::vector<Instruction>& instructions, const std::vector<Buffer>& buffers, size_t first);

  size_t bytes() const { return bytes_; }
  void keep(const Team& team, const std::vector<Buffer>& buffers);  // a run is about to begin
  // The run has ended at this check.
  void put_back(size_t failed, const std::vector<Buffer>& buffers);

 private:
  char* memory() const { return static_cast<char*>(memory_.get()); }
  struct Copy {
    int buffer;
    size_t offset, bytes;  // in memory_
  };
  // Other threads draw from a stream too, also during a run. Keys are given back only where these have drawn
  // none meanwhile, so that no key is given twice.
  struct Stream {
    int64_t* drawn;             // how many keys it has given
    std::vector<size_t> draws;  // the instructions that draw one
    int64_t before = 0;
  };

  std::vector<Copy> copies_;
  std::vector<Stream> streams_;
  size_t bytes_ = 0;
  OwnBlock memory_;
};

}  // namespace ranvier

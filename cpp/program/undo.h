// Undo: if a check of a program fails (Instruction::guard in program.h), puts back the memory that the run
// has changed.
//
// Most checks run before all other instructions. But a check of computed values may follow instructions that
// change memory which outlives the run: statistics, gradients, parameters, streams of random numbers. Before
// each run the buffers that are written before the program's last check are copied; later writes need no
// copy.
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
  // first: the index of the first instruction that is not prepared.
  Undo(const std::vector<Instruction>& instructions, const std::vector<Buffer>& buffers, size_t first);

  size_t bytes() const { return bytes_; }
  void keep(const Team& team, const std::vector<Buffer>& buffers);  // makes the copies, before a run
  // Copies them back. failed: the index of the check at which the run has ended.
  void put_back(size_t failed, const std::vector<Buffer>& buffers);

 private:
  char* memory() const { return static_cast<char*>(memory_.get()); }
  struct Copy {
    int buffer;
    size_t offset, bytes;  // in memory_
  };
  // A stream of random keys, from which other threads may draw during a run. put_back() gives the run's keys
  // back only if no other thread has drawn one meanwhile, so that no key is given twice.
  struct Stream {
    int64_t* drawn;             // how many keys have been drawn from it
    std::vector<size_t> draws;  // the indices of the instructions that draw a key
    int64_t before = 0;         // the value of *drawn before the run
  };

  std::vector<Copy> copies_;
  std::vector<Stream> streams_;
  size_t bytes_ = 0;
  OwnBlock memory_;
};

}  // namespace ranvier

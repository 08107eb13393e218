// check: a program against an eager run of the same step that was recorded too.
//
// The recording has kept all memory of the eager run, so the program, run again from the same state, can be
// compared result by result, to the bit; the first instruction that differs is named.
#pragma once
#include <string>
#include <vector>

#include "program/program.h"

namespace ranvier {

// The bytes of the persistent buffers that a program uses.
class Snapshot {
 public:
  explicit Snapshot(const Program& program);
  // streams: also the random streams, which other Python threads may be drawing from.
  void restore(const Program& program, bool streams) const;
  const char* of(int buffer) const { return bytes_[buffer].data(); }

 private:
  std::vector<std::vector<char>> bytes_;
  std::vector<bool> streams_;
};

// Why the eager run is another list of calls than the program was made from; empty: it is the same.
std::string other_path(const Program& program, const Recording& eager);

// What differs, or nothing. `before`: the state before the eager run; the state after that run is restored at
// the end. The program gets the random keys of the eager run and leaves the streams as they are. The
// program's arguments and outputs must be set.
std::string check(Program& program, const Snapshot& before, const Recording& eager);

}  // namespace ranvier

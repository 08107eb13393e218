// Check compares a program with an eager run of the same step, bit by bit.
//
// Before the eager run, the constructor copies the persistent memory that the program changes (parameters,
// state, gradients). After the eager run, finish() runs the program on the copies. Then the results and the
// changed memory of both have to be equal. Checksums of the memory that the program only reads tell whether
// the step has changed that memory without a call of the core, which a replay would not repeat.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/isa.h"
#include "program/program.h"

namespace ranvier {

// Says where the calls of an eager run begin to differ in kind from the recorded calls of the program. Empty
// if they do not differ.
std::string other_path(const Program& program, const Recording& eager);

// True if two arrays at a and b, both with the layout of v, differ in any bit; two NaN count as equal. type:
// the letter of their elements' type (View::type in base/views.h).
bool differ(char type, const AnyView& v, const char* a, const char* b);

// A checksum of memory. A change within one word of 8 bytes always changes it; any other change leaves it
// equal with a probability of about 2^-64.
uint64_t checksum(const void* data, size_t bytes);

class Check {
 public:
  // To be made just before the eager run, which is recorded in `eager`; null: it is not recorded. Then its
  // results and gradients are not compared here (ArrayCheck does that), only the memory that was there
  // before.
  Check(Program& program, const Recording* eager);
  // To be called after the eager run. Returns the first difference as text; empty if there is none, or if the
  // eager run made other calls than the program has (other_path). prepare() sets the program's arguments and
  // outputs.
  std::string finish(const std::function<void()>& prepare);
  // After finish(): true if the eager run had memory for everything that the program leaves. It has not where
  // the step makes an optimizer anew in each run, say, whose state is in memory of its own then.
  bool is_complete() const { return complete_; }
  // True if another thread has drawn from a random stream of the program during the eager run. To be called
  // after the eager run and before finish(), whose run of the program draws from the copies that are read
  // here (compile/record.py does so).
  bool disturbed() const;

 private:
  struct Place {  // a buffer that was there before the step and that the program changes
    OwnBlock copy;
    char* address;  // its address outside the check
  };
  void exchange();
  bool is_made(int buffer) const;
  std::vector<const Region*> made() const;
  std::string difference();
  std::string fault(const Instruction& i, const char* what) const;

  Program& program_;
  const Recording* const eager_;  // may be null
  bool complete_ = false;
  const Isa isa_;  // the ISA level at the start; finish() compares nothing if it has changed since
  std::map<int, Place> changed_;  // by buffer
  // Checksums of the memory that the program only reads, by address and bytes.
  std::map<std::pair<const char*, size_t>, uint64_t> read_;
};

}  // namespace ranvier

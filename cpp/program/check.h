// check: a program beside an eager run of the same step, to the bit.
//
// When the eager run has ended, the program runs on copies of the lasting memory that it changes (parameters,
// state, gradients), made before the eager run. What outlives the step must then be the same. Sums of the
// memory that it only reads tell whether something else than a call of the core has changed that.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/isa.h"
#include "program/program.h"

namespace ranvier {

// The first difference between the calls of an eager run and those from which the program was made; empty:
// none.
std::string other_path(const Program& program, const Recording& eager);

// True if the elements of a view, whose data would be at a and at b, differ in any bit; two NaN do not.
bool differ(char type, const AnyView& v, const char* a, const char* b);

// A number that a change of any one word changes for certain, and any other change but for one in 2^64.
uint64_t checksum(const void* data, size_t bytes);

class Check {
 public:
  // The eager run is about to begin.
  Check(Program& program, const Recording& eager);
  // The difference as text, when the eager run has ended; empty for none, and where it took another path.
  // prepare() sets the program's arguments and outputs.
  std::string finish(const std::function<void()>& prepare);
  // True if something else has drawn from a random stream of the program during the eager run.
  bool disturbed() const;

 private:
  struct Place {  // a buffer that was there before the step and that the program changes
    OwnBlock copy;
    char* address;  // its address outside the check
  };
  void exchange();
  bool is_made(int buffer) const;
  std::vector<const Region*> made() const;
  std::string difference() const;
  std::string fault(const Instruction& i, const char* what) const;

  Program& program_;
  const Recording& eager_;
  const Isa isa_;                                            // the workspace is made for it
  std::map<int, Place> changed_;                             // by buffer
  std::map<std::pair<const char*, size_t>, uint64_t> read_;  // sums of bytes that it only reads
};

}  // namespace ranvier

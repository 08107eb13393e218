// check: a program beside an eager run of the same step, call by call, to the bit.
//
// After each recorded call of the eager run the instructions that do its work run too, and what they write is
// compared with what the call has written. So a result of the eager run is kept until the next call only. The
// program reads and writes lasting memory (parameters, state, gradients that stay) where the eager run has
// the same bytes, and copies of it where it has not: from an eager call that changes it to the instruction
// that does the same. Sums of that memory tell whether anything else has changed it.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/isa.h"
#include "program/program.h"

namespace ranvier {

struct NextKey;

// The bytes of the persistent buffers that a program uses.
class Snapshot {
 public:
  explicit Snapshot(const Program& program);
  void restore(const Program& program) const;

 private:
  std::vector<std::vector<char>> bytes_;
};

// Why the eager run is another list of calls than the program was made from; empty: it is the same.
std::string other_path(const Program& program, const Recording& eager);

// The largest difference of what one instruction writes, and the largest element of the results that differ;
// two NaN are equal.
struct Difference {
  double largest = 0, size = 0;
  bool found = false;  // also where it is 0 and -0
  double relative() const;
};

// Adds the elements of a view, whose data would be at a and at b.
void compare(char type, const AnyView& v, const char* a, const char* b, Difference& difference);

// A number that a change of any one word changes for certain, and any other change but for one in 2^64.
uint64_t checksum(const void* data, size_t bytes);

class Check {
 public:
  // The eager run is about to begin. The program's arguments and outputs must be set.
  Check(Program& program, Recording& eager);
  ~Check();
  Check(const Check&) = delete;
  Check& operator=(const Check&) = delete;

  // Whether the temporary of the eager run with this number will be compared.
  bool compares(size_t number) const;
  // The eager run is about to make its next call.
  void before(const Record& call);
  // What differs, or nothing, when the eager run has ended; nothing too where it took another path.
  std::string finish();

 private:
  struct Discard {  // gives the pages back at once
    void operator()(char* copy) const;
  };
  using Copy = std::unique_ptr<char, Discard>;
  struct Lasting {         // a persistent buffer
    char* at = nullptr;    // where the program finds it
    Copy own = {};         // a copy for the program alone, which is there then; else null
    uint64_t sum = 0;      // of what is there, without a copy
    bool changed = false;  // the copy was made of something else than the sum's
  };
  struct Waiting {  // an instruction that has run before the eager run has made its results
    size_t instruction;
    std::vector<Copy> copies;  // of the memory of each use, where it does not stay
  };
  using Range = std::pair<const char*, size_t>;  // address and bytes
  const Buffer& buffer(const Use& use) const { return program_.buffers()[use.region]; }
  void find_last();
  void find_lasting();
  Range read_from(const Instruction& i, const Use& use) const;
  bool is_changed(const Instruction& i, const Use& use) const;
  bool is_lasting(const Instruction& i, const Use& use) const;
  char* memory(const Instruction& i, const Use& use) const;  // of the whole buffer, where it is now
  const char* expected(size_t i, const Use& use);
  void take(int buffer);
  void share(int buffer, const char* theirs);
  void advance(int done);
  void run(size_t i);
  void take_key(size_t i, const NextKey& call);
  void wait(size_t i);
  void compare_results(size_t i, const std::vector<Copy>& copies);
  void settle(size_t i);
  void see_the_end();
  void blame(size_t i, const std::string& what);
  void stop();

  Program& program_;
  Recording& eager_;
  const Isa isa_;                         // the workspace is made for it
  std::vector<int> buffers_;              // of the program, by the number of the temporary
  std::vector<int> numbers_;              // of the temporary, by buffer; or -1
  std::vector<int> made_;                 // the eager run's region, by the number of the temporary
  std::vector<int> last_;                 // the instruction that writes it last, by buffer; or -1
  std::vector<std::vector<bool>> final_;  // by instruction and use: writes what no later one overwrites
  std::vector<int> left_;                 // by buffer: such writes that are not yet compared
  std::vector<int> start_;                // the eager call after which an instruction runs
  std::vector<Lasting> lasting_;          // by buffer
  std::map<const char*, int> at_;         // buffers that the program finds where the eager run has them
  std::map<Range, uint64_t> read_;        // sums of what it reads of memory that it does not write
  std::vector<uint64_t> sums_;            // of the eager run's results, by buffer
  std::vector<Waiting> waiting_;
  size_t next_ = 0, scanned_ = 0;  // the instruction to run, the region to look at
  int done_ = -1;                  // the last eager call that has run
  bool stopped_ = false;
  std::string fault_;
};

}  // namespace ranvier

// check: a program beside an eager run of the same step, call by call, to the bit.
//
// An instruction runs when the eager run has made the calls whose work it and those before it do; what it
// writes is compared with what they have written. So a result of the eager run is kept until then only. The
// program reads and writes lasting memory (parameters, state, gradients that stay) where the eager run has
// the same bytes, and copies of it where it has not: from an eager call that changes it to the instruction
// that does the same. Sums of that memory tell whether anything else has changed it.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/isa.h"
#include "program/program.h"

namespace ranvier {

struct NextKey;

// Why the eager run is another list of calls than the program was made from; empty: it is the same.
std::string other_path(const Program& program, const Recording& eager);

// Whether the elements of a view, whose data would be at a and at b, differ in any bit; two NaN do not.
bool differ(char type, const AnyView& v, const char* a, const char* b);

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
  struct Lasting {       // a persistent buffer, or a result that was compared
    char* at = nullptr;  // where the program finds it
    OwnBlock own;        // a copy for the program alone, which is there then; else null
    uint64_t sum = 0;    // of what is there, without a copy
  };
  using Range = std::pair<const char*, size_t>;  // address and bytes
  const Buffer& buffer(const Use& use) const { return program_.buffers()[use.region]; }
  bool is_same_path(const CallType* type) const;
  void find_last();
  void find_lasting();
  Range read_from(const Instruction& i, const Use& use) const;
  bool is_changed(const Instruction& i, const Use& use) const;
  bool is_lasting(const Instruction& i, const Use& use) const;
  const char* expected(size_t i, const Use& use);
  void take(int buffer);
  void keep_result(int region);
  void share(int buffer, const char* theirs);
  void advance(int done);
  void run(size_t i);
  void take_key(size_t i, const NextKey& call);
  void compare_results(size_t i);
  void settle(const Use& use, bool last, const char* theirs);
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
  std::vector<int> complete_;             // by buffer: the eager call after which they are made
  std::map<int, OwnBlock> kept_;          // by buffer: the eager run's result as it was then
  std::vector<int> start_;                // the eager call after which an instruction runs
  std::vector<Lasting> lasting_;          // by buffer
  std::map<const char*, int> at_;         // buffers that the program finds where the eager run has them
  std::map<Range, uint64_t> read_;        // sums of what it reads of memory that it does not write
  size_t next_ = 0, scanned_ = 0;         // the instruction to run, the region to look at
  bool stopped_ = false;
  std::string fault_;
};

}  // namespace ranvier

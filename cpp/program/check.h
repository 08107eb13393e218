// Check compares a program with an eager run of the same step, bit by bit.
//
// The constructor runs the program, before the eager run: on copies of the persistent memory that it changes
// (parameters, state), with gradients in memory of their own. What it has written is kept as fingerprints, so
// that the copies, and the memory of the temporaries, are free when the eager run begins. finish() then
// compares the fingerprints with what the eager run has left. Checksums of the memory that the program only
// reads tell whether the step has changed that memory without a call of the core, which a replay would not
// repeat.
//
// The updates of parameters at the end of a program (LastUpdates) run on copies of one piece after another:
// copies of all parameters and of the optimizer's state would be as large as the model.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/isa.h"
#include "program/program.h"

namespace ranvier {

// Says where the calls of an eager run begin to differ in kind from the recorded calls of the program. Empty
// if they do not differ.
std::string other_path(const Program& program, const Recording& eager);

// A checksum of elements that are added piece by piece; all NaN of float and double count as the same number.
class Fingerprint {
 public:
  // type: the letter of the elements' type (View::type in base/views.h).
  void add(char type, const void* elements, int64_t count);
  // The elements of an array at `data` with the layout of v, whose own data is not read.
  void add(char type, const AnyView& v, const char* data);
  uint64_t value();

 private:
  template <class T>
  void add_as(const char* elements, int64_t count);
  template <class T>
  void walk(const AnyView& v, const char* data);
  void mix(const char* block, size_t bytes);

  static constexpr size_t kBytes = 4096;
  alignas(64) char pending_[kBytes];  // not yet part of the sum
  size_t size_ = 0;
  uint64_t sum_ = 0;
};

// A checksum of memory. A change within one word of 8 bytes always changes it; any other change leaves it
// equal with a probability of about 2^-64.
uint64_t checksum(const void* data, size_t bytes);

// The updates of parameters (OptimizerStep) at the end of a program, if they change much memory, and if
// nothing else in the program uses that memory afterwards or writes it. While a LastUpdates exists, a run of
// the program leaves them out.
class LastUpdates {
 public:
  explicit LastUpdates(const Program& program);
  ~LastUpdates();
  LastUpdates(const LastUpdates&) = delete;
  LastUpdates& operator=(const LastUpdates&) = delete;

  // The first of them; all instructions after it belong to them. The number of instructions if there is none.
  size_t first() const { return first_; }
  // Runs them after a run of the program, and returns the fingerprint of each array that they change, by its
  // view in the call. The memory of the program stays as it is.
  std::map<const AnyView*, uint64_t> run();

 private:
  const Program& program_;
  size_t first_;
  std::vector<int> counts_;  // OptimizerStep::count of each
};

class Check {
 public:
  // What the owner of a check does around the run of the program. prepare() sets its arguments and outputs.
  // made() is called after a run without a failed check, while the program's buffers have the addresses of
  // that run.
  struct Around {
    std::function<void()> prepare, made;
  };
  // To be made just before the eager run. late: the program runs in finish() instead, since it calls
  // functions of Python, whose effects the eager run would see.
  Check(Program& program, const Around& around, bool late);
  // To be called after the eager run, which was recorded in `eager`; null: it was not recorded. Then its
  // results and gradients are not compared here (ArrayCheck does that), only the memory that was there
  // before. Returns the first difference as text; empty if there is none, or if the eager run made other
  // calls than the program has (other_path).
  std::string finish(const Recording* eager, const Around& around);
  // After finish(): true if the eager run had memory for everything that the program leaves. It has not where
  // the step makes an optimizer anew in each run, say, whose state is in memory of its own then.
  bool is_complete() const { return complete_; }
  // True if another thread has drawn from a random stream of the program during the eager run. To be called
  // after it.
  bool disturbed() const;

 private:
  // What an instruction has written: the view of use number `use`.
  struct Written {
    size_t instruction, use;
    uint64_t fingerprint;
    const char* address;  // of the buffer, outside the check
  };
  // A stream of random keys. given: where it says how many keys it has given. before: how many that were when
  // the check began.
  struct Stream {
    const int64_t* given;
    int64_t before, draws;  // draws: how many keys one run takes
  };
  // A block in which a persistent buffer of the program lies during the run.
  struct Place {
    OwnBlock block;
    char* address;  // its address outside the check
  };
  void place_changed();
  void note_read();
  void note_streams();
  void note_written();
  void run(const Around& around);
  void exchange();
  bool is_made(int buffer) const;
  std::vector<const Region*> made(const Recording* eager) const;
  std::string difference(const Recording* eager);
  std::string fault(const Instruction& i, const char* what) const;

  Program& program_;
  const Isa isa_;  // the ISA level at the start; finish() compares nothing if it has changed since
  std::optional<LastUpdates> updates_;  // until the program has run
  std::map<int, Place> places_;         // by buffer, until the program has run
  std::vector<Stream> streams_;
  std::vector<Written> written_;
  const Instruction* failed_ = nullptr;  // the check of values that has failed in the run
  bool has_run_ = false;
  bool complete_ = false;
  // Checksums of the memory that the program only reads, by address and bytes.
  std::map<std::pair<const char*, size_t>, uint64_t> read_;
};

}  // namespace ranvier

// Program: a recorded list of kernel calls with its own memory; one call runs them all again.
//
// It is built from a Recording: unused calls are dropped, temporaries are placed into one arena, and the
// views of the calls are pointed there. Arguments and outputs differ from run to run: their views are
// redirected before each. A run allocates nothing and uses nothing of Python.
//
// A result that depends on watched memory alone (parameters; the owner of the program is notified of their
// changes) is prepared: computed once into memory of the program, and again only after renew().
#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/allocator.h"
#include "base/fp_environment.h"
#include "base/parallel.h"
#include "program/pace.h"
#include "program/recording.h"
#include "program/sections.h"
#include "program/undo.h"

namespace ranvier {

struct Instruction : Record {
  int record;                      // the recorded call: when it is done, its results are made
  const int64_t* guard = nullptr;  // what a check writes: not zero if it failed; null: this is no check
  bool is_guard(const Use& use) const {
    return guard && view(use).data == reinterpret_cast<const char*>(guard);
  }
  std::vector<const char*> fused = {};  // the recorded calls whose work it does besides its own
  bool prepared = false;                // runs after renew() only; these come first
  bool solo = false;                    // runs on one thread while the rest of the team waits
  double team_ns = 1e30;                // the shortest time of a run so far, shared among the threads ...
  double solo_ns = 1e30;                // ... and on one thread
};

// The address at which a check writes whether it failed; null if the instruction is no check.
const int64_t* guard_of(const Instruction& i);

// True if the instruction is work for one thread, whatever the team is.
bool is_for_one(const Instruction& i);

// The kind of a buffer. persistent: memory that outlives a run, such as parameters; argument, output: given
// for each run; temporary: a place in the arena; prepared: see the head of this file.
enum class Role { persistent, argument, output, temporary, prepared };

struct Buffer {
  Role role;
  size_t bytes;
  char* address;              // set for persistent, temporary and prepared buffers
  int number;                 // the number of the argument, output or prepared buffer
  int first = -1, last = -1;  // instructions that use it
  size_t offset = 0;          // the place of a temporary in the arena, or of a prepared one in its block
  bool watched = false;       // a change of it is followed by renew()
  int kept = -1;              // number for set_kept() of a gradient that the step leaves or that moves
  bool cell = false;          // one number that belongs to the program, such as the result of a check
};

size_t place(std::vector<Buffer*> temporaries);  // see arena.cpp

// The memory of an array.
struct Block {
  const char* begin;
  size_t bytes;
};

struct ProgramMemory {
  size_t arena, workspace, persistent, prepared;
  size_t made;  // results and gradients that the step leaves; those that stay count as persistent too
};

// Regions of a recording with a special part in the program.
struct Regions {
  std::vector<int> outputs;  // the results
  std::vector<int> kept;     // temporaries that live on (gradients): they become persistent
  std::vector<int> watched;  // persistent memory whose changes are notified by renew()
};

// The parts of a program besides memory of its own.
struct ProgramParts {
  // Takes over the measured times, and the choice of threads by them, from a program with the same
  // instructions.
  void take_times(const ProgramParts& of_same_form);

  struct Slot {  // an argument or output and the views that follow it
    size_t bytes = 0;
    char* data = nullptr;
    std::vector<std::pair<char**, int64_t>> views;  // the address of each view's data pointer, and its offset
  };
  static constexpr double kUnknown = 1e30;

  std::vector<Instruction> instructions_;
  std::vector<Section> sections_;  // in order
  size_t lane_workspace_ = 0;      // bytes for a thread that runs a lane of a section
  std::vector<Buffer> buffers_;    // by region
  std::vector<std::string> places_;
  std::vector<const CallType*> recorded_calls_;
  std::vector<RegionKind> recorded_kinds_;
  std::vector<Slot> arguments_, outputs_, kept_;
  std::vector<int> kept_regions_;
  ProgramMemory memory_{};
  int team_;
  size_t prepared_ = 0;       // this many instructions at the front make prepared results
  bool alone_ = false;        // every instruction runs on one thread
  Pace pace_;                 // decides if all do so for a while, where some would run on the team
  double run_ns_ = kUnknown;  // the time of a run
};

class Program : private ProgramParts {
 public:
  Program(Recording&& recording, const Regions& regions, int team);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ProgramParts parts() const { return *this; }
  // A copy of a program for other arrays: persistent memory in the block from[i] is then at to[i]. Null if
  // some persistent memory is in none of the blocks, or is watched (prepared results depend on its values).
  static std::unique_ptr<Program> moved(const ProgramParts& parts, const std::vector<Block>& from,
                                        const std::vector<char*>& to);

  void set_argument(int number, char* data) { redirect(arguments_[number], data); }
  void set_output(int number, char* data) { redirect(outputs_[number], data); }
  size_t output_bytes(int number) const { return outputs_[number].bytes; }
  // Other memory for one of Regions::kept: the caller still holds what the last run left there.
  void set_kept(int number, char* data);
  // Lets a persistent buffer change its address, too; returns its number for set_kept().
  int let_move(int buffer);
  // Both return the check that failed, or null. Nothing after a failed check has run, and what outlives a run
  // is as it was before.
  const Instruction* run();
  const Instruction* run_measured(bool solo) { return run_as(solo ? Threads::solo : Threads::team); }
  bool is_measured() const { return run_ns_ < kUnknown; }
  bool is_brief() const { return alone_ && run_ns_ < 2e4; }
  // Another address of a buffer; the views follow with point_views(), after which arguments and outputs must
  // be set again.
  void place_at(int buffer, char* address) { buffers_[buffer].address = address; }
  void point_views();
  // Watched memory has changed: the next run computes the prepared results again.
  void renew() { stale_ = true; }
  size_t prepared() const { return prepared_; }
  // Runs each instruction from now on in the way, team or one thread, that run_measured() found faster.
  void choose_threads();
  void set_threads(bool solo);  // all alike: for tests
  void forget_times();

  const std::vector<Instruction>& instructions() const { return instructions_; }
  const std::vector<Buffer>& buffers() const { return buffers_; }
  const std::vector<std::string>& places() const { return places_; }
  // The recording from which it was made: the calls in order, and the kinds of the first buffers.
  const std::vector<const CallType*>& recorded_calls() const { return recorded_calls_; }
  const std::vector<RegionKind>& recorded_kinds() const { return recorded_kinds_; }
  ProgramMemory memory() const { return memory_; }

 private:
  explicit Program(const ProgramParts& parts) : ProgramParts(parts) {}
  void complete();
  enum class Threads { chosen, team, solo };  // chosen: for each instruction
  const Instruction* run_as(Threads threads);
  const Instruction* run_all(const OpenTeam& team, Threads threads);
  void run_alone(const Instruction& i, const Team& team) const;
  const Instruction* first_failed(size_t last) const;
  void run_lanes(const Section& section, const OpenTeam& team) const;
  double lanes_ns(const Section& section) const;
  double measured_ns() const;
  double moved_ns(const Instruction& i) const;
  static void redirect(Slot& slot, char* data);
  void take(Recording& recording, const Regions& regions);
  void drop_unused();
  void checks_first();
  std::vector<size_t> early_chain(size_t i) const;
  void prepared_first();
  void find_lifetimes();
  void place_temporaries();
  void place_lanes();
  void allocate_memory();
  void place_prepared();
  void share_calls();
  Slot* slot_of(const Buffer& b);

  std::vector<std::unique_ptr<int64_t>> cells_;
  bool stale_ = true;  // the prepared results have to be computed
  std::optional<Undo> undo_;
  FpEnvironment::Control callers_ = FpEnvironment::kKeeps;  // in which a HostCall runs
  OwnBlock arena_, prepared_memory_, workspace_;
};

}  // namespace ranvier

// Decides which instructions of a program run on one thread and which on the team, from the times that
// Program::run_measured() has noted.
#include <algorithm>
#include <numeric>

#include "base/caches.h"
#include "program/program.h"

namespace ranvier {

// The time in ns of the barriers around an instruction, or a section, that runs on the team.
constexpr double kBarriers = 300;

// The time of a run in which each instruction takes the faster way. Prepared instructions, which run only
// after watched memory such as parameters has changed (the head of program.h), do not count.
double Program::measured_ns() const {
  double sum = 0;
  for (const Instruction& i : instructions_)
    if (!i.prepared) sum += std::min(i.solo_ns, i.team_ns);
  return sum;
}

// The time of a section that runs by lanes (sections.h): that of its longest lane.
double Program::lanes_ns(const Section& section) const {
  double longest = 0;
  for (size_t lane = 0; lane + 1 < section.lanes.size(); ++lane) {
    double sum = 0;
    for (size_t i = section.lanes[lane]; i < section.lanes[lane + 1]; ++i) sum += instructions_[i].solo_ns;
    longest = std::max(longest, sum);
  }
  return longest + kBarriers;
}

void Program::forget_times() {
  constexpr double kNeverMeasured = 1e30;  // larger than any time
  for (Instruction& i : instructions_) {
    i.team_ns = kNeverMeasured;
    i.solo_ns = kNeverMeasured;
  }
  run_ns_ = kUnknown;
}

void ProgramParts::take_times(const ProgramParts& p) {
  for (size_t i = 0; i < instructions_.size(); ++i) {
    instructions_[i].solo = p.instructions_[i].solo;
    instructions_[i].team_ns = p.instructions_[i].team_ns;
    instructions_[i].solo_ns = p.instructions_[i].solo_ns;
  }
  sections_ = p.sections_;
  alone_ = p.alone_;
  pace_ = p.pace_;
  run_ns_ = p.run_ns_;
}

void Program::set_threads(bool solo) {
  for (Instruction& i : instructions_) i.solo = solo;
  for (Section& s : sections_) s.chosen = !solo;
  alone_ = solo;
  pace_ = Pace();
  run_ns_ = kUnknown;
}

// The time in ns that an instruction on one thread costs in addition to its own time, if the instructions
// around it run on the team. About half of the bytes that it uses have to move between the caches of two
// cores: operands that other cores have made, and results that other cores read. kNsPerByte is a measured
// mean over all bytes that it uses. More than 2 * caches.l2 bytes count as this many: the half that moves
// cannot be more than another core's L2 holds.
double Program::moved_ns(const Instruction& i) const {
  constexpr double kNsPerByte = 0.06;
  int64_t bytes = 0;
  for (const Use& use : i.uses) bytes += i.reach(use).high - i.reach(use).low;
  return kNsPerByte * static_cast<double>(std::min(bytes, 2 * caches.l2));
}

// Chooses for each instruction one thread or the team, for each section its lanes or one instruction after
// the other, and then one thread for everything, if that is faster than the mixture. Instructions of a kind
// that always runs on one thread (is_for_one() in program.h) stay there. The prepared instructions are the
// first ones. pace_ (pace.h) later compares the team's times with solo_ns, and runs everything on one thread
// while the team is slow.
void Program::choose_threads() {
  double solo_ns = 0;
  double mixed_ns = 0;
  std::vector<double> times(instructions_.size(), 0);  // ns in the chosen way; 0 for prepared instructions
  for (size_t n = prepared_; n < instructions_.size(); ++n) {
    Instruction& i = instructions_[n];
    const double between = i.solo_ns + moved_ns(i);
    const double shared = i.team_ns + kBarriers;
    i.solo = is_for_one(i) || between <= shared;
    times[n] = i.solo ? between : shared;
    solo_ns += i.solo_ns;
    mixed_ns += times[n];
  }
  for (Section& s : sections_) {
    const double one_by_one = std::accumulate(&times[0] + s.first, &times[0] + s.last, 0.0);
    const double by_lanes = lanes_ns(s);
    s.chosen = by_lanes < one_by_one;
    mixed_ns += std::min(by_lanes - one_by_one, 0.0);
  }
  alone_ = team_ == 1 || solo_ns <= mixed_ns;
  if (alone_)
    for (Instruction& i : instructions_) i.solo = true;
  // On one thread, lanes pay only where the groups of a section are equal except for addresses. Then one copy
  // of the calls of a group serves all groups and stays in the cache (SharedCalls in sections.h).
  if (alone_)
    for (Section& s : sections_) s.chosen = !s.shared.views.empty();
  pace_ = Pace(solo_ns);
  run_ns_ = measured_ns();
}

}  // namespace ranvier

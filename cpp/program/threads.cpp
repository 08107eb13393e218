// On how many threads each instruction runs, from the times that were measured.
#include <algorithm>
#include <numeric>

#include "base/caches.h"
#include "program/program.h"

namespace ranvier {

// The cost, in ns, of an instruction on the team between others on one thread, besides its own time.
constexpr double kBarriers = 300;

double Program::measured_ns() const {
  double sum = 0;
  for (const Instruction& i : instructions_)  // those that are prepared are not measured
    if (!i.prepared) sum += std::min(i.solo_ns, i.team_ns);
  return sum;
}

// The time of the lane that takes longest.
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
  for (Instruction& i : instructions_) i.team_ns = i.solo_ns = 1e30;
  run_ns_ = kUnknown;
}

void ProgramParts::take_times(const ProgramParts& p) {
  for (size_t i = 0; i < instructions_.size(); ++i) {
    instructions_[i].solo = p.instructions_[i].solo;
    instructions_[i].team_ns = p.instructions_[i].team_ns;
    instructions_[i].solo_ns = p.instructions_[i].solo_ns;
  }
  sections_ = p.sections_;
  alone_ = p.alone_, pace_ = p.pace_, run_ns_ = p.run_ns_;
}

void Program::set_threads(bool solo) {
  for (Instruction& i : instructions_) i.solo = solo;
  for (Section& s : sections_) s.chosen = !solo;
  alone_ = solo;
  pace_ = Pace();
  run_ns_ = kUnknown;
}

// The cost, in ns, of an instruction on one thread between others on the team, besides its own time: about
// half of its operands come from the other cores' caches, or are got from there by the instructions after it.
double Program::moved_ns(const Instruction& i) const {
  constexpr double kNsPerByte = 0.06;
  int64_t bytes = 0;
  for (const Use& use : i.uses) bytes += i.reach(use).high - i.reach(use).low;
  return kNsPerByte * static_cast<double>(std::min(bytes, 2 * caches.l2));
}

void Program::choose_threads() {
  double solo_ns = 0, mixed_ns = 0;
  std::vector<double> times(instructions_.size(), 0);
  for (size_t n = prepared_; n < instructions_.size(); ++n) {
    Instruction& i = instructions_[n];
    const double between = i.solo_ns + moved_ns(i), shared = i.team_ns + kBarriers;
    i.solo = is_for_one(i) || between <= shared;
    solo_ns += i.solo_ns, mixed_ns += times[n] = i.solo ? between : shared;
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
  if (alone_)  // groups of one form still share their calls
    for (Section& s : sections_) s.chosen = !s.shared.views.empty();
  pace_ = Pace(solo_ns);
  run_ns_ = measured_ns();
}

}  // namespace ranvier

#include "program/pace.h"

#include <algorithm>

namespace ranvier {
namespace {

// In nanoseconds. A thread that shares its core runs and waits in turns of some 4 ms: a mean is over several
// turns.
constexpr double kWatched = 2e7, kAloneTried = 5e6, kTeamTried = 2e7;
constexpr int kFewestRuns = 3;
constexpr double kLongestPause = 1e9;
constexpr double kMostTimes =
    16;                           // as many runs on one thread as the team gets in a try, where runs are long
constexpr double kSlower = 1.25;  // than the team's best since the last try: reason for another
constexpr double kPays = 0.97;    // the time of the team over that of one thread, at most

}  // namespace

double Pace::window() const {
  switch (state_) {
    case State::team:
      return kWatched;
    case State::alone_tried:
      return kAloneTried;
    case State::alone:
      return pause_ns_;
    default:
      return kTeamTried;
  }
}

void Pace::enter(State state) {
  state_ = state;
  sum_ = 0, runs_ = 0;
}

void Pace::note(double ns) {
  sum_ += ns;
  ++runs_;
  if (runs_ < kFewestRuns || sum_ < window()) return;
  if (state_ == State::alone && runs_ < kFewestRuns * std::min(pause_ns_ / kFirstPause, kMostTimes)) return;
  const double mean = sum_ / runs_;
  switch (state_) {
    case State::team:
      team_ns_ = mean;
      best_ns_ = std::min(best_ns_, mean);
      return enter(mean > solo_ns_ || mean > kSlower * best_ns_ ? State::alone_tried : State::team);
    case State::alone_tried:
      solo_ns_ = mean, best_ns_ = team_ns_;
      return enter(team_ns_ > mean / kPays ? State::alone : State::team);
    case State::alone:
      solo_ns_ = mean;
      return enter(State::team_tried);
    case State::team_tried:
      team_ns_ = best_ns_ = mean;
      if (mean > kPays * solo_ns_) {
        pause_ns_ = std::min(2 * pause_ns_, kLongestPause);
        return enter(State::alone);
      }
      pause_ns_ = kFirstPause;
      return enter(State::team);
  }
}

}  // namespace ranvier

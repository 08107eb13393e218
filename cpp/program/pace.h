// Pace: whether the runs of a program are made by the team or by one thread alone, from the times of earlier
// runs.
//
// Another process may take a core from the team for some seconds, or for as long as the process runs. A
// thread of the team then stops for milliseconds in the middle of its share, and the others wait. One thread
// alone may then be faster. So the mean time of the team's runs is watched. Where it is long, one thread runs
// alone for a short time, and the faster of the two continues. While that is one thread, the team is tried
// again now and then.
#pragma once
#include <algorithm>

namespace ranvier {

class Pace {
 public:
  // solo_ns: about the time of a run on one thread.
  explicit Pace(double solo_ns = 1e30) : solo_ns_(solo_ns) {}
  bool alone() const { return alone_; }  // True if the next run is on one thread

  void note(double ns) {  // the time of a run
    sum_ += ns;
    ++runs_;
    const bool pauses = alone_ && !tries_;
    const double window = pauses ? pause_ns_ : alone_ ? kShortTry : kWindow;
    const double fewest = pauses ? kFewest * std::min(pause_ns_ / kWindow, kMostTimes) : kFewest;
    if (sum_ < window || runs_ < fewest) return;
    (alone_ ? solo_ns_ : team_ns_) = sum_ / runs_;
    sum_ = 0, runs_ = 0;
    if (tries_) {  // the faster of the two continues; what was tried must be so by kPays
      const bool alone = alone_ ? kPays * team_ns_ > solo_ns_ : team_ns_ > kPays * solo_ns_;
      if (!alone_) pause_ns_ = alone ? std::min(2 * pause_ns_, kLongestPause) : kWindow;
      alone_ = alone, tries_ = false, best_ns_ = team_ns_;
    } else if (alone_) {
      alone_ = false, tries_ = true;
    } else {
      best_ns_ = std::min(best_ns_, team_ns_);
      alone_ = tries_ = team_ns_ > solo_ns_ || team_ns_ > kSlower * best_ns_;
    }
  }

 private:
  // In nanoseconds. A thread that shares its core runs and waits in turns of some 4 ms: a mean is over
  // several turns.
  static constexpr double kWindow = 2e7, kShortTry = 5e6, kLongestPause = 1e9;
  static constexpr int kFewest = 3;         // runs of a mean
  static constexpr double kMostTimes = 16;  // ... on one thread, as a multiple, where runs are long
  static constexpr double kSlower = 1.25;   // than the team's best since the last try: reason for another
  static constexpr double kPays = 0.97;

  bool alone_ = false, tries_ = false;
  double solo_ns_;             // the mean time of a run on one thread when last tried
  double team_ns_ = 1e30;      // ... and on the team
  double best_ns_ = 1e30;      // the shortest mean of the team since then
  double pause_ns_ = kWindow;  // in which one thread runs before the team is tried
  double sum_ = 0;             // the sum of this window
  int runs_ = 0;
};

}  // namespace ranvier

// Pace: decides from the times of earlier runs whether a program's next run is made by the team of threads or
// by one thread alone.
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
  // solo_ns: an estimate of the time of a run on one thread.
  explicit Pace(double solo_ns = 1e30) : solo_ns_(solo_ns) {}
  bool alone() const { return alone_; }  // true if the next run is on one thread

  // Takes the time of the run that has just ended. There are four states: the team runs (neither alone_ nor
  // tries_), one thread is tried (both), one thread runs for a pause (alone_), the team is tried again
  // (tries_). In each state runs are summed until they last long enough for a mean; then the next state is
  // chosen.
  void note(double ns) {
    sum_ += ns;
    ++runs_;
    double window = kWindow;  // runs are summed for as long as this, in nanoseconds ...
    double fewest = kFewest;  // ... and until there are as many
    if (alone_ && tries_) window = kShortTry;
    if (alone_ && !tries_) {
      window = pause_ns_;
      fewest = kFewest * std::min(pause_ns_ / kWindow, kMostTimes);
    }
    if (sum_ < window || runs_ < fewest) return;
    const double mean_ns = sum_ / runs_;
    if (alone_) {
      solo_ns_ = mean_ns;
    } else {
      team_ns_ = mean_ns;
    }
    sum_ = 0;
    runs_ = 0;
    // After a try the faster way continues. The way that was tried must need less than kPays of the other's
    // time.
    if (tries_) {
      const bool alone_is_faster = alone_ ? kPays * team_ns_ > solo_ns_ : team_ns_ > kPays * solo_ns_;
      const bool team_was_tried = !alone_;
      if (team_was_tried) pause_ns_ = alone_is_faster ? std::min(2 * pause_ns_, kLongestPause) : kWindow;
      alone_ = alone_is_faster;
      tries_ = false;
      best_ns_ = team_ns_;
    } else if (alone_) {
      alone_ = false;
      tries_ = true;
    } else {
      best_ns_ = std::min(best_ns_, team_ns_);
      const bool team_is_slow = team_ns_ > solo_ns_ || team_ns_ > kSlower * best_ns_;
      alone_ = team_is_slow;
      tries_ = team_is_slow;
    }
  }

 private:
  // Nanoseconds over which a mean is taken: on the team, and where one thread is tried; the longest pause. A
  // thread that shares its core runs and waits in turns of about 4 ms, and a mean has to cover several turns.
  static constexpr double kWindow = 2e7, kShortTry = 5e6, kLongestPause = 1e9;
  static constexpr int kFewest = 3;  // a mean is over at least this many runs
  // In a pause the fewest runs grow with the length of the pause, to at most this multiple of kFewest.
  static constexpr double kMostTimes = 16;
  // One thread is tried when the team's mean is larger than this multiple of its best mean since the last
  // try.
  static constexpr double kSlower = 1.25;
  static constexpr double kPays = 0.97;

  bool alone_ = false;     // one thread runs
  bool tries_ = false;     // the present way is tried: see note()
  double solo_ns_;         // the latest mean time of a run on one thread
  double team_ns_ = 1e30;  // the latest mean time of a run on the team
  double best_ns_ = 1e30;  // the team's shortest mean since the last try
  // For how long one thread runs before the team is tried again; doubles while that fails.
  double pause_ns_ = kWindow;
  double sum_ = 0;  // nanoseconds of the runs since the last mean
  int runs_ = 0;    // their number
};

}  // namespace ranvier

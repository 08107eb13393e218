// Pace: whether the runs of a program are made by the team or by one thread alone, from the times of earlier
// runs.
//
// Another process may take a core from the team for some seconds, or for as long as the program lives. A
// thread of the team then stops for milliseconds in the middle of its share, and the others wait. One thread
// alone may then be faster. So the mean time of the team's runs is watched. Where it is long, one thread runs
// alone for a short time, and the faster of the two continues. While that is one thread, the team is tried
// again now and then.
#pragma once

namespace ranvier {

class Pace {
 public:
  Pace() = default;
  // solo_ns: about the time of a run on one thread.
  explicit Pace(double solo_ns) : solo_ns_(solo_ns) {}
  bool alone() const { return state_ != State::team && state_ != State::team_tried; }  // of the next run
  void note(double ns);                                                                // the time of a run

 private:
  enum class State { team, alone_tried, alone, team_tried };
  void enter(State state);
  double window() const;

  State state_ = State::team;
  double solo_ns_ = 1e30;          // the mean time of a run on one thread when last tried
  double team_ns_ = 1e30;          // ... and on the team
  double best_ns_ = 1e30;          // the shortest mean of the team since then
  double pause_ns_ = kFirstPause;  // in which one thread runs before the team is tried
  double sum_ = 0;                 // of this window
  int runs_ = 0;

  static constexpr double kFirstPause = 2e7;
};

}  // namespace ranvier

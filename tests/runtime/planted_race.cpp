// Two phases over one buffer, the second reading what other threads wrote in the first: right with the
// barrier between them, a race without. The check for races has to tell one from the other.
//
//   planted_race         two parallel loops: the first ends in a barrier
//   planted_race planted the same without the barrier
#include <cstdio>
#include <vector>

#include "base/parallel.h"

namespace {

constexpr int64_t kLength = 4096;

void write(std::vector<float>& x, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) x[i] = float(i);
}

// each thread reads the other end of the buffer
double read(const std::vector<float>& x, int64_t begin, int64_t end) {
  double sum = 0;
  for (int64_t i = begin; i < end; ++i) sum += x[kLength - 1 - i];
  return sum;
}

}  // namespace

int main(int count, char**) {
  const bool planted = count > 1;
  ranvier::init_parallel();
  ranvier::set_num_threads(4);
  std::vector<float> x(kLength);
  double sums[4] = {};
  ranvier::Team(4).region(1e6, [&](const ranvier::OpenTeam& team) {
    const int64_t begin = team.share_begin(kLength), end = team.share_end(kLength);
    if (planted)
      write(x, begin, end);
    else
      team.parallel_for(kLength, 1e6, [&](int64_t from, int64_t to) { write(x, from, to); });
    sums[team.index()] = read(x, begin, end);
  });
  std::printf("%.0f\n", sums[0] + sums[1] + sums[2] + sums[3]);
  return 0;
}

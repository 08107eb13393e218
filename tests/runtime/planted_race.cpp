// Two phases over one buffer, the second reading what other threads wrote in the first: right with the
// barrier between them, a race without. The check for races has to tell one from the other.
//
//   planted_race         two parallel loops: the first ends in a barrier; then loops of all lengths, in which
//                        threads take chunks of each other's shares
//   planted_race planted the two loops without the barrier
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

// One slow thread, so that the others take its chunks. Each loop adds 1 to every element, once, and reads
// what the loop before it has left. How many chunks were of another thread's share is counted.
bool share_loops(int threads, int loops, int64_t* taken) {
  std::vector<int> x(kLength), y(kLength);
  std::vector<int64_t> others(threads);
  ranvier::Team(threads).region(1e9, [&](const ranvier::OpenTeam& team) {
    for (int loop = 0; loop < loops; ++loop) {
      const int64_t n = 1 + loop * 37 % kLength;
      const int64_t begin = team.share_begin(n), end = team.share_end(n);
      for (ranvier::Chunks c(team, n, 1 + loop % 9); c.next();) {
        if (c.begin < begin || c.begin >= end) ++others[team.index()];
        for (int64_t i = c.begin; i < c.end; ++i) x[i] = y[n - 1 - i] + 1;
        for (volatile int wait = team.index() == loop % team.size() ? 2000 : 0; wait > 0;) wait = wait - 1;
      }
      team.barrier();
      team.parallel_for(n, 1e6, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) y[i] = x[n - 1 - i];
      });
    }
  });
  int64_t expected = 0, sum = 0;
  for (int loop = 0; loop < loops; ++loop) expected += 1 + loop * 37 % kLength;
  for (int64_t i = 0; i < kLength; ++i) sum += y[i];
  for (const int64_t n : others) *taken += n;
  return sum == expected;
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
  if (planted) return 0;
  int64_t taken = 0;
  for (const int threads : {2, 3, 5})
    if (!share_loops(threads, 400, &taken)) return std::puts("an element was not done once"), 1;
  std::printf("%lld chunks of other shares\n", static_cast<long long>(taken));
  return taken > 0 ? 0 : 1;
}

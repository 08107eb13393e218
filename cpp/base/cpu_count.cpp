#include "base/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <utility>

namespace ranvier {
namespace {

int read_int(const std::string& path, int otherwise) {
  std::ifstream file(path);
  int value;
  return file >> value ? value : otherwise;
}

// Two hyper-threads of a core share its FMA units: they count once.
int physical_cores(const cpu_set_t& mask) {
  std::set<std::pair<int, int>> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    cores.emplace(read_int(topology + "physical_package_id", 0), read_int(topology + "core_id", -1 - cpu));
  }
  return static_cast<int>(cores.size());
}

// A container's CPU quota, rounded up: cgroup v2, then v1. Infinity where there is none.
double cgroup_quota() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period;
  if (v2 >> quota >> period && quota != "max" && period > 0)
    return std::strtod(quota.c_str(), nullptr) / period;
  const int quota_us = read_int("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1);
  const int period_us = read_int("/sys/fs/cgroup/cpu/cpu.cfs_period_us", 0);
  return quota_us > 0 && period_us > 0 ? static_cast<double>(quota_us) / period_us : HUGE_VAL;
}

}  // namespace

int usable_cpus() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 1;
  const double cpus = std::min<double>(physical_cores(mask), std::ceil(cgroup_quota()));
  return std::max(1, static_cast<int>(cpus));
}

}  // namespace ranvier

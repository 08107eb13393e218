// How many CPUs this process may really use.
#pragma once

namespace ranvier {

// min(CPUs in the affinity mask, cgroup quota, physical cores of the mask); at least 1.
int usable_cpus();

}  // namespace ranvier

// The instruction-set level that runs: found from the CPU when the module loads, lowered by RANVIER_ISA or by
// a test.
#pragma once
#include "base/levels.inc"

// In an ISA object: defines the tables that RANVIER_TABLES(Table, name) declares, from a variable template.
#define RANVIER_DEFINE_TABLES(Table, name, table)        \
  extern const Table<float> name##_float = table<float>; \
  extern const Table<double> name##_double = table<double>

namespace ranvier {

#define RANVIER_X(level) level,
enum class Isa { RANVIER_FOR_EACH_LEVEL(RANVIER_X) count };  // best first
#undef RANVIER_X

Isa active_isa();
const char* isa_name(Isa isa);   // "x86-64-v4", ...
bool isa_supported(Isa isa);     // by this CPU and operating system
bool set_isa(const char* name);  // false: unknown or unsupported; accepts "x86-64-v3" and "v3"
bool init_isa();                 // best level, or RANVIER_ISA; false where that names no level of this CPU

}  // namespace ranvier

// The active instruction-set level: the best one of the CPU, found when the module is loaded; the environment
// variable RANVIER_ISA or a test can set a lower one. base/levels.inc, made by CMake, lists the levels that
// are compiled and defines the macros RANVIER_TABLE and RANVIER_TABLES, which declare tables of function
// pointers for each level.
#pragma once
#include "base/levels.inc"

// For files that are compiled for each level: defines the tables that RANVIER_TABLES(Table, name) declares,
// from a variable template `table`.
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
bool init_isa();                 // best level, or RANVIER_ISA; false if that names no level of this CPU

}  // namespace ranvier

// The active instruction-set level: the best one of the CPU, found when the module is loaded; the environment
// variable RANVIER_ISA or a test can set a lower one. base/levels.inc, made by CMake, lists the levels that
// are compiled.
#pragma once
#include "base/levels.inc"

namespace ranvier {

#define RANVIER_X(level, ...) level,
enum class Isa { RANVIER_FOR_EACH_LEVEL(RANVIER_X) count };  // best first
#undef RANVIER_X

Isa active_isa();
const char* isa_name(Isa isa);   // "x86-64-v4", ...
bool isa_supported(Isa isa);     // by this CPU and operating system
bool set_isa(const char* name);  // false: unknown or unsupported; accepts "x86-64-v3" and "v3"
bool init_isa();                 // best level, or RANVIER_ISA; false if that names no level of this CPU

}  // namespace ranvier

// A family of kernels has a table of function pointers for each level. RANVIER_TABLES(Table, name) declares
// those of Table<float> and Table<double>, <level>::name_float and <level>::name_double, and name<T>(), the
// one of the active level. RANVIER_TABLE(Table, name) is the same for a family of float32 alone:
// <level>::name_float, and name().
#define RANVIER_DECLARE_TABLES(level, Table, name) \
  namespace level {                                \
  extern const Table<float> name##_float;          \
  extern const Table<double> name##_double;        \
  }
#define RANVIER_DECLARE_TABLE(level, Table, name) \
  namespace level {                               \
  extern const Table name##_float;                \
  }
#define RANVIER_ADDRESS_OF(level, table) &level::table,
#define RANVIER_RETURN_ACTIVE(Table, table)                                                   \
  static const Table* const by_level[] = {RANVIER_FOR_EACH_LEVEL(RANVIER_ADDRESS_OF, table)}; \
  return *by_level[static_cast<int>(::ranvier::active_isa())]
#define RANVIER_TABLES(Table, name)                           \
  RANVIER_FOR_EACH_LEVEL(RANVIER_DECLARE_TABLES, Table, name) \
  template <class T>                                          \
  static inline const Table<T>& name() {                      \
    if constexpr (sizeof(T) == sizeof(float)) {               \
      RANVIER_RETURN_ACTIVE(Table<float>, name##_float);      \
    } else {                                                  \
      RANVIER_RETURN_ACTIVE(Table<double>, name##_double);    \
    }                                                         \
  }
#define RANVIER_TABLE(Table, name)                           \
  RANVIER_FOR_EACH_LEVEL(RANVIER_DECLARE_TABLE, Table, name) \
  static inline const Table& name() { RANVIER_RETURN_ACTIVE(Table, name##_float); }

// For files that are compiled for each level: defines the tables that RANVIER_TABLES(Table, name) declares,
// from a variable template `table`.
#define RANVIER_DEFINE_TABLES(Table, name, table)        \
  extern const Table<float> name##_float = table<float>; \
  extern const Table<double> name##_double = table<double>

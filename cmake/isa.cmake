# The only place that knows instruction-set flags.
#
# RANVIER_KNOWN_LEVELS lists the levels, best first, and RANVIER_LEVELS those that are compiled: each *.isa.cpp once per
# level into an object library of its own, in a namespace named by the level. The rest of the code is compiled for the
# baseline. The compiler defines RANVIER_MACROS_<level> where it may use the level's instructions.

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(RANVIER_KNOWN_LEVELS v4 v3 v2)
  set(RANVIER_BASELINE_FLAGS -march=x86-64-v2)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC clears a view's 128 bytes with `rep stos`, which takes longer to start than to do: a quarter of a small call.
    list(APPEND RANVIER_BASELINE_FLAGS -mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign)
  endif()
  set(RANVIER_NAME_v4 x86-64-v4)
  set(RANVIER_FLAGS_v4 -march=x86-64-v4 -mprefer-vector-width=512)
  set(RANVIER_MACROS_v4 __AVX512F__ __AVX512BW__ __AVX512CD__ __AVX512DQ__ __AVX512VL__ __AVX2__ __FMA__ __BMI__ __BMI2__)
  set(RANVIER_DEFS_v4 RANVIER_VECTOR_BYTES=64 RANVIER_HAS_FMA=1 RANVIER_VECTOR_REGISTERS=32)
  set(RANVIER_NAME_v3 x86-64-v3)
  set(RANVIER_FLAGS_v3 -march=x86-64-v3)
  set(RANVIER_MACROS_v3 __AVX2__ __FMA__ __BMI__ __BMI2__)
  set(RANVIER_DEFS_v3 RANVIER_VECTOR_BYTES=32 RANVIER_HAS_FMA=1 RANVIER_VECTOR_REGISTERS=16)
  set(RANVIER_NAME_v2 x86-64-v2)
  # CPUs of before 2013 and the smallest ones: what -O3 adds, other than whole unrolling, is a quarter more code to load.
  set(RANVIER_FLAGS_v2 -march=x86-64-v2 $<$<CONFIG:Release>:-O2>)
  set(RANVIER_DEFS_v2 RANVIER_VECTOR_BYTES=16 RANVIER_HAS_FMA=0 RANVIER_VECTOR_REGISTERS=16)
  # Families that take at most 1.2 times as long at v2 with -Os: the wheel is 78 kB smaller.
  set(RANVIER_SMALL_v2 activation attention augment conv2d conv2d_pool copy distance dropout elementwise embedding fourier
    jet loss matmul nms norm optimizer pooling probe quantized recurrent reduce resample scan softmax sort)
  set(RANVIER_FLAGS_small_v2 $<$<CONFIG:Release>:-Os>)
  # At v3 and v4 -O2 is enough for these, whose loops are written with vectors.
  foreach(level IN ITEMS v3 v4)
    set(RANVIER_SMALL_${level} activation conv2d_pool depthwise distance dropout elementwise embedding fourier grid
      jet loss matmul nms optimizer pooling quantized recurrent scan sort)
    set(RANVIER_FLAGS_small_${level} $<$<CONFIG:Release>:-O2>)
  endforeach()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")  # Clang does not have these options
    list(APPEND RANVIER_FLAGS_v2 -fpeel-loops -funswitch-loops)
    # Without the pass that schedules instructions after registers are given out, similar functions stay
    # similar: the wheel is 11 kB smaller.
    list(APPEND RANVIER_FLAGS_v2 -fno-schedule-insns2 -fno-caller-saves)
    list(APPEND RANVIER_FLAGS_small_v2 -fno-peel-loops -fno-unswitch-loops)
  endif()
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  # aarch64: Armv8.0-A with Advanced SIMD (NEON), every 64-bit ARM CPU.
  # as_v3: vectors as long as AVX2's, two registers each, for the bits of x86-64-v3 (rv.set_consistent).
  set(RANVIER_KNOWN_LEVELS aarch64 as_v3)
  set(RANVIER_BASELINE_FLAGS "")
  set(RANVIER_NAME_aarch64 aarch64)
  set(RANVIER_NAME_as_v3 aarch64-as-v3)
  set(RANVIER_DEFS_aarch64 RANVIER_VECTOR_BYTES=16 RANVIER_HAS_FMA=1 RANVIER_VECTOR_REGISTERS=32)
  set(RANVIER_DEFS_as_v3 RANVIER_VECTOR_BYTES=32 RANVIER_HAS_FMA=1 RANVIER_VECTOR_REGISTERS=16)
  set(RANVIER_FLAGS_aarch64 "")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Scheduled before registers are given out, the loads of a tile take the registers of its sums.
    set(RANVIER_FLAGS_aarch64 -fno-schedule-insns)
  endif()
  set(RANVIER_FLAGS_as_v3 ${RANVIER_FLAGS_aarch64})
else()
  set(RANVIER_KNOWN_LEVELS generic)
  set(RANVIER_BASELINE_FLAGS "")
  set(RANVIER_NAME_generic generic)
  set(RANVIER_FLAGS_generic "")
  set(RANVIER_DEFS_generic RANVIER_VECTOR_BYTES=16 RANVIER_HAS_FMA=0 RANVIER_VECTOR_REGISTERS=32)
endif()

set(RANVIER_LEVELS all CACHE STRING "Levels to compile: all, native (that of this processor), or a list, as v4;v2")

# The best known level whose instructions the compiler uses with -march=native; all where it does not say.
function(ranvier_native_level out)
  set(${out} ${RANVIER_KNOWN_LEVELS} PARENT_SCOPE)
  file(WRITE ${CMAKE_BINARY_DIR}/native.cpp "")
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -march=native -dM -E ${CMAKE_BINARY_DIR}/native.cpp
    RESULT_VARIABLE failed OUTPUT_VARIABLE macros ERROR_QUIET)
  if(failed OR CMAKE_CROSSCOMPILING)
    return()
  endif()
  string(REGEX MATCHALL "__[A-Z0-9]+__" defined "${macros}")
  foreach(level IN LISTS RANVIER_KNOWN_LEVELS)
    set(missing ${RANVIER_MACROS_${level}})
    list(REMOVE_ITEM missing ${defined})
    if(NOT missing)
      set(${out} ${level} PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

# Makes RANVIER_LEVELS the list of levels to compile, best first, and RANVIER_LEVELS_LEFT_OUT that of the others.
function(ranvier_choose_levels)
  set(left_out ${RANVIER_KNOWN_LEVELS})
  foreach(level IN LISTS RANVIER_LEVELS)
    if(level STREQUAL "all")
      set(level ${RANVIER_KNOWN_LEVELS})
    elseif(level STREQUAL "native")
      ranvier_native_level(level)
    elseif(NOT level IN_LIST RANVIER_KNOWN_LEVELS)
      message(FATAL_ERROR "got RANVIER_LEVELS=${RANVIER_LEVELS}; expected all, native, or some of ${RANVIER_KNOWN_LEVELS}")
    endif()
    list(REMOVE_ITEM left_out ${level})
  endforeach()
  set(levels ${RANVIER_KNOWN_LEVELS})
  if(left_out)
    list(REMOVE_ITEM levels ${left_out})
  endif()
  message(STATUS "Levels: ${levels}")
  set(RANVIER_LEVELS ${levels} PARENT_SCOPE)
  set(RANVIER_LEVELS_LEFT_OUT ${left_out} PARENT_SCOPE)
endfunction()
ranvier_choose_levels()

# -ffp-contract=off: the compiler must not form FMAs of its own, or an element's bits would depend on the tile it is in.
set(RANVIER_COMMON_FLAGS -ffp-contract=off -fno-math-errno -fno-trapping-math -fvisibility=hidden -Wall -Wextra)
# GCC notes, under -Wall, that vector arguments change the ABI between levels; none of ours crosses a level.
list(APPEND RANVIER_COMMON_FLAGS -Wno-psabi)

# Copies of functions for constant arguments are a tenth of the code, and no faster. Where one is worth it, the source
# uses a template.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(RANVIER_NO_CLONES -fno-ipa-cp-clone)
endif()

# For code without exceptions. Windows needs the tables for itself.
if(NOT WIN32)
  set(RANVIER_NO_TABLES -fno-asynchronous-unwind-tables)
endif()

# Writes RANVIER_FOR_EACH_LEVEL(X), the list of levels, RANVIER_SELECT(table), which picks the table of the active
# level, and RANVIER_TABLES(Table, name) and RANVIER_TABLE(Table, name), which declare a family's tables in all of them.
function(ranvier_write_levels header)
  foreach(level IN LISTS RANVIER_LEVELS)
    string(APPEND rows "X(${level}) ")
    string(APPEND names "\"${RANVIER_NAME_${level}}\", ")
    string(APPEND tables "&${level}::table, ")
    string(APPEND declared "  namespace ${level} { extern const Table<float> name##_float; extern const Table<double> name##_double; } \\\n")
    string(APPEND declared_one "  namespace ${level} { extern const Table name##_float; } \\\n")
  endforeach()
  list(GET RANVIER_LEVELS 0 first)
  if(RANVIER_LEVELS_LEFT_OUT)
    list(JOIN RANVIER_LEVELS_LEFT_OUT ", " left_out)
    set(left_out " (this build lacks ${left_out}; pip install . -C cmake.define.RANVIER_LEVELS=all compiles all)")
  endif()
  set(has_v4 0)
  if(v4 IN_LIST RANVIER_LEVELS)
    set(has_v4 1)
  endif()
  file(CONFIGURE OUTPUT ${header} @ONLY CONTENT [=[
#pragma once
// Generated by cmake/isa.cmake: the ISA levels of this build, best first, and those that it lacks.
#define RANVIER_FOR_EACH_LEVEL(X) @rows@
#define RANVIER_LEVEL_NAMES @names@
#define RANVIER_LEVELS_LEFT_OUT "@left_out@"  // what errors say of them
#define RANVIER_HAS_V4 @has_v4@
#define RANVIER_SELECT(table)                                                \
  (*[] {                                                                     \
    static const decltype(@first@::table)* const by_level[] = {@tables@};    \
    return by_level[static_cast<int>(::ranvier::active_isa())];              \
  }())
// Declares a family's tables, <level>::name_float and <level>::name_double, and name<T>(), the one of the active level.
#define RANVIER_TABLES(Table, name)                                          \
@declared@  template <class T>                                                         \
  static inline const Table<T>& name() {                                     \
    if constexpr (sizeof(T) == sizeof(float))                                \
      return RANVIER_SELECT(name##_float);                                   \
    else                                                                     \
      return RANVIER_SELECT(name##_double);                                  \
  }
// The same for a family of float32 only: <level>::name_float, and name().
#define RANVIER_TABLE(Table, name)                                           \
@declared_one@  static inline const Table& name() { return RANVIER_SELECT(name##_float); }
]=])
endfunction()

# Files of level v4 alone, compiled for more instructions than it has. Before they are called, CPUID is asked
# (base/precision.h).
set(RANVIER_V4_ALONE "/(bfloat16|amx|vnni)\\.isa\\.cpp$")
set(RANVIER_FLAGS_BFLOAT16 -mavx512bf16)
set(RANVIER_FLAGS_VNNI -mavx512vnni)
set(RANVIER_FLAGS_AMX -mamx-tile -mamx-bf16 -mamx-int8)  # for the assembler

# Adds an object library for each level, and one for its RANVIER_SMALL families, and names them in ${out}.
function(ranvier_add_isa_objects out)
  set(bfloat16 ${ARGN})
  list(FILTER bfloat16 INCLUDE REGEX "/(bfloat16|amx)\\.isa\\.cpp$")
  set_property(SOURCE ${bfloat16} APPEND PROPERTY COMPILE_OPTIONS ${RANVIER_FLAGS_BFLOAT16})
  set_property(SOURCE ${bfloat16} APPEND PROPERTY COMPILE_DEFINITIONS RANVIER_PAIRS=1)
  list(FILTER bfloat16 INCLUDE REGEX "/amx\\.isa\\.cpp$")
  set_property(SOURCE ${bfloat16} APPEND PROPERTY COMPILE_OPTIONS ${RANVIER_FLAGS_AMX})
  set(vnni ${ARGN})
  list(FILTER vnni INCLUDE REGEX "/vnni\\.isa\\.cpp$")
  set_property(SOURCE ${vnni} APPEND PROPERTY COMPILE_OPTIONS ${RANVIER_FLAGS_VNNI})
  set_property(SOURCE ${vnni} APPEND PROPERTY COMPILE_DEFINITIONS RANVIER_VNNI=1)
  foreach(source IN LISTS ARGN)  # a precompiled header brings the options that it was compiled with
    get_source_file_property(own ${source} COMPILE_OPTIONS)
    if(own)
      set_property(SOURCE ${source} PROPERTY SKIP_PRECOMPILE_HEADERS ON)
    endif()
  endforeach()
  foreach(level IN LISTS RANVIER_LEVELS)
    set(sources ${ARGN})
    if(NOT level STREQUAL "v4")
      list(FILTER sources EXCLUDE REGEX "${RANVIER_V4_ALONE}")
    endif()
    set(sources_small "")
    if(RANVIER_SMALL_${level})
      list(JOIN RANVIER_SMALL_${level} "|" families)
      set(sources_small ${sources})
      list(FILTER sources EXCLUDE REGEX "/kernels/([a-z0-9_]+/)?(${families})/")
      list(FILTER sources_small INCLUDE REGEX "/kernels/([a-z0-9_]+/)?(${families})/")
    endif()
    set(RANVIER_FLAGS_small ${RANVIER_FLAGS_small_${level}})
    foreach(suffix IN ITEMS "" _small)
      if(NOT sources${suffix})
        continue()
      endif()
      set(target ranvier_isa_${level}${suffix})
      add_library(${target} OBJECT ${sources${suffix}})
      target_compile_options(${target} PRIVATE ${RANVIER_COMMON_FLAGS} ${RANVIER_FLAGS_${level}}
        ${RANVIER_FLAGS${suffix}} -ffunction-sections -fno-exceptions -fno-rtti ${RANVIER_NO_TABLES} ${RANVIER_NO_CLONES})
      target_compile_definitions(${target} PRIVATE RANVIER_ISA=${level} ${RANVIER_DEFS_${level}})
      if(RANVIER_MACROS_${level})  # the compiler's header of intrinsics takes a quarter of a second
        target_precompile_headers(${target} PRIVATE cpp/base/views.h cpp/simd/math.h)
      endif()
      # Link-time optimisation would merge functions across levels.
      set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON INTERPROCEDURAL_OPTIMIZATION OFF)
      list(APPEND objects $<TARGET_OBJECTS:${target}>)
      list(APPEND targets ${target})
    endforeach()
  endforeach()
  set(${out} ${objects} PARENT_SCOPE)
  set(${out}_TARGETS ${targets} PARENT_SCOPE)
endfunction()

cmake_minimum_required(VERSION 3.25)  # this file is also run alone, by a test
# The levels, and the only place that knows instruction-set flags.
#
# RANVIER_KNOWN_LEVELS lists the levels, best first, and RANVIER_LEVELS those that are compiled: each *.isa.cpp once per
# level into an object library of its own, in a namespace named by the level. The rest of the code is compiled for the
# baseline. The compiler defines RANVIER_MACROS_<level> where it may use the level's instructions. What is not set for a
# level is empty.

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
  set(RANVIER_FLAGS_v2 -march=x86-64-v2)
  set(RANVIER_DEFS_v2 RANVIER_VECTOR_BYTES=16 RANVIER_HAS_FMA=0 RANVIER_VECTOR_REGISTERS=16)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  # aarch64: Armv8.0-A with Advanced SIMD (NEON), every 64-bit ARM CPU.
  # as_v3: vectors as long as AVX2's, two registers each, for the bits of x86-64-v3 (rv.set_consistent).
  set(RANVIER_KNOWN_LEVELS aarch64 as_v3)
  set(RANVIER_NAME_aarch64 aarch64)
  set(RANVIER_NAME_as_v3 aarch64-as-v3)
  set(RANVIER_DEFS_aarch64 RANVIER_VECTOR_BYTES=16 RANVIER_HAS_FMA=1 RANVIER_VECTOR_REGISTERS=32)
  set(RANVIER_DEFS_as_v3 RANVIER_VECTOR_BYTES=32 RANVIER_HAS_FMA=1 RANVIER_VECTOR_REGISTERS=16)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Scheduled before registers are given out, the loads of a tile take the registers of its sums.
    set(RANVIER_FLAGS_aarch64 -fno-schedule-insns)
    set(RANVIER_FLAGS_as_v3 -fno-schedule-insns)
  endif()
else()
  set(RANVIER_KNOWN_LEVELS generic)
  set(RANVIER_NAME_generic generic)
  set(RANVIER_DEFS_generic RANVIER_VECTOR_BYTES=16 RANVIER_HAS_FMA=0 RANVIER_VECTOR_REGISTERS=32)
endif()

# Files of level v4 alone, named after what they are compiled for besides. Before they are called, CPUID is asked
# (base/precision.h).
set(RANVIER_FLAGS_bfloat16 -mavx512bf16)
set(RANVIER_FLAGS_amx -mavx512bf16 -mamx-tile -mamx-bf16 -mamx-int8)  # for the assembler
set(RANVIER_FLAGS_vnni -mavx512vnni)

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

# RANVIER_LEVELS as the levels to compile, best first, and base/levels.inc, what C++ knows of them (base/isa.h).
set(chosen ${RANVIER_LEVELS})
ranvier_native_level(native)
list(TRANSFORM chosen REPLACE "^native$" "${native}")
list(TRANSFORM chosen REPLACE "^all$" "${RANVIER_KNOWN_LEVELS}")
set(unknown ${chosen})
list(REMOVE_ITEM unknown ${RANVIER_KNOWN_LEVELS})
if(unknown)
  message(FATAL_ERROR "got RANVIER_LEVELS=${RANVIER_LEVELS}; expected all, native, or some of ${RANVIER_KNOWN_LEVELS}")
endif()
set(RANVIER_LEVELS "")
foreach(level IN LISTS RANVIER_KNOWN_LEVELS)
  if(level IN_LIST chosen)
    list(APPEND RANVIER_LEVELS ${level})
    string(APPEND rows "X(${level}, __VA_ARGS__) ")
    string(APPEND names "\"${RANVIER_NAME_${level}}\", ")
    string(APPEND macros "#define RANVIER_HAS_${level} 1\n")
  else()
    list(APPEND lacking ${level})
  endif()
endforeach()
message(STATUS "Levels: ${RANVIER_LEVELS}")
if(lacking)
  list(JOIN lacking ", " lacking)
  set(left_out " (this build lacks ${lacking}; pip install . -C cmake.define.RANVIER_LEVELS=all compiles all)")
endif()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/base/levels.inc @ONLY CONTENT [=[
#pragma once
// Generated by cmake/isa.cmake: the ISA levels of this build, best first, and those that it lacks.
#define RANVIER_FOR_EACH_LEVEL(X, ...) @rows@
#define RANVIER_LEVEL_NAMES @names@
#define RANVIER_LEVELS_LEFT_OUT "@left_out@"  // what errors say of them
@macros@]=])

# Compiles the sources, *.isa.cpp, for each level, and sets ${out} to the objects.
function(ranvier_add_isa_objects out)
  foreach(extension IN ITEMS bfloat16 amx vnni)
    set(files ${ARGN})
    list(FILTER files INCLUDE REGEX "/${extension}\\.isa\\.cpp$")
    set_source_files_properties(${files} PROPERTIES
      COMPILE_OPTIONS "${RANVIER_FLAGS_${extension}}" SKIP_PRECOMPILE_HEADERS ON)
  endforeach()
  foreach(level IN LISTS RANVIER_LEVELS)
    set(sources ${ARGN})
    if(NOT level STREQUAL "v4")
      list(FILTER sources EXCLUDE REGEX "/(bfloat16|amx|vnni)\\.isa\\.cpp$")
    endif()
    set(target ranvier_isa_${level})
    add_library(${target} OBJECT ${sources})
    target_compile_options(${target} PRIVATE ${RANVIER_FLAGS_${level}} -fno-exceptions -fno-rtti)
    target_compile_definitions(${target} PRIVATE RANVIER_ISA=${level} ${RANVIER_DEFS_${level}})
    if(RANVIER_MACROS_${level})  # the compiler's header of intrinsics takes a quarter of a second
      target_precompile_headers(${target} PRIVATE cpp/base/views.h cpp/simd/math.h)
    endif()
    # Link-time optimisation would merge functions across levels.
    set_target_properties(${target} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
    list(APPEND objects $<TARGET_OBJECTS:${target}>)
  endforeach()
  set(${out} ${objects} PARENT_SCOPE)
endfunction()

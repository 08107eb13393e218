cmake_minimum_required(VERSION 3.25)  # this file is also run alone, by a test
# The levels, and the only place that knows instruction-set flags.
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
  set(RANVIER_FLAGS_v2 -march=x86-64-v2)
  set(RANVIER_DEFS_v2 RANVIER_VECTOR_BYTES=16 RANVIER_HAS_FMA=0 RANVIER_VECTOR_REGISTERS=16)
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

# Writes base/levels.inc, what C++ knows of the levels of this build (base/isa.h uses it).
function(ranvier_write_levels header)
  foreach(level IN LISTS RANVIER_LEVELS)
    string(APPEND rows "X(${level}, __VA_ARGS__) ")
    string(APPEND names "\"${RANVIER_NAME_${level}}\", ")
  endforeach()
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
#define RANVIER_FOR_EACH_LEVEL(X, ...) @rows@
#define RANVIER_LEVEL_NAMES @names@
#define RANVIER_LEVELS_LEFT_OUT "@left_out@"  // what errors say of them
#define RANVIER_HAS_V4 @has_v4@
]=])
endfunction()
ranvier_write_levels(${CMAKE_BINARY_DIR}/generated/base/levels.inc)

# Files of level v4 alone, compiled for more instructions than it has. Before they are called, CPUID is asked
# (base/precision.h).
set(RANVIER_FLAGS_bfloat16 -mavx512bf16)
set(RANVIER_DEFS_bfloat16 RANVIER_PAIRS=1)
set(RANVIER_FLAGS_amx -mavx512bf16 -mamx-tile -mamx-bf16 -mamx-int8)  # for the assembler
set(RANVIER_DEFS_amx RANVIER_PAIRS=1)
set(RANVIER_FLAGS_vnni -mavx512vnni)
set(RANVIER_DEFS_vnni RANVIER_VNNI=1)

# Adds an object library of sources for a level. ARGN: further options.
function(ranvier_add_isa_library target level sources)
  add_library(${target} OBJECT ${sources})
  target_compile_options(${target} PRIVATE ${RANVIER_FLAGS_${level}} -fno-exceptions -fno-rtti ${ARGN})
  target_compile_definitions(${target} PRIVATE RANVIER_ISA=${level} ${RANVIER_DEFS_${level}})
  list(LENGTH sources count)
  if(RANVIER_MACROS_${level} AND count GREATER 4)  # the compiler's header of intrinsics takes a quarter of a second
    target_precompile_headers(${target} PRIVATE cpp/base/views.h cpp/simd/math.h)
  endif()
  # Link-time optimisation would merge functions across levels.
  set_target_properties(${target} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
  # The objects, for the test that no symbol of a level leaves its namespace.
  set(is_object "\\.o(bj)?$")
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/${target}.objects
    CONTENT "$<JOIN:$<FILTER:$<TARGET_OBJECTS:${target}>,INCLUDE,${is_object}>,\n>\n" TARGET ${target})
endfunction()

# Adds the object libraries of all levels, and sets ${out} to their objects. ARGN: the sources, *.isa.cpp.
function(ranvier_add_isa_objects out)
  set(common ${ARGN})
  list(FILTER common EXCLUDE REGEX "/(bfloat16|amx|vnni)\\.isa\\.cpp$")
  foreach(level IN LISTS RANVIER_LEVELS)
    ranvier_add_isa_library(ranvier_isa_${level} ${level} "${common}")
    list(APPEND objects $<TARGET_OBJECTS:ranvier_isa_${level}>)
  endforeach()
  if(v4 IN_LIST RANVIER_LEVELS)
    foreach(extension IN ITEMS bfloat16 amx vnni)
      set(sources ${ARGN})
      list(FILTER sources INCLUDE REGEX "/${extension}\\.isa\\.cpp$")
      set(target ranvier_isa_v4_${extension})
      ranvier_add_isa_library(${target} v4 "${sources}" ${RANVIER_FLAGS_${extension}})
      target_compile_definitions(${target} PRIVATE ${RANVIER_DEFS_${extension}})
      list(APPEND objects $<TARGET_OBJECTS:${target}>)
    endforeach()
  endif()
  set(${out} ${objects} PARENT_SCOPE)
endfunction()

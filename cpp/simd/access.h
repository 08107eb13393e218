// Tells the thread sanitizer what the vectors read and write, in a build with RANVIER_RACE_CHECK: the
// compiler's own instrumentation passes over accesses of 32 and 64 bytes and over masked ones. Nothing in any
// other build.
#pragma once

#if RANVIER_RACE_CHECK
extern "C" void __tsan_read_range(void*, unsigned long);
extern "C" void __tsan_write_range(void*, unsigned long);
#define RANVIER_READS(p, bytes) __tsan_read_range((void*)(p), (unsigned long)(bytes))
#define RANVIER_WRITES(p, bytes) __tsan_write_range((void*)(p), (unsigned long)(bytes))
#else
#define RANVIER_READS(p, bytes) (void)0
#define RANVIER_WRITES(p, bytes) (void)0
#endif

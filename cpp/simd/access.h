// RANVIER_READS and RANVIER_WRITES tell the thread sanitizer which bytes a vector instruction reads or
// writes, in a build with RANVIER_RACE_CHECK: the instrumentation of the compiler leaves out accesses of 32
// and 64 bytes and masked ones. In other builds they do nothing.
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

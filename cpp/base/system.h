// Functions that differ between operating systems. The files system_linux.cpp, system_macos.cpp and
// system_windows.cpp implement them; each file is empty on other systems. No other file of the core includes
// a header of an operating system.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ranvier {

// min(CPUs in the affinity mask, a container's quota, physical cores of the mask); at least 1.
int usable_cpus();

// Sets the sizes of the caches of levels 1 to 3, in bytes; a level that the system does not report is left as
// it is.
void read_cache_sizes(int64_t (&sizes)[3]);

// Asks the system for permission to use the tile registers of AMX; true if the process has it.
bool may_use_tiles();

void nap();             // sleeps for some microseconds
bool on_main_thread();  // the main thread of the process handles signals in Python

// Sleeps while the word has this value, until wake_all(), but at most about 50 ms. It may return earlier.
void sleep_while(std::atomic<uint32_t>& word, uint32_t value);
void wake_all(std::atomic<uint32_t>& word);

using ThreadId = int;  // 0: none
ThreadId this_thread();
int this_cpu();  // -1: not known
// Lets these threads run on every CPU that the calling thread may use, except `cpu`. Without effect if the
// system has no such call.
void keep_off(int cpu, const ThreadId* threads, int count);

// Registers functions that fork() calls in the thread that forks; without effect if the system has no fork().
void at_fork(void (*before)(), void (*after)(), void (*after_in_child)());

void* allocate_aligned(size_t align, size_t bytes);  // bytes: a multiple of align. Null: there is no memory
void free_aligned(void* memory, size_t bytes);       // bytes: as for allocate_aligned
void use_huge_pages(void* memory, size_t bytes);
// Gives the whole pages in the range to the system. Their addresses stay valid, and their contents are lost.
void discard_pages(void* memory, size_t bytes);

}  // namespace ranvier

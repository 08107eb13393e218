// Functions that differ between operating systems. The files system_<name>.cpp have the functions for Linux,
// macOS and Windows; each is empty on the others. No other file of the core includes a header of a system.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ranvier {

// min(CPUs in the affinity mask, a container's quota, physical cores of the mask); at least 1.
int usable_cpus();

// In bytes, for the levels 1 to 3; a level that the system does not tell is left as it is.
void read_cache_sizes(int64_t (&sizes)[3]);

// True if the system lets the process use AMX's tiles, for which it is asked.
bool may_use_tiles();

void nap();             // some microseconds
bool on_main_thread();  // the main thread of the process handles signals in Python

// While the word has the value, sleeps: until wake_all(), but at most some 50 ms. It may return earlier.
void sleep_while(std::atomic<uint32_t>& word, uint32_t value);
void wake_all(std::atomic<uint32_t>& word);

using ThreadId = int;  // 0: none
ThreadId this_thread();
int this_cpu();  // -1: not known
// Lets these threads run on every CPU that the calling thread may use, but for this one. Without effect where
// the system has no such call.
void keep_off(int cpu, const ThreadId* threads, int count);

// For fork(), in the thread that forks; without effect where the system has no fork().
void at_fork(void (*before)(), void (*after)(), void (*after_in_child)());

void* allocate_aligned(size_t align, size_t bytes);  // bytes: a multiple of align. Null: there is no memory
void free_aligned(void* memory);
void use_huge_pages(void* memory, size_t bytes);
// Gives the whole pages of the range to the system. Their address stays, and what is in them is lost.
void discard_pages(void* memory, size_t bytes);

}  // namespace ranvier

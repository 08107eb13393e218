// Loaded before Python (LD_PRELOAD): fails chosen calls of malloc and its relatives and of mmap, and knows which blocks
// are still there afterwards. Callers are known by their library, from the address they return to.
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

// pybind11 notes each instance of a class in a node of this size. Where it gets none, the process ends, as the
// exception passes through Python's own functions.
enum { NODE = 24 };
enum { CORE = 1, NUMPY = 2, NEW = 4, RANGES = 64, SLOTS = 1 << 16 };
static struct { uintptr_t begin, end; int kind; } ranges[RANGES];
static int range_count, on, kinds;
static long first, last, seen, failed;
static const void *blocks[SLOTS];  // allocated while it is on
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int note_library(struct dl_phdr_info *info, size_t size, void *unused) {
  (void)size, (void)unused;
  const char *name = info->dlpi_name;
  int kind = 0;
  if (strstr(name, "/_core.")) kind = CORE;
  if (strstr(name, "libstdc++")) kind = NEW;  // the core's operator new, but also that of other libraries
  if (strstr(name, "_multiarray_umath")) kind = NUMPY;
  for (int i = 0; kind && i < info->dlpi_phnum && range_count < RANGES; ++i) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
    const uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    ranges[range_count].begin = begin, ranges[range_count].end = begin + info->dlpi_phdr[i].p_memsz;
    ranges[range_count++].kind = kind;
  }
  return 0;
}

static int kind_of(const void *caller) {
  for (int i = 0; i < range_count; ++i)
    if ((uintptr_t)caller >= ranges[i].begin && (uintptr_t)caller < ranges[i].end) return ranges[i].kind;
  return 0;
}

// Calls number from ... to - 1 of these kinds of callers fail.
void failing_on(int of_kinds, long from, long to) {
  range_count = 0;
  dl_iterate_phdr(note_library, NULL);
  memset(blocks, 0, sizeof blocks);
  seen = failed = 0, first = from, last = to, kinds = of_kinds;
  on = 1;
}
void failing_off(void) { on = 0; }
long failing_seen(void) { return seen; }
long failing_failed(void) { return failed; }
long failing_left(void) {  // blocks of CORE and NEW that have not been freed
  long count = 0;
  for (int i = 0; i < SLOTS; ++i) count += blocks[i] != NULL;
  return count;
}

static int fails(const void *caller) {
  if (!on || !(kind_of(caller) & kinds)) return 0;
  const long number = __atomic_fetch_add(&seen, 1, __ATOMIC_RELAXED);
  if (number < first || number >= last) return 0;
  __atomic_fetch_add(&failed, 1, __ATOMIC_RELAXED);
  errno = ENOMEM;
  return 1;
}

// Where a block of the core is noted: one of some places that follow from its address.
static void replace(const void *block, const void *from, const void *to) {
  const size_t at = ((uintptr_t)block >> 4) * 0x9E3779B97F4A7C15u >> 48;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < 32; ++i)
    if (blocks[(at + i) % SLOTS] == from) {
      blocks[(at + i) % SLOTS] = to;
      break;
    }
  pthread_mutex_unlock(&lock);
}
static void *note(void *block, const void *caller) {
  if (on && block && kind_of(caller) & kinds & (CORE | NEW)) replace(block, NULL, block);
  return block;
}
static void forget(const void *block) {
  if (block && kinds) replace(block, block, NULL);
}

#define CALLER __builtin_return_address(0)
void *malloc(size_t bytes) { return bytes != NODE && fails(CALLER) ? NULL : note(__libc_malloc(bytes), CALLER); }
void *calloc(size_t count, size_t bytes) {
  return fails(CALLER) ? NULL : note(__libc_calloc(count, bytes), CALLER);
}
void *realloc(void *old, size_t bytes) {
  if (fails(CALLER)) return NULL;
  forget(old);
  return note(__libc_realloc(old, bytes), CALLER);
}
void *aligned_alloc(size_t align, size_t bytes) {
  return fails(CALLER) ? NULL : note(__libc_memalign(align, bytes), CALLER);
}
int posix_memalign(void **to, size_t align, size_t bytes) {
  void *block = fails(CALLER) ? NULL : note(__libc_memalign(align, bytes), CALLER);
  if (block) *to = block;
  return block ? 0 : ENOMEM;
}
void free(void *block) {
  forget(block);
  __libc_free(block);
}
void *mmap(void *at, size_t bytes, int rights, int flags, int file, off_t from) {  // large blocks of the core
  if (kind_of(CALLER) == CORE && fails(CALLER)) return MAP_FAILED;
  void *block = (void *)syscall(SYS_mmap, at, bytes, rights, flags, file, from);
  return block == MAP_FAILED || kind_of(CALLER) != CORE ? block : note(block, CALLER);
}
int munmap(void *block, size_t bytes) {
  forget(block);
  return (int)syscall(SYS_munmap, block, bytes);
}

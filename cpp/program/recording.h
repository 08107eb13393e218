// Recording: keeps every kernel call that its thread makes while it is the thread's recording.
//
// A recording knows memory as regions. A region is a block of bytes that was noted (note()) before the first
// call that uses it. The owner of a recording keeps every noted block from being freed, so that an address
// means one region only. The owner is ArrayRecording (cpp/bindings/replay), which notes the arrays of each
// call.
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "program/call_type.h"

namespace ranvier {

// persistent: memory from before the recording, which keeps its address, such as parameters. argument: an
// array that each replay gets anew. temporary: memory that the core allocated during the recording. foreign:
// memory that NumPy allocated during the recording; a call that reads it cannot be replayed.
enum class RegionKind { persistent, argument, temporary, foreign };

struct Region {
  char* begin;
  size_t bytes;
  RegionKind kind;
  int argument;          // the number of the argument; -1 for other kinds
  bool written = false;  // a recorded call writes to it
  bool varies = false;   // see ArrayRecording::varies
};

// One view of a recorded call, and the memory to which it points.
struct Use {
  View view;
  int region;      // index in Recording::regions; later, in a Program, in its buffers
  int64_t offset;  // bytes from the start of the region to the view's data
};

struct Record {
  const CallType* type;
  std::vector<char> call;  // the bytes of the call's struct
  std::vector<Use> uses;
  int place;  // index in Recording::places of the line of Python code that made the call; -1: unknown

  // The call, if it is of this kind, else null.
  template <class Call>
  Call* as() const {
    return type == &call_type<Call>() ? reinterpret_cast<Call*>(const_cast<char*>(call.data())) : nullptr;
  }
  // The view itself, within the bytes of the call.
  AnyView& view(const Use& use) const {
    return *reinterpret_cast<AnyView*>(const_cast<char*>(call.data()) + use.view.position);
  }
  // True if the call works on arrays of float16 or bfloat16 (types e and E in base/views.h).
  bool has_halves() const {
    return std::any_of(uses.begin(), uses.end(),
                       [](const Use& use) { return use.view.type == 'e' || use.view.type == 'E'; });
  }
  // The bytes that the view reaches, counted from the start of its region.
  Extent reach(const Use& use) const {
    const Extent e = extent(view(use), use.view.item);
    return {use.offset + e.low, use.offset + e.high};
  }
};

class Recording {
 public:
  // The index of the region that holds p, or -1.
  int find(const void* p) const;
  // Notes a region and returns its index. If a region of at least as many bytes is known at `begin`, it stays
  // as it is.
  int note(void* begin, size_t bytes, RegionKind kind, int argument = -1);
  // Keeps a copy of the call. Sets `fault` if the call cannot be replayed.
  void record(const CallType& type, const void* call);
  // A new number for a call to write, such as the result of a check, which is read after a replay.
  int64_t* cell();

  std::vector<Region> regions;
  std::vector<Record> records;
  std::vector<std::string> places;  // lines of Python code, as text
  std::vector<std::unique_ptr<int64_t>> cells;
  std::string fault;  // why the calls cannot be replayed; empty if they can

 private:
  void add_uses(Record& record);
  void blame(const Record& record, const char* what);
  std::map<const char*, int> by_begin_;  // region by its first byte
};

// This thread's recording, or null. Every kernel call reads it, so it is a plain pointer with the fastest
// access, the TLS model initial-exec. Only glibc can load a module at run time whose variables have this
// model.
#if defined(__GLIBC__)
extern __thread Recording* t_recording __attribute__((tls_model("initial-exec")));
#else
extern __thread Recording* t_recording;
#endif

}  // namespace ranvier

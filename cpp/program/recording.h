// Recording: keeps every kernel call that its thread makes while it is the thread's recording.
//
// A call's memory is known by region: a block of bytes that was noted before the call. Regions that the core
// itself allocated during the recording are temporaries; arguments are given to each replay; all other
// regions are persistent and keep their address. The owner of a recording keeps every noted block from being
// freed, so that an address means one region only.
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "program/call_type.h"

namespace ranvier {

enum class RegionKind { persistent, argument, temporary, foreign };

struct Region {
  char* begin;
  size_t bytes;
  RegionKind kind;
  int argument;          // the number of an argument
  bool written = false;  // by a recorded call
  bool varies = false;   // see ArrayRecording::varies
};

struct Use {
  View view;
  int region;
  int64_t offset;  // the place of the view's data in the region
};

struct Record {
  const CallType* type;
  std::vector<char> call;  // its bytes
  std::vector<Use> uses;
  int place;  // in Recording::places: the line of the program that made the call

  template <class Call>
  Call* as() const {
    return type == &call_type<Call>() ? reinterpret_cast<Call*>(const_cast<char*>(call.data())) : nullptr;
  }
  AnyView& view(const Use& use) const {
    return *reinterpret_cast<AnyView*>(const_cast<char*>(call.data()) + use.view.position);
  }
  bool has_halves() const {
    return std::any_of(uses.begin(), uses.end(),
                       [](const Use& use) { return use.view.type == 'e' || use.view.type == 'E'; });
  }
  // The bytes of the region that are used.
  Extent reach(const Use& use) const {
    const Extent e = extent(view(use), use.view.item);
    return {use.offset + e.low, use.offset + e.high};
  }
};

class Recording {
 public:
  // The region that holds p, or -1.
  int find(const void* p) const;
  // A region already known at `begin` keeps its kind.
  int note(void* begin, size_t bytes, RegionKind kind, int argument = -1);
  void record(const CallType& type, const void* call);
  // A number that a recorded call writes, and that is read after a replay.
  int64_t* cell();

  std::vector<Region> regions;
  std::vector<Record> records;
  std::vector<std::string> places;
  std::vector<std::unique_ptr<int64_t>> cells;
  std::string fault;  // why the calls cannot be replayed; empty: they can
 private:
  void add_uses(Record& record);
  void blame(const Record& record, const char* what);
  std::map<const char*, int> by_begin_;
};

// This thread's recording, or null. A plain pointer, since every kernel call reads it. Other systems than
// those with glibc cannot load a module whose variables have the model initial-exec.
#if defined(__GLIBC__)
extern __thread Recording* t_recording __attribute__((tls_model("initial-exec")));
#else
extern __thread Recording* t_recording;
#endif

}  // namespace ranvier

// A section is a range of a program's instructions that consists of groups. No group depends on another, as
// the instructions of the networks of an ensemble. Each group runs wholly on one thread, so that its
// temporaries stay in that thread's cache, and no barrier is needed within the section. A lane is the share
// of one thread: some of the groups.
#pragma once
#include <cstddef>
#include <vector>

namespace ranvier {

struct Instruction;
struct Buffer;

// The calls of a section whose groups are equal except for the addresses in their views, as networks of the
// same shapes are. Each lane has one copy of the calls of a group, which stays in its cache. Before each
// group it sets the addresses in this copy to those of the group.
struct SharedCalls {
  size_t length = 0;  // instructions of a group
  // The bytes of each call: calls[lane][instruction of the group].
  std::vector<std::vector<std::vector<char>>> calls;
  std::vector<std::vector<char**>> views;  // views[view of the group][lane]: where its address is stored
  std::vector<char*> data;                 // the addresses: data[group * views.size() + view]
};

struct Section {
  size_t first, last;         // instructions [first, last), one group after the other
  std::vector<size_t> lanes;  // the first instruction of each lane, then `last`
  size_t length = 0;          // the instructions of each group, if all groups have as many, else 0
  SharedCalls shared = {};    // empty if the groups differ in more than addresses
  bool chosen = false;        // true: it runs by lanes; false: one instruction after the other, on the team
};

// Orders the instructions from `first` on by sections, and returns the sections that have at least two lanes
// (with lanes = 1, a team of one thread: all). Where there are few independent groups, nothing changes and
// none is returned. lanes: the most lanes of a section, the threads of the team.
std::vector<Section> divide(std::vector<Instruction>& instructions, const std::vector<Buffer>& buffers,
                            size_t first, int lanes);

}  // namespace ranvier

// Sections: parts of a program in which groups of instructions do not depend on each other, such as those of
// the networks of an ensemble. Each group runs wholly on one thread, with its temporaries in that thread's
// cache, and without barriers in between.
#pragma once
#include <cstddef>
#include <vector>

namespace ranvier {

struct Instruction;
struct Buffer;

// Groups that are equal but for where their views point, as those of networks of one form. A lane has one
// copy of their calls, in its cache, and points its views to the data of one group after the other.
struct SharedCalls {
  size_t length = 0;                                  // instructions of a group
  std::vector<std::vector<std::vector<char>>> calls;  // by lane
  std::vector<std::vector<char**>> views;             // the place of each view's data, by lane
  std::vector<char*> data;                            // by group and view
};

// The groups of a section follow each other. Each lane, the share of one thread, has some of them.
struct Section {
  size_t first, last;         // instructions [first, last)
  std::vector<size_t> lanes;  // the first instruction of each lane, then `last`
  size_t length = 0;          // the length of each group, if all are equal
  SharedCalls shared = {};    // the shared calls of these, or empty
  bool chosen = false;        // to run by lanes; else one instruction after the other
};

// Orders the instructions from `first` on by sections, and returns those of at least two lanes. Where there
// are few independent groups, nothing changes.
std::vector<Section> divide(std::vector<Instruction>& instructions, const std::vector<Buffer>& buffers,
                            size_t first, int lanes);

}  // namespace ranvier

// Finds groups of instructions that do not depend on each other (divide), runs them side by side (run_lanes),
// and places their temporaries (place_lanes). sections.h explains sections, groups and lanes.
//
// The program is divided into phases. Every dependence leads to the same phase or to a later one. Within a
// phase, the instructions that are connected by dependences form a group.
#include "program/sections.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>

#include "program/host_call.h"
#include "program/program.h"

namespace ranvier {
namespace {

constexpr int kGroups = 4;  // a phase of fewer groups is not worth running by lanes

// Disjoint sets of the numbers 0 to n - 1 (union-find), each at first alone.
class Sets {
 public:
  explicit Sets(size_t n) : parent_(n), size_(n, 1) { std::iota(parent_.begin(), parent_.end(), 0); }
  int of(int i) {  // the number that represents the set of i
    while (parent_[i] != i) {
      parent_[i] = parent_[parent_[i]];  // shortens the path for later calls
      i = parent_[i];
    }
    return i;
  }
  int size(int i) { return size_[of(i)]; }
  void join(int a, int b) {
    a = of(a);
    b = of(b);
    if (a == b) return;
    parent_[a] = b;
    size_[b] += size_[a];
  }

 private:
  std::vector<int> parent_, size_;
};

// The phases and groups of the instructions from `first` on. Instructions are counted from that one here.
class Division {
 public:
  Division(const std::vector<Instruction>& code, const std::vector<Buffer>& buffers, size_t first)
      : code_(code), buffers_(buffers), first_(first), n_(static_cast<int>(code.size() - first)) {
    find_dependences();
    find_joints();
    find_phases();
  }

  // The instructions in the order of their parts, and within a part by groups.
  std::vector<int> order() const {
    std::vector<int> order(n_);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return std::pair(part(a), group_[a]) < std::pair(part(b), group_[b]);
    });
    return order;
  }
  // The part of instruction i. A phase has two parts: groups of the most frequent size (odd), and all others
  // (even).
  int part(int i) const {
    const bool has_usual_size = size_[group_[i]] == usual_[phase_[i]];
    return 2 * phase_[i] + (has_usual_size ? 1 : 0);
  }
  int size(int i) const { return size_[group_[i]]; }  // instructions in the group of i
  int group(int i) const { return group_[i]; }        // the first instruction of that group

  // True if at least half of the instructions are in phases of at least kGroups groups.
  bool pays() const {
    std::vector<int> groups(n_ + 1);
    std::vector<int> instructions(n_ + 1);
    for (int i = 0; i < n_; ++i) {
      const bool begins_group = group_[i] == i;
      if (begins_group) ++groups[phase_[i]];
      ++instructions[phase_[i]];
    }
    int within = 0;  // instructions in such phases
    for (int p = 0; p <= n_; ++p)
      if (groups[p] >= kGroups) within += instructions[p];
    return within > 0 && 2 * within >= n_;
  }

 private:
  struct Touch {  // bytes of a buffer that an instruction reads or writes
    int instruction;
    Extent bytes;
  };

  const Instruction& at(int i) const { return code_[first_ + i]; }

  // Sets before_[i], the instructions that i must come after, and after_[i], those that must come after i:
  // both use the same bytes, and at least one of the two writes them.
  void find_dependences() {
    before_.resize(n_);
    after_.resize(n_);
    std::vector<std::vector<Touch>> reads(buffers_.size()), writes(buffers_.size());
    for (int i = 0; i < n_; ++i) {
      const auto add = [&](const std::vector<Touch>& earlier, const Touch& now) {
        for (const Touch& t : earlier)
          if (t.instruction != i && t.bytes.meets(now.bytes)) before_[i].push_back(t.instruction);
      };
      for (const Use& use : at(i).uses) {
        const Touch now{i, at(i).reach(use)};
        add(writes[use.region], now);
        if (use.view.write) add(reads[use.region], now);
        if (use.view.write) {
          writes[use.region].push_back(now);
        } else {
          reads[use.region].push_back(now);
        }
      }
      make_unique(before_[i]);
      for (int p : before_[i]) after_[p].push_back(i);
    }
  }

  static void make_unique(std::vector<int>& v) {
    std::sort(v.begin(), v.end());
    v.erase(std::unique(v.begin(), v.end()), v.end());
  }

  // True if instruction i must keep its place among all others: a check, since nothing after a failed check
  // may run; a call of Python; or a write to an argument, which may share memory with another argument.
  bool is_border(int i) const {
    const Instruction& instruction = at(i);
    return instruction.guard || instruction.as<HostCall>() ||
           std::any_of(instruction.uses.begin(), instruction.uses.end(), [&](const Use& use) {
             return use.view.write && buffers_[use.region].role == Role::argument;
           });
  }

  // A joint is an instruction that would connect groups to one of more than a third of all instructions, such
  // as the sum of all networks' losses. Instructions with few links are tried first, so that groups grow from
  // within the networks. The size of the result decides, not the number of links: the loss of one network may
  // have as many operands as the sum of all losses, but connects few instructions.
  void find_joints() {
    joint_.assign(n_, true);
    Sets sets(n_);
    std::vector<int> by_links(n_);
    std::iota(by_links.begin(), by_links.end(), 0);
    std::stable_sort(by_links.begin(), by_links.end(), [&](int a, int b) {
      return before_[a].size() + after_[a].size() < before_[b].size() + after_[b].size();
    });
    for (int i : by_links) {
      std::vector<int> groups;
      for (const std::vector<int>* list : {&before_[i], &after_[i]})
        for (int other : *list)
          if (!joint_[other]) groups.push_back(sets.of(other));
      make_unique(groups);
      int size = 1;
      for (int group : groups) size += sets.size(group);
      joint_[i] = size * (kGroups - 1) > n_;
      for (int group : groups)
        if (!joint_[i]) sets.join(i, group);
    }
  }

  // Sets the phase of each instruction, and the groups of each phase. A phase ends before and after borders;
  // borders in a row that depend on nothing share one, in which they keep their order.
  // A joint is in a later phase than the instructions on which it depends, and those that depend on it are in
  // a later one again.
  void find_phases() {
    phase_.resize(n_);
    group_.resize(n_);
    size_.resize(n_);
    int base = 0;
    int latest = 0;
    bool after_border = false;
    for (int i = 0; i < n_; ++i) {
      const bool border = is_border(i);
      if (border != after_border || (border && !before_[i].empty())) {
        ++latest;
        base = latest;
      }
      after_border = border;
      phase_[i] = base;
      for (int p : before_[i]) {
        const int later = joint_[i] || joint_[p] ? 1 : 0;
        phase_[i] = std::max(phase_[i], phase_[p] + later);
      }
      latest = std::max(latest, phase_[i]);
    }
    Sets sets(n_);
    for (int i = 0; i < n_; ++i)
      for (int p : before_[i])
        if (phase_[i] == phase_[p]) sets.join(i, p);
    std::vector<int> first(n_, -1);  // by set: its first instruction
    for (int i = 0; i < n_; ++i) {
      int& begin = first[sets.of(i)];
      if (begin < 0) begin = i;
      group_[i] = begin;
      ++size_[begin];
    }
    std::map<std::pair<int, int>, int> counts;  // the number of groups, by phase and size
    usual_.resize(latest + 1);
    std::vector<int> most(latest + 1);
    for (int i = 0; i < n_; ++i) {
      if (group_[i] != i) continue;
      const int count = ++counts[{phase_[i], size_[i]}];
      if (count > most[phase_[i]]) {
        most[phase_[i]] = count;
        usual_[phase_[i]] = size_[i];
      }
    }
  }

  const std::vector<Instruction>& code_;
  const std::vector<Buffer>& buffers_;
  const size_t first_;
  const int n_;
  std::vector<std::vector<int>> before_, after_;  // by instruction, see find_dependences()
  std::vector<int> phase_, group_;                // by instruction; a group is named by its first instruction
  // The instructions of a group, by its name; the most frequent size, by phase.
  std::vector<int> size_, usual_;
  std::vector<bool> joint_;  // by instruction
};

// An estimate of the work of an instruction: the bytes that it uses, and 64 for the call itself.
double bytes_of(const Instruction& i) {
  double bytes = 64;
  for (const Use& use : i.uses) bytes += static_cast<double>(i.reach(use).high - i.reach(use).low);
  return bytes;
}

}  // namespace

// Each part of the order becomes a section. Its lanes get whole groups, of about equal bytes in sum.
std::vector<Section> divide(std::vector<Instruction>& instructions, const std::vector<Buffer>& buffers,
                            size_t first, int lanes) {
  if (instructions.size() < first + 2 * kGroups) return {};
  const Division division(instructions, buffers, first);
  if (!division.pays()) return {};
  const std::vector<int> order = division.order();
  std::vector<Instruction> ordered;
  for (size_t i = 0; i < first; ++i) ordered.push_back(std::move(instructions[i]));
  for (int i : order) ordered.push_back(std::move(instructions[first + i]));
  instructions = std::move(ordered);
  std::vector<Section> sections;
  for (size_t begin = 0, end; begin < order.size(); begin = end) {
    const int part = division.part(order[begin]);
    double total = 0;
    for (end = begin; end < order.size() && division.part(order[end]) == part; ++end)
      total += bytes_of(instructions[first + end]);
    const Instruction& leading = instructions[first + begin];
    if (leading.guard || leading.as<HostCall>()) continue;
    Section section{first + begin, first + end, {first + begin}};
    double sum = 0;
    for (size_t i = begin; i < end; ++i) {
      const bool new_group = i > begin && division.group(order[i]) != division.group(order[i - 1]);
      const double share = total * static_cast<double>(section.lanes.size()) / lanes;
      if (new_group && sum >= share) section.lanes.push_back(first + i);
      sum += bytes_of(instructions[first + i]);
    }
    if (section.lanes.size() < 2 && lanes > 1) continue;
    section.lanes.push_back(first + end);
    const auto length = static_cast<size_t>(division.size(order[begin]));
    if (part % 2 == 1 && end - begin > length) section.length = length;
    sections.push_back(std::move(section));
  }
  return sections;
}

// Runs this thread's lanes of a section. With shared calls, the lane's copy of a group's calls is pointed to
// the data of one group after the other.
void Program::run_lanes(const Section& section, const OpenTeam& team) const {
  const OpenTeam solo = team.single();
  for (size_t lane = team.index(); lane + 1 < section.lanes.size(); lane += team.size()) {
    char* const workspace = static_cast<char*>(workspace_.get()) + lane * lane_workspace_;
    const size_t begin = section.lanes[lane];
    const size_t end = section.lanes[lane + 1];
    if (section.shared.views.empty()) {
      for (size_t i = begin; i < end; ++i)
        instructions_[i].type->run(instructions_[i].call.data(), solo, workspace);
      continue;
    }
    const SharedCalls& shared = section.shared;
    const size_t groups = (end - begin) / shared.length;
    const size_t views = shared.views.size();
    char* const* data = shared.data.data() + (begin - section.first) / shared.length * views;
    for (size_t group = 0; group < groups; ++group, data += views) {
      for (size_t v = 0; v < views; ++v) *shared.views[v][lane] = data[v];
      for (size_t i = 0; i < shared.length; ++i)
        instructions_[section.first + i].type->run(shared.calls[lane][i].data(), solo, workspace);
    }
  }
}

// True if two calls are equal in all bytes except the addresses in their views.
static bool same_form(const Instruction& a, const Instruction& b) {
  if (a.type != b.type || a.uses.size() != b.uses.size()) return false;
  // The bytes of a call, with 0 in place of the addresses, which are the first members of the views.
  const auto without_addresses = [](const Instruction& i) {
    std::vector<char> bytes = i.call;
    for (const Use& use : i.uses) std::fill_n(bytes.begin() + use.view.position, sizeof(char*), 0);
    return bytes;
  };
  return without_addresses(a) == without_addresses(b);
}

// Fills SharedCalls for each section whose groups are equal except for addresses. point_views() calls this at
// its end, since the addresses in the views are copied here.
void Program::share_calls() {
  for (Section& s : sections_) {
    s.shared = SharedCalls();
    const size_t length = s.length;
    if (length == 0) continue;
    bool same = true;
    for (size_t i = s.first + length; same && i < s.last; ++i)
      same = same_form(instructions_[i - length], instructions_[i]);
    if (!same) continue;
    SharedCalls& shared = s.shared;
    shared.length = length;
    for (size_t lane = 0; lane + 1 < s.lanes.size(); ++lane) {
      shared.calls.emplace_back();
      for (size_t i = s.first; i < s.first + length; ++i)
        shared.calls.back().push_back(instructions_[i].call);
    }
    for (size_t i = 0; i < length; ++i)
      for (const Use& use : instructions_[s.first + i].uses) {
        shared.views.emplace_back();
        for (auto& calls : shared.calls)
          shared.views.back().push_back(reinterpret_cast<char**>(calls[i].data() + use.view.position));
      }
    // Slots keep addresses of these elements, so the vector must not move its memory while it grows.
    shared.data.reserve((s.last - s.first) / length * shared.views.size());
    for (size_t i = s.first; i < s.last; ++i)
      for (const Use& use : instructions_[i].uses) {
        shared.data.push_back(instructions_[i].view(use).data);
        if (Slot* slot = slot_of(buffers_[use.region]))
          slot->views.emplace_back(&shared.data.back(), use.offset);
      }
  }
}

// Places the temporaries in the arena. Those that one lane alone uses go to memory of this lane, since lanes
// run at the same time. All others live from the start of the section of their first use to the end of that
// of their last use. workspaces: those of instructions that are in the arena, too. Also finds the workspace
// of a lane. Sizes are multiples of 128 bytes, so that no two lanes share a cache line or a pair.
void Program::place_lanes(std::vector<Buffer>& workspaces) {
  std::vector<std::pair<const Section*, size_t>> lanes(instructions_.size(), {nullptr, 0});
  for (const Section& s : sections_)
    for (size_t lane = 0; lane + 1 < s.lanes.size(); ++lane)
      for (size_t i = s.lanes[lane]; i < s.lanes[lane + 1]; ++i) {
        lanes[i] = {&s, lane};
        const size_t bytes = instructions_[i].type->workspace_bytes(instructions_[i].call.data(), 1);
        lane_workspace_ = std::max(lane_workspace_, (bytes + 127) / 128 * 128);
      }
  std::map<std::pair<const Section*, size_t>, std::vector<Buffer*>> local;
  std::vector<Buffer*> common;
  for (Buffer& b : workspaces) common.push_back(&b);
  for (Buffer& b : buffers_) {
    if (b.first < 0 || b.role != Role::temporary || b.host >= 0) continue;
    const auto begins = lanes[b.first];
    const auto ends = lanes[b.last];
    if (begins.first && begins == ends) {
      local[begins].push_back(&b);
      continue;
    }
    if (begins.first) b.first = static_cast<int>(begins.first->first);
    if (ends.first) b.last = static_cast<int>(ends.first->last - 1);
    common.push_back(&b);
  }
  memory_.arena = (place(common) + 127) / 128 * 128;
  size_t lane_bytes = 0;
  size_t most = 0;
  for (auto& [lane, buffers] : local) {
    lane_bytes = std::max(lane_bytes, (place(buffers) + 127) / 128 * 128);
    most = std::max(most, lane.second + 1);
  }
  for (auto& [lane, buffers] : local)
    for (Buffer* b : buffers) b->offset += memory_.arena + lane.second * lane_bytes;
  memory_.arena += most * lane_bytes;
}

}  // namespace ranvier

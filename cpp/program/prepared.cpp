// Which prepared instructions belong together, the key of what they compute (prepared.h), and the table in
// which programs find the blocks of others.
#include "program/prepared.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "base/fork.h"
#include "program/program.h"

namespace ranvier {

// --- The table of blocks. No fork may come while a thread has the lock: the child would wait for ever.

static std::mutex g_mutex;
static std::unordered_map<std::string, std::weak_ptr<PreparedBlock>> g_offered;  // by key

std::shared_ptr<PreparedBlock> find_prepared(const std::string& key) {
  const NoFork whole;
  const std::lock_guard<std::mutex> lock(g_mutex);
  const auto found = g_offered.find(key);
  return found == g_offered.end() ? nullptr : found->second.lock();
}

void offer_prepared(const std::shared_ptr<PreparedBlock>& block) {
  const NoFork whole;
  const std::lock_guard<std::mutex> lock(g_mutex);
  g_offered[block->key] = block;
}

PreparedBlock::~PreparedBlock() {
  if (key.empty()) return;
  const NoFork whole;
  const std::lock_guard<std::mutex> lock(g_mutex);
  const auto found = g_offered.find(key);
  if (found != g_offered.end() && found->second.expired()) g_offered.erase(found);
}

// --- Groups

// The index of the group that makes the buffer, or -1.
static int group_of(const std::vector<PreparedGroup>& groups, int buffer) {
  const auto makes = [buffer](const PreparedGroup& group) {
    return std::find(group.buffers.begin(), group.buffers.end(), buffer) != group.buffers.end();
  };
  const auto found = std::find_if(groups.begin(), groups.end(), makes);
  return found == groups.end() ? -1 : static_cast<int>(found - groups.begin());
}

// Divides the prepared instructions into groups: each begins one, which takes in the groups whose buffers it
// uses.
static std::vector<PreparedGroup> divided(const std::vector<Instruction>& instructions, size_t prepared) {
  std::vector<PreparedGroup> groups;
  for (size_t n = 0; n < prepared; ++n) {
    PreparedGroup group;
    for (const Use& use : instructions[n].uses) {
      const int other = group_of(groups, use.region);
      if (other >= 0) {
        PreparedGroup& taken = groups[other];
        group.instructions.insert(group.instructions.end(), taken.instructions.begin(),
                                  taken.instructions.end());
        group.buffers.insert(group.buffers.end(), taken.buffers.begin(), taken.buffers.end());
        groups.erase(groups.begin() + other);
      }
      const bool is_new =
          std::find(group.buffers.begin(), group.buffers.end(), use.region) == group.buffers.end();
      if (use.view.write && is_new) group.buffers.push_back(use.region);
    }
    group.instructions.push_back(n);
    std::sort(group.instructions.begin(), group.instructions.end());
    groups.push_back(std::move(group));
  }
  return groups;
}

// Finds the groups, and places the buffers of each in its block, one after another, at multiples of 64 bytes.
void Program::place_prepared() {
  groups_ = divided(instructions_, prepared_);
  for (PreparedGroup& group : groups_) {
    for (int buffer : group.buffers) {
      Buffer& b = buffers_[buffer];
      b.offset = group.bytes;
      group.bytes += (b.bytes + 63) / 64 * 64;
    }
    memory_.prepared += group.bytes;
  }
}

template <class T>
static void append(std::string& key, const T& value) {
  key.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// The key of the results that the group computes now, or "" if nothing says when they change. settings: of
// the kernels.
std::string Program::key_of(const PreparedGroup& group, const WatchedBuffers& watched,
                            const std::string& settings) const {
  std::string key = settings;
  append(key, group.bytes);
  for (size_t n : group.instructions) {
    Instruction i = instructions_[n];
    for (const Use& use : i.uses) {
      const Buffer& b = buffers_[use.region];
      // A place in the block differs from "no array" (null), so that a call without a result has another key.
      if (b.role == Role::prepared) {
        i.view(use).data = reinterpret_cast<char*>(b.offset + static_cast<size_t>(use.offset) + 1);
        continue;
      }
      const auto memory = watched.find(use.region);
      if (memory == watched.end() || !memory->second.counted) return "";
      i.view(use).data = b.address + use.offset;
      append(key, memory->second.counter);
      append(key, memory->second.changes);
    }
    i.type->clear_padding(i.call.data());
    append(key, i.type);
    key.append(i.call.data(), i.call.size());
  }
  return key;
}

// --- The blocks of a program

void Program::renew(const WatchedBuffers& watched, const std::string& settings) {
  for (size_t n = 0; n < groups_.size(); ++n) {
    std::shared_ptr<PreparedBlock>& block = blocks_[n];
    std::string key = key_of(groups_[n], watched, settings);
    const bool is_own = block->key.empty();  // no other program has it
    if (key.empty() && is_own) {
      block->computed = false;
      continue;
    }
    if (!key.empty() && block->key == key) continue;
    std::shared_ptr<PreparedBlock> found;
    if (!key.empty()) found = find_prepared(key);
    if (!found) found = std::make_shared<PreparedBlock>(std::move(key));
    has_blocks_ = false;
    const NoFork whole;
    const std::lock_guard<std::mutex> lock(blocks_mutex_);
    block.swap(found);  // the old block is freed after the lock
  }
}

// Allocates the blocks that have no memory. False if there is none.
bool Program::reserve_prepared() {
  for (size_t n = 0; n < groups_.size(); ++n) {
    OwnBlock& memory = blocks_[n]->memory;
    if (!memory) memory.reset(allocate(groups_[n].bytes));
    if (!memory) return false;
    for (int buffer : groups_[n].buffers) {
      Buffer& b = buffers_[buffer];
      b.address = static_cast<char*>(memory.get()) + b.offset;
    }
  }
  return true;
}

void Program::compute_prepared(const Team& team) {
  for (size_t n = 0; n < groups_.size(); ++n) {
    const std::shared_ptr<PreparedBlock>& block = blocks_[n];
    if (block->computed) continue;
    for (size_t i : groups_[n].instructions) run_alone(instructions_[i], team);
    block->computed = true;
    if (!block->key.empty()) offer_prepared(block);
  }
}

size_t Program::prepared_share() const {
  const NoFork whole;
  const std::lock_guard<std::mutex> lock(blocks_mutex_);
  size_t bytes = 0;
  for (size_t n = 0; n < groups_.size(); ++n)
    bytes += groups_[n].bytes / static_cast<size_t>(blocks_[n].use_count());
  return bytes;
}

}  // namespace ranvier

// Prepared results are what a program computes from watched memory alone (program.h), such as packed weights.
// They are kept in blocks of memory that programs share: a program for other arguments, or for another cache
// of keys and values, reads the same weights, and packs nothing.
//
// A block never changes after it was offered to other programs. After a change of the weights each program
// asks for a block under another key.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/allocator.h"

namespace ranvier {

// Prepared instructions that are computed together, since one reads what another makes, and the buffers that
// they make. Different groups have no buffer in common.
struct PreparedGroup {
  std::vector<size_t> instructions;  // in order
  std::vector<int> buffers;
  size_t bytes = 0;  // of a block for these buffers; Buffer::offset counts from its start
};

// What a program knows of watched memory when it prepares results from it.
struct WatchedMemory {
  const void* counter;  // the object that counts the changes of this memory
  int64_t changes;      // its count
  bool counted;         // false: the memory may change without being counted
};
using WatchedBuffers = std::map<int, WatchedMemory>;  // by buffer

// A block with the results of a PreparedGroup.
class PreparedBlock {
 public:
  explicit PreparedBlock(std::string made_from) : key(std::move(made_from)) {}
  ~PreparedBlock();
  PreparedBlock(const PreparedBlock&) = delete;
  PreparedBlock& operator=(const PreparedBlock&) = delete;

  // Says what the results are made from and how: the instructions, the addresses that they read, the counters
  // of these and their counts. Blocks with the same key have the same contents. Addresses and counters are
  // those of memory that each program with this block keeps alive. Empty: only one program may use the block.
  const std::string key;
  OwnBlock memory;        // null until Program::reserve()
  bool computed = false;  // once it is true for a block with a key, the block is not written again
};

// A block with this key that another program has computed; null if there is none.
std::shared_ptr<PreparedBlock> find_prepared(const std::string& key);
// Lets other programs find the block for as long as a program has it.
void offer_prepared(const std::shared_ptr<PreparedBlock>& block);

}  // namespace ranvier

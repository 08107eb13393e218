// Threads that sleep until a word changes, on systems without a futex.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace ranvier {

// For all words: the words belong to the one team, whose threads are woken together.
class Sleepers {
 public:
  void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (word.load() == value) woken_.wait_for(lock, std::chrono::milliseconds(50));
  }
  void wake() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
    }  // one that has read the old value is asleep by now
    woken_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
};

}  // namespace ranvier

// Threads that sleep until a word changes, on systems without a futex.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace ranvier {

// One object serves all words, since they belong to the one team of the process, whose threads are woken
// together. See sleep_while() and wake_all() in system.h.
class Sleepers {
 public:
  void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (word.load() == value) woken_.wait_for(lock, std::chrono::milliseconds(50));
  }
  void wake() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
    }  // with the lock taken once, a thread that has read the old value is asleep by now
    woken_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
};

}  // namespace ranvier

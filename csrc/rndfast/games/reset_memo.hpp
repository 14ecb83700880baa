// SPDX-License-Identifier: MIT
// Remembers what resets lead to, so that they need not be played out again.
//
// A reset restarts the chips, but leaves RAM as the last episode left it, and the timer's start is drawn at random.
// Programs clear the one and set the other at once, so that a few frames after a reset a console is in one of very few
// states, most often always the same. What follows depends on that state alone: no button is pressed but those of the
// reset, and where anything is drawn at random, or a frame is drawn that may never end, the result is not remembered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "rndfast/common/spin_lock.hpp"
#include "rndfast/console/machine_state.hpp"

namespace rndfast {

class GameConsole;

/// Times that mean nothing at the moment, and yet change with every frame.
struct IdleTimes {
  std::int32_t music_cycle;      // there is no DPC
  std::int32_t interrupt_cycle;  // unless the expired timer has been read
  std::int32_t dump_end_cycle;   // unless there are paddles

  /// Calls visit(time of `state`, time of `times`) for each that means nothing in `state`, which has no DPC.
  template <typename State, typename Times, typename Visit>
  static void for_each(State& state, Times& times, Visit visit) {
    visit(state.cartridge.dpc.music_cycle, times.music_cycle);
    if (!state.riot.is_read_after_interrupt) visit(state.riot.interrupt_cycle, times.interrupt_cycle);
    bool has_paddles = false;
    for (const std::int32_t cycles : state.inputs.charge_cycles) {
      has_paddles = has_paddles || (cycles != 0 && cycles != kNoPaddle);
    }
    if (!has_paddles) visit(state.tia.dump_end_cycle, times.dump_end_cycle);
  }
};

/// All that the rest of a reset depends on, some frames after its beginning.
struct ResetKey {
  MachineState state;  // its idle times are 0
  std::int32_t mode;
  unsigned difficulty;
  unsigned buffer;  // see Atari2600

  bool operator==(const ResetKey& other) const;
};

/// What the rest of a reset leads to.
struct ResetResult {
  IdleTimes idle_times;     // as they were when the key was taken
  std::int32_t num_frames;  // that the mode's setting adds to the frame number
  std::unique_ptr<const GameConsole> console;
};

/// Threads may share one. Keeps at most kMaxEntries consoles, some 90 KB each.
class ResetMemo {
 public:
  static constexpr std::size_t kMaxEntries = 64;

  ResetMemo();
  ~ResetMemo();
  ResetMemo(const ResetMemo&) = delete;
  ResetMemo& operator=(const ResetMemo&) = delete;

  /// nullptr if it is unknown.
  const ResetResult* find(const ResetKey& key) const;
  /// Does nothing if there is no room.
  void add(const ResetKey& key, ResetResult result);

 private:
  struct Entry;
  const Entry* find_entry(std::uint64_t hash, const ResetKey& key) const;

  mutable SpinLock lock_;
  std::vector<std::unique_ptr<const Entry>> entries_;  // never removed: what find() returned stays
};

}  // namespace rndfast

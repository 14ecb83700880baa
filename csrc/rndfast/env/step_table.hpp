// SPDX-License-Identifier: MIT
// What steps and resets report beside observations: a row for each environment, in columns, so that who reads one
// column touches nothing else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>

#include "rndfast/console/machine_state.hpp"

namespace rndfast {

/// A row.
struct StepRecord {
  float reward;
  float reward_raw;             // unclipped
  float episode_return;         // of reward_raw, this step included
  std::int32_t episode_length;  // steps, this one included
  std::int32_t env_id;
  std::int32_t lives;
  std::int32_t frame_number;
  std::int32_t episode_frame_number;
  std::int32_t room;  // -1 where unknown
  bool terminated;
  bool truncated;
  bool game_over;  // no later step belongs to this game, as one may after the end of an episode by a lost life
  std::uint8_t ram[kRamBytes];
};

template <typename T>
struct StepColumn {
  const char* name;
  T StepRecord::* member;
};

inline constexpr std::tuple kStepColumns = {
    StepColumn<float>{"reward", &StepRecord::reward},
    StepColumn<float>{"reward_raw", &StepRecord::reward_raw},
    StepColumn<float>{"episode_return", &StepRecord::episode_return},
    StepColumn<std::int32_t>{"episode_length", &StepRecord::episode_length},
    StepColumn<std::int32_t>{"env_id", &StepRecord::env_id},
    StepColumn<std::int32_t>{"lives", &StepRecord::lives},
    StepColumn<std::int32_t>{"frame_number", &StepRecord::frame_number},
    StepColumn<std::int32_t>{"episode_frame_number", &StepRecord::episode_frame_number},
    StepColumn<std::int32_t>{"room", &StepRecord::room},
    StepColumn<bool>{"terminated", &StepRecord::terminated},
    StepColumn<bool>{"truncated", &StepRecord::truncated},
    StepColumn<bool>{"game_over", &StepRecord::game_over},
    StepColumn<std::uint8_t[kRamBytes]>{"ram", &StepRecord::ram}};
inline constexpr std::size_t kNumStepColumns = std::tuple_size_v<decltype(kStepColumns)>;

/// Calls visit(column, index) for each column.
template <typename Visit>
constexpr void for_each_column(Visit visit) {
  [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) {
    (visit(std::get<kIndex>(kStepColumns), kIndex), ...);
  }(std::make_index_sequence<kNumStepColumns>());
}

/// Columns of n rows, zeros at first, in one piece of memory. Different rows may be written at the same time.
class StepTable {
 public:
  explicit StepTable(std::size_t num_rows) : num_rows_(num_rows) {
    constexpr std::size_t kAlignment = 64;
    std::size_t size = 0;
    for_each_column([&]<typename T>(const StepColumn<T>&, std::size_t index) {
      offsets_[index] = size;
      size += (num_rows * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    });
    memory_ = std::make_unique<std::byte[]>(size);
  }

  std::size_t num_rows() const { return num_rows_; }

  void set(std::size_t row, const StepRecord& record) {
    for_each_column([&]<typename T>(const StepColumn<T>& column, std::size_t index) {
      std::memcpy(memory_.get() + offsets_[index] + row * sizeof(T), &(record.*column.member), sizeof(T));
    });
  }

  StepRecord row(std::size_t row) const {
    StepRecord record;
    for_each_column([&]<typename T>(const StepColumn<T>& column, std::size_t index) {
      std::memcpy(&(record.*column.member), memory_.get() + offsets_[index] + row * sizeof(T), sizeof(T));
    });
    return record;
  }

  /// The first element of a column.
  std::byte* column(std::size_t index) { return memory_.get() + offsets_[index]; }

 private:
  std::size_t num_rows_;
  std::array<std::size_t, kNumStepColumns> offsets_;
  std::unique_ptr<std::byte[]> memory_;
};

}  // namespace rndfast

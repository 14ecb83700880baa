// SPDX-License-Identifier: MIT
// One environment: a game console and what turns its frames into steps, observations and episodes.
//
// A step holds an action for some frames, or fewer if the episode ends. The picture of a step is the brighter of its
// last two frames, pixel by pixel, resized; an observation is a stack of the last pictures. The protocol is that of
// ale-py's AtariVectorEnv. Where that is plainly mistaken, EnvSettings::ale_compatible chooses between its behaviour
// and ours (see docs/emulator.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "rndfast/common/random.hpp"
#include "rndfast/console/palette.hpp"
#include "rndfast/env/area_resize.hpp"
#include "rndfast/env/env_settings.hpp"
#include "rndfast/env/grey_pool.hpp"
#include "rndfast/env/step_table.hpp"
#include "rndfast/games/game_console.hpp"

namespace rndfast {

/// What the environments of a batch share; constant.
class EnvPlan {
 public:
  /// Throws std::invalid_argument if the ROM's size is wrong or settings contradict each other. `level`: of the
  /// instruction set to preprocess with.
  /// `remembers_resets`: see ResetMemo.
  EnvPlan(const Game& game, std::span<const std::uint8_t> rom, const EnvSettings& settings, SimdLevel level,
          bool remembers_resets = true);

  const EnvSettings& settings() const { return settings_; }
  const GameBoard& board() const { return board_; }
  const GameConsole& switched_on() const { return switched_on_; }
  std::span<const Action> actions() const { return actions_; }
  /// Shared by all environments, and grows with them; nullptr if resets are not remembered.
  ResetMemo* reset_memo() const { return reset_memo_.get(); }
  const Palette& colors() const { return palette(switched_on_.atari().tv_format()); }

  /// Whether episodes begin with FIRE.
  bool fires() const;

  std::size_t channels() const { return settings_.grayscale ? 1 : 3; }
  std::size_t picture_height() const { return static_cast<std::size_t>(switched_on_.atari().height()); }
  /// Bytes of one frame of an observation, (img_height, img_width) or (img_height, img_width, 3).
  std::size_t frame_size() const;
  std::size_t observation_size() const { return static_cast<std::size_t>(settings_.stack_num) * frame_size(); }
  /// Bytes of a pooled picture in its full size, kept only for ale_compatible.
  std::size_t pooled_size() const { return picture_height() * kScreenWidth * channels(); }

  /// Whether pictures hold colours, not greys.
  bool has_colors() const { return !settings_.grayscale || settings_.keeps_colors || settings_.pool_before_grey; }
  /// Whether a step shows the brighter of its last two frames.
  bool pools() const { return settings_.maxpool && settings_.frameskip > 1; }
  /// The brighter of two console pictures that keep their colours, (height, 160, 3).
  void pool_colors(const std::uint8_t* first, const std::uint8_t* second, std::uint8_t* rgb) const {
    pool_colors(first, second, picture_height() * kScreenWidth, rgb);
  }

  /// Writes the brighter of one or two console pictures as a frame of an observation.
  void make_frame(const std::uint8_t* first, const std::uint8_t* second, std::uint8_t* frame) const;
  /// Does the same in a frame that shows the pictures as they were before some of their rows changed.
  void update_frame(const std::uint8_t* first, const std::uint8_t* second, std::span<const std::uint8_t> is_changed,
                    std::uint8_t* frame) const;
  /// The same in full size.
  void pool(const std::uint8_t* first, const std::uint8_t* second, std::uint8_t* pooled) const {
    pool_rows(first, second, {0, static_cast<std::uint32_t>(picture_height())}, pooled);
  }
  /// Keeps the brighter of what `pooled` holds and of a console picture.
  void pool_into(const std::uint8_t* picture, std::uint8_t* pooled) const;
  void resize_pooled(const std::uint8_t* pooled, std::uint8_t* frame) const;

 private:
  void pool_colors(const std::uint8_t* first, const std::uint8_t* second, std::size_t num_pixels,
                   std::uint8_t* rgb) const;
  void pool_rows(const std::uint8_t* first, const std::uint8_t* second, AreaResize::RowRange rows,
                 std::uint8_t* pooled) const;
  void make_rows(const std::uint8_t* first, const std::uint8_t* second, std::span<const std::uint32_t> rows,
                 std::uint8_t* frame) const;

  EnvSettings settings_;
  GameConsole switched_on_;  // before board_, whose shades depend on its television format
  GameBoard board_;
  std::optional<GreyPool> grey_pool_;  // for pool_before_grey
  std::span<const Action> actions_;
  AreaResize resize_;
  std::unique_ptr<ResetMemo> reset_memo_;
};

/// Plain data; its frames, a stack of `stack_num` and perhaps a pooled picture, are kept by the batch beside it.
class AtariEnv {
 public:
  /// Memory of one environment outside of it.
  struct Frames {
    std::uint8_t* stack;   // (stack_num, frame), oldest first
    std::uint8_t* pooled;  // full size; nullptr unless ale_compatible
  };

  /// Gives the console new random streams; before the first reset, and before any other that shall start a new game.
  void seed(const EnvPlan& plan, std::uint32_t seed);

  /// Starts an episode: in a new game, or going on with the present one if its last episode ended by a lost life.
  void reset(const EnvPlan& plan, const Frames& frames, StepRecord& record);

  /// What a step would have returned, had the environment not been reset in it.
  struct Final {
    StepRecord record;
    std::vector<std::uint8_t> stack;  // (stack_num, frame)
  };

  /// Steps, or resets where autoreset asks for it. Returns whether an episode ends in same-step mode, and sets `final`
  /// then.
  bool step(const EnvPlan& plan, const Frames& frames, Action action, StepRecord& record, Final& final);

  /// Fills in what a record says about the console.
  void describe(const EnvPlan& plan, StepRecord& record) const;

  /// See valid_state.hpp.
  void validate(const EnvPlan& plan) const;

  bool has_ended() const { return has_ended_; }
  bool is_at_start() const { return episode_length_ == 0; }
  GameConsole& console() { return console_; }

 private:
  /// A step; its last frame has an action of its own.
  void play(const EnvPlan& plan, const Frames& frames, Action action, Action last_action, StepRecord& record);
  void start_game(const EnvPlan& plan);
  void observe(const EnvPlan& plan, const Frames& frames, bool stopped, bool ran_all_frames);

  GameConsole console_;
  Mt19937 noop_random_;
  std::int32_t elapsed_frames_;  // of the episode, without those of its reset
  std::int32_t lives_;
  double episode_return_;
  std::int32_t episode_length_;
  bool has_ended_;          // the episode, so that the next step or the user has to reset
  bool game_goes_on_;       // although the episode has ended, by a lost life
  bool counts_start_anew_;  // the next step begins a new return and length
};

static_assert(std::is_trivially_copyable_v<AtariEnv>);

}  // namespace rndfast

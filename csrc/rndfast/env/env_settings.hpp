// SPDX-License-Identifier: MIT
// The settings of an environment, and one table of them, from which their arguments, their checks and the description
// of a snapshot are made, so that a new setting cannot be left out of one.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>

#include "rndfast/games/game.hpp"

namespace rndfast {

enum class Autoreset : std::uint8_t { kNextStep, kSameStep, kDisabled };
inline constexpr std::array<std::string_view, 3> kAutoresetNames = {"NextStep", "SameStep", "Disabled"};

/// The defaults are those of the environments that ale-py registers as v5. rndfast.AtariVectorEnv documents each.
struct EnvSettings {
  float repeat_action_probability = 0.25F;
  std::optional<std::int16_t> mode = std::nullopt;    // the game's default if absent
  std::uint8_t difficulty = 0;                        // both switches at B, also where the game's list lacks this
  std::int32_t max_num_frames_per_episode = 108'000;  // counted from the first step
  std::int32_t frameskip = 4;
  bool maxpool = true;
  bool grayscale = true;
  bool pool_before_grey = false;
  bool keeps_colors = false;  // so that the picture can be shown in colour although observations are grey
  std::int32_t img_height = 84;
  std::int32_t img_width = 84;
  std::int32_t stack_num = 4;
  std::int32_t noop_max = 30;
  bool use_fire_reset = true;
  bool episodic_life = false;
  bool life_loss_info = false;
  bool reward_clipping = true;
  bool full_action_space = false;
  bool ale_compatible = false;
  Autoreset autoreset = Autoreset::kNextStep;
};

/// Whether environments that differ in a setting can go on from each other's snapshots.
enum class InSnapshot : std::uint8_t { kYes, kNo };

/// A number between two bounds, both allowed.
template <typename T>
struct NumberField {
  const char* name;
  T EnvSettings::* member;
  T low;
  T high;
  InSnapshot in_snapshot = InSnapshot::kYes;
};

struct SwitchField {
  const char* name;
  bool EnvSettings::* member;
  InSnapshot in_snapshot = InSnapshot::kYes;
};

/// A number out of the game's list.
template <typename Member, typename T>
struct ChoiceField {
  const char* name;
  Member EnvSettings::* member;
  std::span<const T> Game::* choices;
  InSnapshot in_snapshot = InSnapshot::kYes;
};

struct AutoresetField {
  const char* name;
  Autoreset EnvSettings::* member;
  InSnapshot in_snapshot = InSnapshot::kYes;
};

inline constexpr std::int32_t kNoLimit = std::numeric_limits<std::int32_t>::max();

inline constexpr std::tuple kEnvSettingFields = {
    NumberField<float>{"repeat_action_probability", &EnvSettings::repeat_action_probability, 0, 1},
    ChoiceField<std::optional<std::int16_t>, std::int16_t>{"mode", &EnvSettings::mode, &Game::modes},
    ChoiceField<std::uint8_t, std::uint8_t>{"difficulty", &EnvSettings::difficulty, &Game::difficulties},
    NumberField<std::int32_t>{"max_num_frames_per_episode", &EnvSettings::max_num_frames_per_episode, 1, kNoLimit},
    NumberField<std::int32_t>{"frameskip", &EnvSettings::frameskip, 1, kNoLimit},
    SwitchField{"maxpool", &EnvSettings::maxpool},
    SwitchField{"grayscale", &EnvSettings::grayscale},
    SwitchField{"pool_before_grey", &EnvSettings::pool_before_grey},
    SwitchField{"keeps_colors", &EnvSettings::keeps_colors},
    NumberField<std::int32_t>{"img_height", &EnvSettings::img_height, 1, 4096},
    NumberField<std::int32_t>{"img_width", &EnvSettings::img_width, 1, 4096},
    NumberField<std::int32_t>{"stack_num", &EnvSettings::stack_num, 1, 1024},
    NumberField<std::int32_t>{"noop_max", &EnvSettings::noop_max, 0, kNoLimit},
    SwitchField{"use_fire_reset", &EnvSettings::use_fire_reset},
    SwitchField{"episodic_life", &EnvSettings::episodic_life},
    SwitchField{"life_loss_info", &EnvSettings::life_loss_info},
    SwitchField{"reward_clipping", &EnvSettings::reward_clipping, InSnapshot::kNo},
    SwitchField{"full_action_space", &EnvSettings::full_action_space},
    SwitchField{"ale_compatible", &EnvSettings::ale_compatible},
    AutoresetField{"autoreset_mode", &EnvSettings::autoreset}};

/// Calls `visit` with each field of the table.
template <typename Visit>
constexpr void for_each_setting(Visit visit) {
  std::apply([&visit](const auto&... field) { (visit(field), ...); }, kEnvSettingFields);
}

/// The settings that a snapshot depends on, as ", name value" each. `game` gives those that are absent a value.
std::string describe_settings(const EnvSettings& settings, const Game& game);

}  // namespace rndfast

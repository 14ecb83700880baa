// SPDX-License-Identifier: MIT
#include "rndfast/env/env_settings.hpp"

#include <string>

#include "doctest/doctest.h"

namespace rndfast {

TEST_CASE("the description of settings names all but those that do not matter, with the game's defaults") {
  const Game& game = *find_game("pong");
  EnvSettings settings;
  CHECK(describe_settings(settings, game) ==
        ", repeat_action_probability 0.250000, mode 0, difficulty 0, max_num_frames_per_episode 108000, frameskip 4, "
        "maxpool 1, grayscale 1, pool_before_grey 0, keeps_colors 0, img_height 84, img_width 84, stack_num 4, "
        "noop_max 30, use_fire_reset 1, episodic_life 0, life_loss_info 0, full_action_space 0, ale_compatible 0, "
        "autoreset_mode NextStep");
  const std::string before = describe_settings(settings, game);
  settings.mode = 0;
  settings.reward_clipping = false;
  CHECK(describe_settings(settings, game) == before);
  settings.mode = 1;
  CHECK(describe_settings(settings, game) != before);
}

}  // namespace rndfast

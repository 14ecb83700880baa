// SPDX-License-Identifier: MIT
// The files that `python -m tests.fuzz.seeds FOLDER` writes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "rndfast/games/game.hpp"
#include "schemes.hpp"

namespace rndfast::fuzz {

struct Program {
  std::string name;
  Game game;
  std::vector<std::uint8_t> image;
};

/// As console_fuzz.cpp reads them: scheme, game, number of moves, moves, image.
inline std::vector<Program> read_programs(const std::filesystem::path& folder) {
  std::vector<Program> programs;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
    Program program;
    program.name = entry.path().filename();
    program.game = all_games()[bytes.at(1)];
    program.game.scheme = kSchemes.at(bytes[0]).scheme;
    program.game.set_mode = nullptr;  // most programs are not the game, and have no modes to be reached
    program.image.assign(bytes.begin() + 3 + bytes.at(2), bytes.end());
    programs.push_back(std::move(program));
  }
  std::ranges::sort(programs, {}, &Program::name);
  return programs;
}

}  // namespace rndfast::fuzz

// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "doctest/doctest.h"
#include "rndfast/games/game.hpp"

namespace rndfast {
namespace {

using Bytes = std::array<std::uint8_t, 128>;

const Game& game_of(std::string_view name) {
  const Game* game = find_game(name);
  REQUIRE(game != nullptr);
  return *game;
}

/// A decoder and the memory it reads.
struct Play {
  explicit Play(std::string_view name) : game(game_of(name)), decoder(game.initial) {}

  std::uint8_t& operator[](std::size_t address) { return ram[address & 0x7F]; }
  std::int32_t reward() { return step().reward; }
  bool terminal() { return step().terminal; }
  std::int32_t lives() { return step().lives; }
  const Decoder& step() {
    game.decode(decoder, GameMemory(ram.data(), cartridge_ram.data()));
    return decoder;
  }

  const Game& game;
  Bytes ram = {};
  Bytes cartridge_ram = {};
  Decoder decoder;
};

/// Writes down what is asked of it, and lets `on_select` change the memory.
struct FakeControls : ModeControls {
  GameMemory memory() const override { return {ram.data(), ram.data()}; }
  void press_select(int num_frames) override {
    calls.push_back("select " + std::to_string(num_frames));
    if (on_select) on_select();
  }
  void press_reset() override { calls.emplace_back("reset"); }
  void act(Action action) override {
    calls.push_back("act " + std::to_string(static_cast<int>(action)));
    if (on_act) on_act(action);
  }
  std::uint32_t draw_random() override { return random; }

  Bytes ram = {};
  std::uint32_t random = 0;
  std::function<void()> on_select;
  std::function<void(Action)> on_act;
  std::vector<std::string> calls;
};

using Calls = std::vector<std::string>;

Calls set_mode(std::string_view name, int mode, FakeControls& controls) {
  const Game& game = game_of(name);
  Decoder decoder = game.initial;
  game.set_mode({game, mode, decoder, controls});
  return controls.calls;
}

template <typename T>
bool has_duplicates(std::span<const T> values) {
  return std::set<T>(values.begin(), values.end()).size() != values.size();
}

}  // namespace

TEST_CASE("the table of games is in order") {
  CHECK(all_games().size() == 104);
  CHECK(std::ranges::is_sorted(all_games(), {}, &Game::name));
  std::set<std::string_view> md5s;
  for (const Game& game : all_games()) {
    CAPTURE(game.name);
    CHECK(find_game(game.name) == &game);
    CHECK(md5s.insert(game.md5).second);
    CHECK(game.md5.size() == 32);
    CHECK(game.md5.find_first_not_of("0123456789abcdef") == std::string_view::npos);
    CHECK((game.decode != nullptr));
    CHECK((game.height >= 210 && game.height <= 250));
    CHECK((game.room_address == -1 || (game.room_address >= 0x80 && game.room_address <= 0xFF)));
  }
}

TEST_CASE("a game's size is that of its cartridge") {
  for (const Game& game : all_games()) {
    CAPTURE(game.name);
    switch (game.scheme) {
      case CartridgeScheme::k2K:
        CHECK(game.rom_size == 2048);
        break;
      case CartridgeScheme::k4K:
        CHECK(game.rom_size == 4096);
        break;
      case CartridgeScheme::kF8:
      case CartridgeScheme::kF8SC:
      case CartridgeScheme::kE0:
      case CartridgeScheme::kFE:
        CHECK(game.rom_size == 8192);
        break;
      case CartridgeScheme::kF6:
      case CartridgeScheme::kF6SC:
        CHECK(game.rom_size == 16384);
        break;
      case CartridgeScheme::kDPC:
        CHECK(game.rom_size == 10495);
        break;
    }
  }
}

TEST_CASE("actions, modes and difficulties are valid") {
  for (const Game& game : all_games()) {
    CAPTURE(game.name);
    CHECK(game.minimal_actions.size() >= 3);
    CHECK(std::ranges::is_sorted(game.minimal_actions));
    CHECK(!has_duplicates(game.minimal_actions));
    for (const Action action : game.minimal_actions) CHECK(static_cast<int>(action) < kNumActions);
    for (const Action action : game.start_actions) {
      CHECK((static_cast<int>(action) < kNumActions || action == Action::kReset));
    }
    CHECK(!game.modes.empty());
    CHECK(std::ranges::is_sorted(game.modes));
    CHECK(!has_duplicates(game.modes));
    CHECK((game.modes.size() == 1 || game.set_mode != nullptr));
    CHECK(!game.difficulties.empty());
    CHECK(std::ranges::is_sorted(game.difficulties));
    CHECK(!has_duplicates(game.difficulties));
    CHECK(game.difficulties.back() <= 3);
  }
  CHECK(kNumActions == 18);
  for (int i = 0; i < kNumActions; ++i) CHECK(static_cast<int>(kAllActions[static_cast<std::size_t>(i)]) == i);
}

TEST_CASE("lists are written as runs and ranges") {
  CHECK(std::ranges::equal(game_of("berzerk").modes, std::vector{1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18}));
  CHECK(std::ranges::equal(game_of("bank_heist").modes, std::vector{0, 4, 8, 12, 16, 20, 24, 28}));
  const auto cubes = game_of("video_cube").modes;
  CHECK(cubes.size() == 153);
  CHECK((cubes[0] == 0 && cubes[2] == 2 && cubes[3] == 100 && cubes[152] == 5002));
  std::vector<Action> actions(489, Action::kNoop);
  actions[486] = Action::kFire;
  CHECK(std::ranges::equal(game_of("word_zapper").start_actions, actions));
}

TEST_CASE("games are found by name alone") {
  CHECK(find_game("pitfall2")->name == "pitfall2");
  for (const std::string_view name : {"", "aaa", "pitfal", "pitfall3", "Pong", "zzz"})
    CHECK(find_game(name) == nullptr);
}

TEST_CASE("memory is read by address") {
  Bytes ram = {};
  Bytes cartridge_ram = {};
  ram[0x00] = 0x12;
  ram[0x7F] = 0xAB;
  cartridge_ram[0x36] = 7;
  const GameMemory memory(ram.data(), cartridge_ram.data());
  CHECK(memory[0x80] == 0x12);
  CHECK(memory[0xFF] == 0xAB);
  CHECK(memory.cartridge(0xF0B6) == 7);
  CHECK(memory.bcd(0xFF) == 111);  // 10 * 10 + 11
  CHECK(memory.bcd({0x80, 0xFF, 0x80}) == 120'000 + 11'100 + 12);
}

TEST_CASE("the reward is what the score has grown by") {
  Play play("montezuma_revenge");
  play[0x94] = 0x01;
  CHECK(play.reward() == 100);
  CHECK(play.reward() == 0);
  play[0x93] = 0x02;
  play[0x95] = 0x34;
  CHECK(play.reward() == 20'034);
  play[0x93] = 0;
  CHECK(play.reward() == -20'000);
}

TEST_CASE("montezuma_revenge ends on its game over screen") {
  Play play("montezuma_revenge");
  play[0xBA] = 5;
  CHECK(play.lives() == 6);
  play[0xFE] = 0x60;
  CHECK(!play.terminal());
  play[0xBA] = 0;
  CHECK(play.terminal());
}

TEST_CASE("a score that wraps") {
  Play play("space_invaders");
  play[0xE6] = 0x99;
  play[0xE8] = 0x95;
  CHECK(play.reward() == 9995);
  play[0xE6] = 0x00;
  play[0xE8] = 0x05;
  CHECK(play.reward() == 10);
}

TEST_CASE("breakout ends only after it has started") {
  Play play("breakout");
  CHECK(!play.terminal());
  play[0xB9] = 5;
  CHECK(play.lives() == 5);
  play[0xB9] = 0;
  CHECK(play.terminal());
  play[0xCC] = 0xF2;
  play[0xCD] = 0x34;
  CHECK(play.reward() == 234);
}

TEST_CASE("qbert counts its lives down and keeps the score at the end") {
  Play play("qbert");
  play[0x88] = 2;
  CHECK(play.lives() == 4);
  play[0x88] = 1;
  CHECK(play.lives() == 3);
  CHECK(play.lives() == 3);
  play[0xDB] = 0x25;
  CHECK(play.reward() == 25);
  play[0x88] = 0xFE;
  play[0xDB] = 0;
  CHECK(play.reward() == 0);
  CHECK(play.decoder.terminal);
  CHECK(play.decoder.score == 25);
}

TEST_CASE("skiing takes away the time") {
  Play play("skiing");
  play[0xE9] = 0x01;
  play[0xEA] = 0x50;
  CHECK(play.reward() == -150);
  play[0xE8] = 1;
  CHECK(play.reward() == -6000);
}

TEST_CASE("klax keeps its score on the cartridge") {
  Play play("klax");
  play.cartridge_ram[0x35] = 0x12;
  CHECK(play.reward() == 1200);
  play.cartridge_ram[0x69] = 3;
  play.cartridge_ram[0x6E] = 2;
  CHECK(!play.terminal());
  play.cartridge_ram[0x6E] = 3;
  CHECK(play.terminal());
}

TEST_CASE("casino gives its reward again while it takes no input") {
  Play play("casino");
  play[0x8C] = 0x10;
  CHECK(play.reward() == 1000);
  play[0xD3] = 0x80;
  play[0x8C] = 0x12;
  CHECK(play.reward() == 1000);
  CHECK(play.reward() == 1000);
  play[0xD3] = 0;
  CHECK(play.reward() == 0);
}

TEST_CASE("backgammon is won by bearing off all men") {
  Play play("backgammon");
  play[0x80] = 0x100 - 14;
  play[0x81] = 0xFF;
  play[0x8E] = 10;
  play[0x90] = 5;
  CHECK(!play.terminal());
  play[0x80] = 0x100 - 15;
  CHECK(!play.terminal());  // 16 men
  play[0x81] = 0;
  CHECK(play.reward() == 1);
  CHECK(play.terminal());
}

TEST_CASE("miniature_golf compares the strokes with par") {
  Play play("miniature_golf");
  play[0xAF] = 1;
  play[0x88] = 3;
  CHECK(play.reward() == 0);
  play[0x88] = 0;
  for (std::uint8_t strokes = 1; strokes <= 4; ++strokes) {
    play[0x87] = strokes;
    CHECK(play.reward() == 0);
  }
  play[0xAF] = 2;
  CHECK(play.reward() == -1);
  CHECK(!play.decoder.terminal);
  play[0xAF] = 0;
  CHECK(play.terminal());
}

TEST_CASE("a mode is set by SELECT until it is shown, and RESET") {
  FakeControls controls;
  controls.on_select = [&] { controls.ram[0x32] = static_cast<std::uint8_t>(controls.ram[0x32] + 4); };
  CHECK(set_mode("breakout", 8, controls) == Calls{"select 1", "select 1", "reset"});
  controls.calls.clear();
  CHECK(set_mode("breakout", 8, controls) == Calls{"reset"});
}

TEST_CASE("adventure presses SELECT for a random time") {
  FakeControls controls;
  controls.random = 0x12345603;
  controls.on_select = [&] { controls.ram[0x5D] = static_cast<std::uint8_t>(controls.ram[0x5D] + 2); };
  CHECK(set_mode("adventure", 2, controls) == Calls{"select 5", "act 0", "select 5", "act 0", "reset"});
}

TEST_CASE("video_cube turns to its cube") {
  FakeControls controls;
  controls.on_select = [&] { controls.ram[0x7B] = 0xE2; };
  controls.on_act = [&](Action) { ++controls.ram[0x1F]; };
  controls.ram[0x1F] = 0x10;
  CHECK(set_mode("video_cube", 1201, controls) == Calls{"select 2", "reset", "act 3", "act 3"});
}

TEST_CASE("double_dunk walks through its menu") {
  FakeControls controls;
  controls.on_act = [&](Action action) {
    if (action == Action::kDown) ++controls.ram[0x30];
    if (action == Action::kRight) controls.ram[0x00] |= 0x08;
    if (action == Action::kLeft) controls.ram[0x00] &= 0xCF;
  };
  controls.ram[0x00] = 0x10;
  const Calls down = {"act 5", "act 0"};
  Calls expected = {"select 1"};
  const auto append = [&](const Calls& calls) { expected.insert(expected.end(), calls.begin(), calls.end()); };
  append(down);
  append(down);
  append({"act 3", "act 0"});
  append(down);
  append({"act 4", "act 0"});
  append(down);
  append(down);
  append({"reset", "act 10", "act 0"});
  CHECK(set_mode("double_dunk", 1, controls) == expected);
}

TEST_CASE("a mode that is never reached is an error") {
  for (const Game& game : all_games()) {
    if (game.set_mode == nullptr) continue;
    CAPTURE(game.name);
    FakeControls controls;
    controls.ram.fill(0x7B);
    Decoder decoder = game.initial;
    CHECK_THROWS_AS(game.set_mode({game, game.modes[0], decoder, controls}), std::runtime_error);
  }
  FakeControls controls;
  CHECK_THROWS_WITH_AS(set_mode("et", 2, controls), "game et: mode 2 is not reached in 100 tries", std::runtime_error);
}

}  // namespace rndfast

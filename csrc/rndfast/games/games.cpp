// SPDX-License-Identifier: MIT
// The table of all games. An entry says what differs from the defaults in game.hpp.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "rndfast/games/game.hpp"

namespace rndfast {
namespace {

using enum Action;
using enum CartridgeScheme;

// --- Lists of actions, modes and difficulties, written down where they are used ---

/// An action, repeated `length` times. A single action converts to it, so that lists may hold both.
struct ActionRun {
  constexpr ActionRun(Action run_action, int run_length = 1) : action(run_action), length(run_length) {}
  Action action;
  int length;
};

constexpr ActionRun repeat(Action action, int times) { return {action, times}; }

template <ActionRun... kRuns>
constexpr auto kActions = [] {
  std::array<Action, (std::size_t{kRuns.length} + ...)> actions{};
  auto end = actions.begin();
  ((end = std::fill_n(end, kRuns.length, kRuns.action)), ...);
  return actions;
}();

/// The modes first, first + step, ..., last. A single mode converts to it, so that lists may hold both.
struct ModeRange {
  constexpr ModeRange(int mode) : first(mode), last(mode), step(1) {}
  constexpr ModeRange(int range_first, int range_last, int range_step)
      : first(range_first), last(range_last), step(range_step) {}
  constexpr int size() const { return (last - first) / step + 1; }
  int first;
  int last;
  int step;
};

constexpr ModeRange range(int first, int last, int step = 1) { return {first, last, step}; }

template <ModeRange... kRanges>
constexpr auto kModes = [] {
  std::array<std::int16_t, (std::size_t{kRanges.size()} + ...)> modes{};
  std::size_t i = 0;
  for (const ModeRange& r : {kRanges...}) {
    for (int mode = r.first; mode <= r.last; mode += r.step) modes[i++] = static_cast<std::int16_t>(mode);
  }
  return modes;
}();

template <std::uint8_t... kValues>
constexpr std::array kDifficulties = {kValues...};

/// 100 * cube + variant, for 51 cubes of 3 variants.
constexpr auto kVideoCubeModes = [] {
  std::array<std::int16_t, std::size_t{51} * 3> modes{};
  for (std::size_t i = 0; i < modes.size(); ++i) modes[i] = static_cast<std::int16_t>(100 * (i / 3) + i % 3);
  return modes;
}();

// --- What decoders share ---

/// The reward of a frame is what the score has grown by.
void set_score(Decoder& d, int score) {
  d.reward = score - d.score;
  d.score = score;
}

/// The same for scores that begin at 0 again when they reach `limit`.
void set_score_that_wraps(Decoder& d, int score, int limit) {
  set_score(d, score);
  if (d.reward < 0) d.reward += limit;
}

int signed_byte(int byte) { return static_cast<std::int8_t>(byte); }

/// The value of a digit that is 10 where the game shows a blank in place of a leading zero.
int blankable(int digit) { return digit == 10 ? 0 : digit; }

/// A number that the game stores as one byte per decimal digit, at `addresses`, the most significant first.
template <typename DigitOf>
int read_digits(const GameMemory& ram, std::initializer_list<int> addresses, DigitOf digit_of) {
  int value = 0;
  for (const int address : addresses) value = 10 * value + digit_of(ram[address]);
  return value;
}

// --- How modes are set ---

constexpr int kMaxTries = 10'000;

/// Calls `once` until `is_reached(memory)`; not at all if it is reached already. Gives up after `max_tries`: a mode out
/// of reach is an error, not an endless loop.
template <typename IsReached, typename Once>
void repeat_until(const ModeRequest& request, IsReached is_reached, Once once, int max_tries = kMaxTries) {
  for (int tries = 0; !is_reached(request.controls.memory()); ++tries) {
    if (tries == max_tries) {
      throw std::runtime_error("game " + std::string(request.game.name) + ": mode " + std::to_string(request.mode) +
                               " is not reached in " + std::to_string(max_tries) + " tries");
    }
    once();
  }
}

template <typename IsShown>
void select_until(const ModeRequest& request, int num_frames, IsShown is_shown, int max_tries = kMaxTries) {
  repeat_until(request, is_shown, [&] { request.controls.press_select(num_frames); }, max_tries);
}

/// What most games want: SELECT until the mode is shown, then RESET to begin.
template <typename IsShown>
void select_and_start(const ModeRequest& request, int num_frames, IsShown is_shown) {
  select_until(request, num_frames, is_shown);
  request.controls.press_reset();
}

void select_and_start(const ModeRequest& request, int num_frames, int address, int value) {
  select_and_start(request, num_frames, [&](const GameMemory& ram) { return ram[address] == value; });
}

/// For games that keep the number of the mode at an address.
template <int kAddress, int kNumFrames>
void select_mode_at(const ModeRequest& request) {
  select_and_start(request, kNumFrames, kAddress, request.mode);
}

// --- The games ---

constexpr Game kGames[] = {
    {.name = "adventure",
     .md5 = "4b27f5397c442d25f0c418ccdacf1926",
     .modes = kModes<0, 1, 2>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .lives_rule = LivesRule::kOne,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           // The reward stays: it is 0 until the game is won, which ends it.
           const bool won = ram[0xB9] == 0x12;
           if (won) d.reward = 1;
           d.terminal = won || ram[0xE0] == 2;
         },
     .set_mode =
         [](const ModeRequest& request) {
           const auto shows_mode = [&](const GameMemory& ram) { return ((ram[0xDD] >> 1) & 3) == request.mode; };
           repeat_until(request, shows_mode, [&] {
             request.controls.press_select(2 + static_cast<int>(request.controls.draw_random() % 256));
             request.controls.act(kNoop);
           });
           request.controls.press_reset();
         }},
    {.name = "air_raid",
     .md5 = "35be55426c1fec32dfb503b4f0651572",
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kRightFire, kLeftFire>,
     .modes = kModes<range(1, 8)>,
     .start_actions = kActions<kFire>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xA8, 0xA9, 0xAA}));
           d.terminal = ram[0xA7] == 0xFF;
         },
     .set_mode =
         [](const ModeRequest& request) {
           request.controls.press_select(20);
           select_and_start(request, 10, 0xAA, request.mode);
         }},
    {.name = "alien",
     .md5 = "f1a0a23e6464d954e3a9579c4ccd01c8",
     .modes = kModes<0, 1, 2, 3>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .lives_rule = LivesRule::kDecoded,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const auto digit = [](int byte) { return byte == 0x80 ? 0 : byte >> 3; };
           set_score(d, 10 * read_digits(ram, {0x83, 0x85, 0x87, 0x89, 0x8B}, digit));
           d.lives = ram[0xC0] & 15;
           d.terminal = d.lives == 0;
         },
     .set_mode = select_mode_at<0x81, 1>},
    {.name = "amidar",
     .md5 = "acb7750b4d0c4bd34969802a7deb2990",
     .starts_with_difficulty_a = true,
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpFire, kRightFire, kLeftFire, kDownFire>,
     .difficulties = kDifficulties<0, 3>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xDB, 0xDA, 0xD9}));
           d.lives = ram[0xD6] & 15;
           d.terminal = ram[0xD6] == 0x80;
         }},
    {.name = "assault",
     .md5 = "de78b3a064d374390ac0710f95edde92",
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kRightFire, kLeftFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x80, 0x81, 0x82}));
           d.lives = ram[0xE5];
           d.terminal = d.lives == 0;
         }},
    {.name = "asterix",
     .md5 = "89a68746eff7f266bbf08de2483abe55",
     .rom_size = 8192,
     .scheme = kF8,
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft>,
     .start_actions = kActions<kFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xDE, 0xDF, 0xE0}));
           d.lives = ram[0xD3] & 15;
           d.terminal = d.lives == 1 && ram[0xC7] == 1;
         }},
    {.name = "asteroids",
     .md5 = "ccbd36746ed4525821a8083b0d6d2c2c",
     .rom_size = 8192,
     .scheme = kF8,
     .allows_hmove_blanks = false,
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kUpFire, kRightFire,
                                 kLeftFire, kDownFire, kUpRightFire, kUpLeftFire>,
     .modes = kModes<range(0, 31), 128>,
     .difficulties = kDifficulties<0, 3>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score_that_wraps(d, 10 * ram.bcd({0xBD, 0xBE}), 100'000);
           d.lives = ram[0xBC] >> 4;
           d.terminal = d.lives == 0;
         },
     .set_mode = select_mode_at<0x80, 2>},
    {.name = "atlantis",
     .md5 = "9ad36e699ef6f45d9eb6c4cf90475c9f",
     .minimal_actions = kActions<kNoop, kFire, kRightFire, kLeftFire>,
     .modes = kModes<0, 1, 2, 3>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           d.lives = ram[0xF1];
           d.terminal = d.lives == 0xFF;
           set_score(d, d.terminal ? d.score : 100 * ram.bcd({0xA1, 0xA3, 0xA2}));
         },
     .set_mode = select_mode_at<0x8D, 2>},
    {.name = "atlantis2",
     .md5 = "826481f6fc53ea47c9f272f7050eedf7",
     .minimal_actions = kActions<kNoop, kFire, kRightFire, kLeftFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           d.lives = ram[0xF1];
           d.terminal = d.lives == 0xFF;
           set_score(d, d.terminal ? d.score : ram.bcd({0xA3, 0xA2, 0xA1}));
         }},
    {.name = "backgammon",
     .md5 = "8556b42aa05f94bc29ff39c39b11bff4",
     .wiring = {.left = Controller::kPaddles},
     .paddle_max = 1'000'000,
     .minimal_actions = kActions<kFire, kRight, kLeft>,
     .difficulties = kDifficulties<3>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           // Men on each point as signed bytes, the player's being negative; 0x80 and 0x8E hold the men borne off. The
           // reward stays: it is 0 until somebody wins, which ends the game.
           constexpr int kNumMen = 15;
           const int player_off = -signed_byte(ram[0x80]);
           const int computer_off = signed_byte(ram[0x8E]);
           int player_men = player_off;
           int computer_men = computer_off;
           for (int address = 0x81; address <= 0x9B; ++address) {
             if (address == 0x8E) continue;
             const int men = signed_byte(ram[address]);
             (men < 0 ? player_men : computer_men) += std::abs(men);
           }
           // While a man is being moved the board lacks it: such a board does not say whether the game has ended.
           if (player_men != kNumMen || computer_men != kNumMen) return;
           if (player_off != kNumMen && computer_off != kNumMen) return;
           d.reward = player_off == kNumMen ? 1 : -1;
           d.terminal = true;
         },
     .set_mode = [](const ModeRequest& request) { select_and_start(request, 1, 0xDC, 3); }},
    {.name = "bank_heist",
     .md5 = "00ce0bdd43aed84a983bef38fe7f5ee3",
     .modes = kModes<range(0, 28, 4)>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xD8, 0xD9, 0xDA}));
           d.lives = ram[0xD5];
           d.terminal = d.lives == 0 && ram[0xCE] == 1;
         },
     .set_mode = select_mode_at<0x80, 1>},
    {.name = "basic_math",
     .md5 = "819aeeb9a2e11deb54e6de334f843894",
     .rom_size = 2048,
     .scheme = k2K,
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown>,
     .modes = kModes<5, 6, 7, 8>,
     .difficulties = kDifficulties<0, 2, 3>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd(0x84));
           d.terminal = ram[0x86] != 0;
         },
     .set_mode = select_mode_at<0xC5, 2>},
    {.name = "battle_zone",
     .md5 = "41f252a66c6301f1e8ab3612c19bc5d4",
     .rom_size = 8192,
     .scheme = kF8,
     .allows_hmove_blanks = false,
     .modes = kModes<1, 2, 3>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 1000 * (blankable(ram[0x9D] >> 4) + 10 * blankable(ram[0x9E] & 15) +
                                100 * blankable(ram[0x9E] >> 4)));
           d.lives = ram[0xBA] & 15;
           d.terminal = d.lives == 0;
         },
     .set_mode = select_mode_at<0xA1, 2>},
    {.name = "beam_rider",
     .md5 = "79ab4123a83dc11d468fb2108ea09e2e",
     .rom_size = 8192,
     .scheme = kF8,
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kUpRight, kUpLeft, kRightFire, kLeftFire>,
     .difficulties = kDifficulties<0, 1>,
     .start_actions = kActions<kRight>,
     .initial = {.lives = 3},
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x8B, 0x8A, 0x89}));
           // A number of lives that is smaller by exactly one counts only while 0x8C is 1.
           const int lives = ram[0x85] + 1;
           if (lives != d.lives - 1 || ram[0x8C] == 1) d.lives = lives;
           d.terminal = ram[0x85] == 0xFF;
         }},
    {.name = "berzerk",
     .md5 = "136f75c4dd02c29283752b7e5799f978",
     .modes = kModes<range(1, 9), 16, 17, 18>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xDD, 0xDE, 0xDF}));
           d.lives = ram[0xDA] + 1;
           d.terminal = ram[0xDA] == 0xFF;
         },
     .set_mode =
         [](const ModeRequest& request) {
           for (int i = 0; i < 20; ++i) request.controls.act(kNoop);
           select_and_start(request, 2, 0x80, request.mode);
         }},
    {.name = "blackjack",
     .md5 = "0a981c03204ac2b278ba392674682560",
     .rom_size = 2048,
     .scheme = k2K,
     .wiring = {.left = Controller::kPaddles},
     .paddle_max = 795'000,
     .minimal_actions = kActions<kNoop, kFire, kUp, kDown>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const bool is_broke = ram[0x86] == 0x0B && ram[0x89] == 0xBB;
           set_score(d, is_broke ? 0 : ram.bcd({0x86, 0x89}));
           d.terminal = is_broke || d.score >= 1000;
         }},
    {.name = "bowling",
     .md5 = "c9b7afad3bfd922e006a6bfc1d4f3fe7",
     .rom_size = 2048,
     .scheme = k2K,
     .minimal_actions = kActions<kNoop, kFire, kUp, kDown, kUpFire, kDownFire>,
     .modes = kModes<0, 2, 4>,
     .difficulties = kDifficulties<0, 1>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xA6, 0xA1}));
           d.terminal = ram[0xA4] > 0x10;
         },
     .set_mode = select_mode_at<0x82, 2>},
    {.name = "boxing",
     .md5 = "c3ef5c4653212088eda54dc91d787870",
     .rom_size = 2048,
     .scheme = k2K,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const auto points = [&](int address) { return ram[address] == 0xC0 ? 100 : ram.bcd(address); };
           const int player = points(0x92);
           const int opponent = points(0x93);
           const bool time_is_up = ram[0x90] >> 4 == 0 && ram[0x91] == 0;
           set_score(d, player - opponent);
           d.terminal = player == 100 || opponent == 100 || time_is_up;
         }},
    {.name = "breakout",
     .md5 = "f34f08e5eb96e500e851a80be3277a56",
     .rom_size = 2048,
     .scheme = k2K,
     .wiring = {.left = Controller::kPaddles},
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft>,
     .modes = kModes<range(0, 44, 4)>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           std::int32_t& has_started = d.memory[0];
           set_score(d, 100 * (ram[0xCC] & 15) + ram.bcd(0xCD));
           d.lives = ram[0xB9];
           if (d.lives == 5) has_started = true;
           d.terminal = has_started && d.lives == 0;
         },
     .set_mode = select_mode_at<0xB2, 1>},
    {.name = "carnival",
     .md5 = "028024fb8e5e5f18ea586652f9799c96",
     .first_line = 26,
     .height = 214,
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kRightFire, kLeftFire>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 10 * ram.bcd({0xAD, 0xAE}));
           d.terminal = ram[0x83] == 0;
         }},
    {.name = "casino",
     .md5 = "b816296311019ab69a21cb9e9e235d12",
     .wiring = {.left = Controller::kPaddles},
     .minimal_actions = kActions<kNoop, kFire, kUp, kDown>,
     .modes = kModes<0, 2, 3>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .start_actions = kActions<repeat(kNoop, 60), repeat(kFire, 2)>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const bool is_poker_solitaire = ram[0xD4] == 3;
           const bool is_input_disabled = (ram[0xD3] & 0x80) != 0;
           const int points = ram.bcd({0x8C, 0x95});
           // Where neither holds, d.reward stays what it was: ale-py gives the previous frame's reward again.
           if (is_poker_solitaire || !is_input_disabled) d.reward = points - d.score;
           d.score = points;
           d.terminal = is_poker_solitaire ? points > 0 && ram[0x9E] == 0xAA
                                           : points == 0 || (is_input_disabled && ram[0x9E] != 0);
         },
     .set_mode = select_mode_at<0xD4, 2>},
    {.name = "centipede",
     .md5 = "91c2098e88a6b13f977af8c003e0bca5",
     .rom_size = 8192,
     .scheme = kF8,
     .modes = kModes<22, 86>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xF4, 0xF5, 0xF6}));
           d.reward = std::max(d.reward, 0);
           d.lives = ((ram[0xED] >> 4) & 7) + 1;
           d.terminal = (ram[0xA6] & 0x40) != 0;
         },
     .set_mode = select_mode_at<0xA7, 2>},
    {.name = "chopper_command",
     .md5 = "c1cb228470a87beb5f36e90ac745da26",
     .modes = kModes<0, 2>,
     .difficulties = kDifficulties<0, 1>,
     .lives_rule = LivesRule::kDecoded,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           std::int32_t& has_started = d.memory[0];
           set_score(d, 100 * ram.bcd({0xEC, 0xEE}));
           d.lives = ram[0xE4] & 15;
           if ((ram[0xC2] & 1) != 0) has_started = true;
           d.terminal = has_started && d.lives == 0;
         },
     .set_mode = select_mode_at<0xE0, 2>},
    {.name = "crazy_climber",
     .md5 = "55ef7b65066428367844342ed59f956c",
     .rom_size = 8192,
     .scheme = kF8,
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft>,
     .modes = kModes<0, 1, 2, 3>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 100 * read_digits(ram, {0x85, 0x84, 0x83, 0x82}, [](int byte) { return byte; }));
           d.reward = std::max(d.reward, 0);
           d.lives = ram[0xAA];
           d.terminal = d.lives == 0;
         },
     .set_mode = select_mode_at<0x80, 2>},
    {.name = "crossbow",
     .md5 = "8cd26dcf249456fe4aeb8db42d49df74",
     .rom_size = 16384,
     .scheme = kF6,
     .modes = kModes<0, 2, 4, 6>,
     .difficulties = kDifficulties<0, 1>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x8B, 0x8C, 0x8D}));
           d.terminal = ram[0xE7] == 0x82;
         },
     .set_mode = [](const ModeRequest& request) { select_and_start(request, 2, 0x8D, request.mode + 1); }},
    {.name = "darkchambers",
     .md5 = "106855474c69d08c8ffa308d47337269",
     .rom_size = 16384,
     .scheme = kF6SC,
     .allows_hmove_blanks = false,
     .start_actions = kActions<repeat(kNoop, 486)>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           // When the level or the score falls, the program has begun a new game: the old one is over, and stays over.
           std::int32_t& level = d.memory[0];
           const int points = 10 * ram.bcd({0xCF, 0xCC});
           d.reward = 0;
           if (ram[0xD5] < level) {
             d.terminal = true;
             return;
           }
           level = ram[0xD5];
           if (points < d.score) {
             d.terminal = true;
           } else {
             set_score(d, points);
           }
           if ((ram[0xCA] & 0x1F) == 0) d.terminal = true;
         }},
    {.name = "defender",
     .md5 = "0f643c34e40e3f1daafd9c524d3ffe64",
     .modes = kModes<range(1, 9), 16>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const auto digit = [](int byte) { return blankable(byte & 15); };
           set_score(d, read_digits(ram, {0xA1, 0xA0, 0x9F, 0x9E, 0x9D, 0x9C}, digit));
           d.lives = ram[0xC2];
           d.terminal = d.lives == 0;
         },
     .set_mode = select_mode_at<0x9B, 2>},
    {.name = "demon_attack",
     .md5 = "f0e0addc07971561ab80d9abe1b8d333",
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kRightFire, kLeftFire>,
     .modes = kModes<1, 3, 5, 7>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           std::int32_t& mode_was_just_set = d.memory[0];
           const bool shows_no_score = ram[0x81] == 0xAB && ram[0x83] == 0xCD && ram[0x85] == 0xEA;
           set_score(d, shows_no_score ? 0 : ram.bcd({0x81, 0x83, 0x85}));
           d.lives = ram[0xF2] + 1;
           d.terminal = ram[0xF2] == 0 && ram[0xF1] == 0xBD && !mode_was_just_set;
           mode_was_just_set = false;
         },
     .set_mode =
         [](const ModeRequest& request) {
           select_until(request, 1, [&](const GameMemory& ram) { return ram[0xEA] == request.mode; });
           std::int32_t& mode_was_just_set = request.decoder.memory[0];
           mode_was_just_set = true;
           request.controls.press_reset();
         }},
    {.name = "donkey_kong",
     .md5 = "36b20c427975760cb9cf4a47e41369e4",
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 100 * ram.bcd({0x87, 0x88}));
           d.lives = ram[0xA3];
           d.terminal = d.lives == 0 && ram[0x8F] == 3 && ram[0x8B] == 0x1F;
         }},
    {.name = "double_dunk",
     .md5 = "368d88a6c071caba60b4f778615aae94",
     .rom_size = 16384,
     .scheme = kF6,
     .modes = kModes<range(0, 15)>,
     .start_actions = kActions<kUpFire>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const int player = ram.bcd(0xF6);
           const int opponent = ram.bcd(0xF7);
           set_score(d, player - opponent);
           d.terminal = (player >= 24 || opponent >= 24) && ram[0xFE] == 0xE7;
         },
     .set_mode =
         [](const ModeRequest& request) {
           // Walks through a menu of options, each of which is one bit of the mode and one bit of 0x80.
           const auto press = [&](Action action) {
             request.controls.act(action);
             request.controls.act(kNoop);
           };
           const auto move_down = [&] {
             const int line = request.controls.memory()[0xB0];
             const auto has_moved = [&](const GameMemory& ram) { return ram[0xB0] != line; };
             repeat_until(request, has_moved, [&] { press(kDown); });
           };
           const auto set_option = [&](int mode_bit, int mask) {
             const bool wanted = (request.mode & mode_bit) != 0;
             const auto is_set = [&](const GameMemory& ram) { return ((ram[0x80] & mask) != 0) == wanted; };
             move_down();
             repeat_until(request, is_set, [&] { press(wanted ? kRight : kLeft); });
           };
           request.controls.press_select(1);
           move_down();
           set_option(1, 0x08);
           set_option(2, 0x10);
           set_option(4, 0x04);
           set_option(8, 0x20);
           request.controls.press_reset();
           press(kUpFire);
         }},
    {.name = "earthworld",
     .md5 = "5aea9974b975a6a844e6df10d2b861c4",
     .rom_size = 8192,
     .scheme = kF8,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd(0xA7));
           d.terminal = d.score == 10;
         }},
    {.name = "elevator_action",
     .md5 = "71f8bacfbdca019113f3f0801849057e",
     .rom_size = 8192,
     .scheme = kF8SC,
     .start_actions = kActions<repeat(kFire, 16)>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x87, 0x88, 0x89}));
           d.lives = ram[0x83];
           d.terminal = d.lives == 0 && ram[0x81] != 0;
         }},
    {.name = "enduro",
     .md5 = "94b92a882f6dbaa6993a46e2dcc58402",
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kDown, kDownRight, kDownLeft, kRightFire, kLeftFire>,
     .start_actions = kActions<kFire>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           // 200 cars to pass on the first day, 300 on every later one.
           const int day = ram[0xAD];
           const int cars_left = ram.bcd({0xAC, 0xAB});
           set_score(d, day == 0 ? 0 : 300 * day - 100 - cars_left);
           d.terminal = ram[0xAF] == 0xFF;
         }},
    {.name = "entombed",
     .md5 = "6b683be69f92958abe0e2a9945157ad5",
     .difficulties = kDifficulties<0, 2>,
     .start_actions = kActions<kFire, repeat(kNoop, 5)>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram[0xE3]);
           d.terminal = (ram[0xC7] & 3) == 0;
         }},
    {.name = "et",
     .md5 = "615a3bf251a38eb6638cdc7ffbde5480",
     .rom_size = 8192,
     .scheme = kF8,
     .modes = kModes<0, 1, 2>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xDF, 0xE0, 0xE1}));
           d.lives = signed_byte((ram[0xE5] + 1) & 0xFF);
           d.terminal = d.lives == 0 && ram[0x80] == 8;
         },
     .set_mode =
         [](const ModeRequest& request) {
           constexpr int kMaxPresses = 100;
           const auto shows_mode = [&](const GameMemory& ram) { return ram[0xEA] == request.mode + 1; };
           select_until(request, 25, shows_mode, kMaxPresses);
           request.controls.press_reset();
         }},
    {.name = "fishing_derby",
     .md5 = "b8865f05676e64f3bec72b9defdacfa7",
     .rom_size = 2048,
     .scheme = k2K,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd(0xBD) - ram.bcd(0xBE));
           d.terminal = ram[0xBD] == 0x99 || ram[0xBE] == 0x99;
         }},
    {.name = "flag_capture",
     .md5 = "30512e0e83903fc05541d2f6a6a62654",
     .rom_size = 2048,
     .scheme = k2K,
     .modes = kModes<8, 9, 10>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd(0xEA));
           d.terminal = ram[0xEB] == 0;
         },
     .set_mode = select_mode_at<0xD6, 2>},
    {.name = "freeway",
     .md5 = "8e0ab801b1705a740b476b7f588c6d16",
     .rom_size = 2048,
     .scheme = k2K,
     .minimal_actions = kActions<kNoop, kUp, kDown>,
     .modes = kModes<range(0, 7)>,
     .difficulties = kDifficulties<0, 1>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd(0xE7));
           d.reward = std::clamp(d.reward, 0, 1);
           d.terminal = ram[0x96] == 1;
         },
     .set_mode = select_mode_at<0x80, 1>},
    {.name = "frogger",
     .md5 = "081e2c114c9c20b61acf25fc95c71bf4",
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown>,
     .modes = kModes<0, 1, 2>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xCC, 0xCE}));
           d.lives = ram[0xD0];
           d.terminal = d.lives == 0xFF;
         },
     .set_mode = [](const ModeRequest& request) { select_and_start(request, 2, 0xDD, 1 + 2 * request.mode); }},
    {.name = "frostbite",
     .md5 = "4ca73eb959299471788f0b685c3ba0b5",
     .modes = kModes<0, 2>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xC8, 0xC9, 0xCA}));
           d.lives = (ram[0xCC] & 15) + 1;
           d.terminal = d.lives == 1 && (ram[0xF1] & 0x80) != 0;
         },
     .set_mode = select_mode_at<0x80, 1>},
    {.name = "galaxian",
     .md5 = "211774f4c5739042618be8ff67351177",
     .rom_size = 8192,
     .scheme = kF8,
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kRightFire, kLeftFire>,
     .modes = kModes<range(1, 9)>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score_that_wraps(d, ram.bcd({0xAC, 0xAD, 0xAE}), 1'000'000);
           d.lives = ram[0xB9] + 1;
           d.terminal = (ram[0xBF] & 0x80) != 0;
         },
     .set_mode = select_mode_at<0xB3, 1>},
    {.name = "gopher",
     .md5 = "c16c79aad6272baffb8aae9a7fff0864",
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kUpFire, kRightFire, kLeftFire>,
     .modes = kModes<0, 2>,
     .difficulties = kDifficulties<0, 1>,
     .start_actions = kActions<kFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xB0, 0xB1, 0xB2}));
           const int carrots = ram[0xB4] & 7;  // a carrot is a life, and a bit
           d.lives = std::popcount(static_cast<unsigned>(carrots));
           d.terminal = carrots == 0;
         },
     .set_mode =
         [](const ModeRequest& request) {
           request.controls.press_reset();
           select_and_start(request, 5, 0xD3, request.mode);
         }},
    {.name = "gravitar",
     .md5 = "8ac18076d01a6b63acf6e2cab4968940",
     .rom_size = 8192,
     .scheme = kF8,
     .modes = kModes<0, 1, 2, 3, 4>,
     .start_actions = kActions<repeat(kFire, 16)>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x87, 0x88, 0x89}));
           d.lives = ram[0x81] == 0 ? 6 : ram[0x84] + 1;
           d.terminal = ram[0x81] == 1;
         },
     .set_mode = select_mode_at<0x80, 10>},
    {.name = "hangman",
     .md5 = "f16c709df0a6c52f47ff52b9d95b7d8d",
     .modes = kModes<0, 1, 2, 3>,
     .difficulties = kDifficulties<0, 1>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           std::int32_t& last_clock = d.memory[0];
           const bool time_is_up = last_clock == 0xFF && ram[0xF1] == 0;
           last_clock = ram[0xF1];
           set_score(d, ram.bcd(0xEB) - ram.bcd(0xEC));
           d.terminal = d.reward != 0 || time_is_up;
         },
     .set_mode = select_mode_at<0xEE, 2>},
    {.name = "haunted_house",
     .md5 = "f0a6e99f5875891246c3dbecbf2d2cea",
     .modes = kModes<range(0, 8)>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           std::int32_t& last_matches = d.memory[0];
           const int matches = ram.bcd(0x82);
           const bool won = ram[0x99] == 0x44;
           d.reward = (matches != last_matches ? -1 : 0) + (won ? 100 : 0);
           last_matches = matches;
           d.lives = ram[0x96];
           d.terminal = d.lives == 0 || won;
         },
     .set_mode = select_mode_at<0xCC, 2>},
    {.name = "hero",
     .md5 = "fca4a5be1251927027f2c24774a02160",
     .rom_size = 8192,
     .scheme = kF8,
     .modes = kModes<0, 1, 2, 3, 4>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xB7, 0xB8, 0xB9}));
           d.lives = ram[0xB3];
           d.terminal = d.lives == 0;
         },
     .set_mode = select_mode_at<0x80, 1>},
    {.name = "human_cannonball",
     .md5 = "7972e5101fa548b952d852db24ad6060",
     .rom_size = 2048,
     .scheme = k2K,
     .modes = kModes<range(0, 7)>,
     .difficulties = kDifficulties<0, 1>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd(0xB6));
           d.terminal = d.score == 7 || ram.bcd(0xB7) == 7;
         },
     .set_mode =
         [](const ModeRequest& request) {
           select_and_start(request, 2,
                            [&](const GameMemory& ram) { return ram[0xB6] == request.mode + 1 && ram[0xB7] == 1; });
         }},
    {.name = "ice_hockey",
     .md5 = "a4c08c4994eb9d24fb78be1793e82e26",
     .modes = kModes<0, 2>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd(0x8A) - ram.bcd(0x8B));
           d.reward = std::min(d.reward, 1);
           d.terminal = ram[0x87] == 0 && ram[0x86] == 0;
         },
     .set_mode = select_mode_at<0x80, 2>},
    {.name = "jamesbond",
     .md5 = "e51030251e440cffaab1ac63438b44ae",
     .rom_size = 8192,
     .scheme = kE0,
     .modes = kModes<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xDE, 0xDD, 0xDC}));
           d.lives = (ram[0x86] & 15) + 1;
           d.terminal = d.lives == 1 && ram[0x8C] == 0x68;
         },
     .set_mode =
         [](const ModeRequest& request) {
           select_and_start(request, 20, [&](const GameMemory& ram) {
             return ram[0x8C] == request.mode || ram[0x8C] == request.mode + 0x48;
           });
         }},
    {.name = "journey_escape",
     .md5 = "718ae62c70af4e5fd8e932fee216948a",
     .height = 230,
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft, kRightFire,
                                 kLeftFire, kDownFire, kUpRightFire, kUpLeftFire, kDownRightFire, kDownLeftFire>,
     .difficulties = kDifficulties<0, 1>,
     .start_actions = kActions<kFire>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x90, 0x91, 0x92}));
           if (d.reward == 50'000) d.reward = 0;  // the score that the game starts with is no reward
           d.terminal = ram[0x95] == 0 && ram[0x96] == 0;
         }},
    {.name = "kaboom",
     .md5 = "5428cdfada281c569c74c7308c7f2c26",
     .rom_size = 2048,
     .scheme = k2K,
     .wiring = {.left = Controller::kPaddles},
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft>,
     .start_actions = kActions<kFire>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xA3, 0xA4, 0xA5}));
           d.terminal = ram[0xA1] == 0 || d.score == 999'999;
         }},
    {.name = "kangaroo",
     .md5 = "4326edb70ff20d0ee5ba58fa5cb09d60",
     .rom_size = 8192,
     .scheme = kF8,
     .modes = kModes<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 100 * ram.bcd({0xA7, 0xA8}));
           d.lives = (ram[0xAD] & 7) + 1;
           d.terminal = ram[0xAD] == 0xFF;
         },
     .set_mode =
         [](const ModeRequest& request) {
           select_and_start(request, 2, [&](const GameMemory& ram) {
             return ram[0xBA] == request.mode || ram[0xBA] == request.mode + 0x80;
           });
         }},
    {.name = "keystone_kapers",
     .md5 = "6c1f3f2e359dbf55df462ccbcdd2f6bf",
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft,
                                 kUpFire, kRightFire, kLeftFire, kDownFire>,
     .start_actions = kActions<kReset>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x9B, 0x9C}));
           d.lives = ram[0x96];
           d.terminal = d.lives == 0 && ram[0x88] == 0;
         }},
    {.name = "king_kong",
     .md5 = "0dd4c69b5f9a7ae96a7a08329496779a",
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown>,
     .modes = kModes<0, 1, 2, 3>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x82, 0x83}));
           d.lives = ram[0xEE];
           d.terminal = d.lives == 0;
         },
     .set_mode = [](const ModeRequest& request) { select_and_start(request, 2, 0xEC, 2 * request.mode); }},
    {.name = "klax",
     .md5 = "eed9eaf1a0b6a2b9bc4c8032cb43e3fb",
     .rom_size = 16384,
     .scheme = kF6SC,
     .modes = kModes<0, 1, 2>,
     .start_actions = kActions<kFire, kNoop>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const auto bcd = [&](int address) { return GameMemory::decimal(ram.cartridge(address)); };
           set_score(d, 10'000 * bcd(0xF0B6) + 100 * bcd(0xF0B5) + bcd(0xF0B4));
           const int allowed_misses = ram.cartridge(0xF0E9);
           const bool missed_too_many = allowed_misses > 0 && ram.cartridge(0xF0EE) == allowed_misses;
           bool is_bin_full = true;
           for (int place = 0; place < 25; ++place) {
             const int tile = ram[0xB3 + place];
             if (tile == 0 || tile == 2 || tile == 6 || tile == 10 || tile == 14) is_bin_full = false;
           }
           d.terminal = missed_too_many || (ram[0xA8] == 4 && is_bin_full) || ram.cartridge(0xF09D) == 0x99;
         },
     .set_mode =
         [](const ModeRequest& request) {
           select_and_start(request, 2, [&](const GameMemory& ram) { return ram.cartridge(0xF0EA) == request.mode; });
         }},
    {.name = "koolaid",
     .md5 = "534e23210dd1993c828d944c6ac4d9fb",
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 100 * ram.bcd({0x80, 0x81}));
           d.terminal = ram[0xD1] == 0x80;
         }},
    {.name = "krull",
     .md5 = "4baada22435320d185c95b7dd2bcdb24",
     .rom_size = 8192,
     .scheme = kF8,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x9C, 0x9D, 0x9E}));
           d.lives = (ram[0x9F] & 7) + 1;
           d.terminal = ram[0x9F] == 0 && ram[0xA2] == 3 && ram[0x80] == 0x80;
         }},
    {.name = "kung_fu_master",
     .md5 = "5b92a93b23523ff16e2789b820e2a4c5",
     .rom_size = 8192,
     .scheme = kF8,
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown, kDownRight, kDownLeft, kRightFire, kLeftFire,
                                 kDownFire, kUpRightFire, kUpLeftFire, kDownRightFire, kDownLeftFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x98, 0x99, 0x9A}));
           d.lives = (ram[0x9D] & 7) + 1;
           d.terminal = ram[0x9D] == 0xFF;
         }},
    {.name = "laser_gates",
     .md5 = "8e4cd60d93fcde8065c1a2b972a26377",
     .start_actions = kActions<kReset>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x80, 0x81, 0x82}));
           d.terminal = ram[0x83] == 0;
         }},
    {.name = "lost_luggage",
     .md5 = "2d76c5d1aad506442b9e9fb67765e051",
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft>,
     .has_fire = false,
     .modes = kModes<0, 1>,
     .difficulties = kDifficulties<0, 1>,
     .start_actions = kActions<kFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x94, 0x95, 0x96}));
           d.lives = ram[0xCA];
           d.terminal = d.lives == 0 && ram[0xC8] == 0x0A && ram[0xA5] == 0 && ram[0xA9] == 0;
         },
     .set_mode = [](const ModeRequest& request) { select_and_start(request, 2, 0x94, 1 + 3 * request.mode); }},
    {.name = "mario_bros",
     .md5 = "e908611d99890733be31733a979c62d8",
     .rom_size = 8192,
     .scheme = kF8,
     .modes = kModes<0, 2, 4, 6>,
     .start_actions = kActions<repeat(kNoop, 10), repeat(kFire, 7)>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 100 * ram.bcd({0x89, 0x8A}));
           d.lives = ram[0x87];
           d.terminal = d.lives == 0;
         },
     .set_mode = select_mode_at<0x80, 5>},
    {.name = "miniature_golf",
     .md5 = "df62a658496ac98a3aa4a6ee5719c251",
     .rom_size = 2048,
     .scheme = k2K,
     .difficulties = kDifficulties<0, 1>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           // When the hole changes, the strokes played at the last one are compared with its par.
           std::int32_t& hole = d.memory[0];
           std::int32_t& par = d.memory[1];
           std::int32_t& strokes_before = d.memory[2];  // strokes before the game's counter last began at 0 again
           std::int32_t& strokes = d.memory[3];
           std::int32_t& strokes_at_start = d.memory[4];
           d.reward = 0;
           if (ram.bcd(0xAF) != hole) {
             const int played = strokes_before + strokes - strokes_at_start;
             if (played > 0) d.reward = par - played;
             hole = ram.bcd(0xAF);
             if (hole == 0) d.terminal = true;
             strokes_before = 0;
             strokes_at_start = strokes;
           }
           if (ram[0x88] != 0) {  // the par of the hole is shown in place of the strokes
             par = ram.bcd(0x88);
           } else {
             if (ram.bcd(0x87) < strokes) strokes_before += strokes;
             strokes = ram.bcd(0x87);
           }
         }},
    {.name = "montezuma_revenge",
     .md5 = "3347a6dd59049b15a38394aa2dafa585",
     .rom_size = 8192,
     .scheme = kE0,
     .room_address = 0x83,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x93, 0x94, 0x95}));
           d.lives = (ram[0xBA] & 7) + 1;
           d.terminal = ram[0xBA] == 0 && ram[0xFE] == 0x60;
         }},
    {.name = "mr_do",
     .md5 = "aa7bb54d2c189a31bb1fa20099e42859",
     .rom_size = 8192,
     .scheme = kF8,
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpFire, kRightFire, kLeftFire, kDownFire>,
     .modes = kModes<0, 1, 2, 3>,
     .start_actions = kActions<kFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 10 * ram.bcd({0x83, 0x82}));
           d.lives = ram[0xDB];
           d.terminal = ram[0xDA] == 0x40;
         },
     .set_mode = select_mode_at<0x80, 5>},
    {.name = "ms_pacman",
     .md5 = "87e79cd41ce136fd4f72cc6e2c161bee",
     .rom_size = 8192,
     .scheme = kF8,
     .allows_hmove_blanks = false,
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft>,
     .modes = kModes<0, 1, 2, 3>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xFA, 0xF9, 0xF8}));
           const int spare_lives = ram[0xFB] & 15;
           d.lives = (spare_lives & 7) + 1;
           d.terminal = spare_lives == 0 && ram[0xA7] == 0x53;
         },
     .set_mode =
         [](const ModeRequest& request) {
           // Modes 0 and 1 have the same number, and differ by a flag.
           const int number = std::max(request.mode, 1);
           const int flag = request.mode == 0 ? 1 : 0;
           select_and_start(request, 10,
                            [&](const GameMemory& ram) { return ram[0x99] == number && ram[0xA1] == flag; });
         }},
    {.name = "name_this_game",
     .md5 = "36306070f0c90a72461551a7a4f3a209",
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kRightFire, kLeftFire>,
     .modes = kModes<8, 24, 40>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xC4, 0xC5, 0xC6}));
           d.lives = ram[0xC7] & 7;
           d.terminal = d.lives == 0;
         },
     .set_mode = select_mode_at<0xDE, 2>},
    {.name = "othello",
     .md5 = "113cd09c9771ac278544b7e90efe7df2",
     .rom_size = 2048,
     .scheme = k2K,
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft>,
     .modes = kModes<0, 1, 2>,
     .difficulties = kDifficulties<0, 2>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           // The game is over once nothing has moved for more than 50 frames.
           std::int32_t& idle_frames = d.memory[0];
           set_score(d, ram.bcd(0xCE) - ram.bcd(0xD0));
           idle_frames = ram[0xC0] == 0 ? idle_frames + 1 : 0;
           d.terminal = idle_frames > 50;
         },
     .set_mode = [](const ModeRequest& request) { select_and_start(request, 2, 0xDE, request.mode + 1); }},
    {.name = "pacman",
     .md5 = "fc2233fc116faef0d3c31541717ca2db",
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown>,
     .modes = kModes<range(0, 7)>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xD0, 0xCE, 0xCC}));
           d.lives = ram[0x98] + 1;
           d.terminal = d.lives == 1 && ram[0xE4] == 0x3F;
         },
     .set_mode =
         [](const ModeRequest& request) {
           select_and_start(request, 2,
                            [&](const GameMemory& ram) { return ram[0xCC] == request.mode + 1 && ram[0xE6] == 0; });
         }},
    {.name = "phoenix",
     .md5 = "7e52a95074a66640fcfde124fffd491a",
     .rom_size = 8192,
     .scheme = kF8,
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kDown, kRightFire, kLeftFire, kDownFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 100 * ram.bcd({0xC9, 0xC8}) + 10 * (ram[0xC7] >> 4));
           d.lives = ram[0xCB] & 7;
           d.terminal = ram[0xCC] == 0x80;
         }},
    {.name = "pitfall",
     .md5 = "3e90cf23106f2e08b2781e41299de556",
     .start_actions = kActions<kUp>,
     .room_address = 0x81,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xD5, 0xD6, 0xD7}));
           const int life_marks = ram[0x80] >> 4;  // pixels of the status line: bits 3 and 1 are a spare life each
           d.lives = life_marks == 0b1010 ? 3 : life_marks == 0b1000 ? 2 : 1;
           d.terminal = life_marks == 0 && ram[0x9E] != 0;
         }},
    {.name = "pitfall2",
     .md5 = "6d842c96d5a01967be9680080dd5be54",
     .rom_size = 10495,
     .scheme = kDPC,
     .start_actions = kActions<kUp>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xC7, 0xC8, 0xC9}));
           d.terminal = d.score == 199'000;
         }},
    {.name = "pong",
     .md5 = "60e0ea3cbe0913d39803477945e9e5ec",
     .rom_size = 2048,
     .scheme = k2K,
     .wiring = {.left = Controller::kPaddles, .right = Controller::kPaddles, .swaps_paddles = true},
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kRightFire, kLeftFire>,
     .modes = kModes<0, 1>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const int opponent = ram[0x8D];
           const int player = ram[0x8E];
           set_score(d, player - opponent);
           d.terminal = player == 21 || opponent == 21;
         },
     .set_mode = select_mode_at<0x96, 2>},
    {.name = "pooyan",
     .md5 = "4799a40b6e889370b7ee55c17ba65141",
     .first_line = 26,
     .height = 220,
     .minimal_actions = kActions<kNoop, kFire, kUp, kDown, kUpFire, kDownFire>,
     .modes = kModes<10, 30, 50, 70>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x88, 0x89, 0x8A}));
           d.lives = (ram[0x96] & 7) + 1;
           d.terminal = ram[0x96] == 0 && ram[0x98] == 5;
         },
     .set_mode =
         [](const ModeRequest& request) {
           request.controls.press_select(2);
           select_and_start(request, 2, 0xBD, request.mode);
         }},
    {.name = "private_eye",
     .md5 = "ef3a4f64b6494ba770862768caf04b86",
     .rom_size = 8192,
     .scheme = kF8,
     .modes = kModes<0, 1, 2, 3, 4>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .start_actions = kActions<kUp>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xC8, 0xC9, 0xCA}));
           d.terminal = ram[0xC2] > 1;
         },
     .set_mode = select_mode_at<0x80, 2>},
    {.name = "qbert",
     .md5 = "484b0076816a104875e00467d431c2d2",
     .first_line = 40,
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown>,
     .difficulties = kDifficulties<0, 1>,
     .initial = {.lives = 4, .memory = {2}},
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           std::int32_t& last_spare_lives = d.memory[0];
           const int spare_lives = signed_byte(ram[0x88]);
           d.terminal = spare_lives == -2 || (spare_lives == 2 && last_spare_lives == -1);
           if (spare_lives == last_spare_lives - 1) --d.lives;
           last_spare_lives = spare_lives;
           set_score(d, d.terminal ? d.score : ram.bcd({0xD9, 0xDA, 0xDB}));
         }},
    {.name = "riverraid",
     .md5 = "393948436d1f4cc3192410bb918f9724",
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           // A digit is stored as the low byte of its picture's address; a picture takes 8 bytes.
           const auto digit = [](int byte) { return byte % 8 == 0 && byte <= 72 ? byte / 8 : 0; };
           set_score(d, read_digits(ram, {0xCD, 0xCF, 0xD1, 0xD3, 0xD5, 0xD7}, digit));
           constexpr int kFull = 0x58;
           constexpr int kLast = 0x59;
           std::int32_t& life_byte = d.memory[0];
           d.terminal = ram[0xC0] == kFull && life_byte == kLast;
           life_byte = ram[0xC0];
           d.lives = life_byte == kFull ? 4 : life_byte == kLast ? 1 : life_byte / 8 + 1;
         }},
    {.name = "road_runner",
     .md5 = "ce5cc62608be2cd3ed8abd844efb8919",
     .rom_size = 16384,
     .scheme = kF6,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const auto digit = [](int byte) { return blankable(byte & 15); };
           set_score(d, 100 * read_digits(ram, {0xCC, 0xCB, 0xCA, 0xC9}, digit));
           d.lives = (ram[0xC4] & 7) + 1;
           d.terminal = d.lives == 1 && (ram[0xB9] != 0 || ram[0xBD] != 0);
         }},
    {.name = "robotank",
     .md5 = "4f618c2429138e0280969193ed6c107e",
     .rom_size = 8192,
     .scheme = kFE,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 12 * ram[0xB6] + ram[0xB5]);  // squadrons of 12, and single tanks
           d.lives = (ram[0xA8] & 15) + 1;
           d.terminal = ram[0xA8] == 0 && ram[0xB4] == 0xFF;
         }},
    {.name = "seaquest",
     .md5 = "240bfbac5163af4df5ae713985386f92",
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xB8, 0xB9, 0xBA}));
           d.lives = ram[0xBB] + 1;
           d.terminal = ram[0xA3] != 0;
         }},
    {.name = "sir_lancelot",
     .md5 = "dd0cbe5351551a538414fb9e37fc56e8",
     .rom_size = 8192,
     .scheme = kF8,
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kRightFire, kLeftFire>,
     .start_actions = kActions<kReset, kLeft>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x9E, 0x9F, 0xA0}));
           d.lives = ram[0xA9];
           d.terminal = d.lives == 0 && ram[0xA7] == 0xA0;
         }},
    {.name = "skiing",
     .md5 = "b76fbadc8ffb1f83e2ca08b6fb4d6c9f",
     .rom_size = 2048,
     .scheme = k2K,
     .minimal_actions = kActions<kNoop, kRight, kLeft>,
     .has_fire = false,
     .start_actions = kActions<repeat(kDown, 16)>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, -(6000 * ram[0xE8] + ram.bcd({0xE9, 0xEA})));  // minus the time in centiseconds
           d.terminal = ram[0x91] == 0xFF;
         }},
    {.name = "solaris",
     .md5 = "e72eb8d4410152bdcb69e7fba327b420",
     .rom_size = 16384,
     .scheme = kF6,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 10 * ram.bcd({0xDE, 0xDD, 0xDC}));
           d.lives = ram[0xD9] & 15;
           d.terminal = ram[0xD9] == 0;
         }},
    {.name = "space_invaders",
     .md5 = "72ffbef6504b75e69ee1045af9075f66",
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kRightFire, kLeftFire>,
     .modes = kModes<range(0, 15)>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score_that_wraps(d, ram.bcd({0xE6, 0xE8}), 10'000);
           d.lives = ram[0xC9];
           d.terminal = d.lives == 0 || (ram[0x98] & 0x80) != 0;
         },
     .set_mode = select_mode_at<0xDC, 2>},
    {.name = "space_war",
     .md5 = "b702641d698c60bcdc922dbd8c9dd49c",
     .rom_size = 2048,
     .scheme = k2K,
     .modes = kModes<range(6, 17)>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd(0xA7));
           d.terminal = d.score == 10 || ram[0x80] == 0;
         },
     .set_mode =
         [](const ModeRequest& request) {
           select_and_start(request, 2, [&](const GameMemory& ram) { return ram.bcd(0xA7) == request.mode; });
         }},
    {.name = "star_gunner",
     .md5 = "a3c1c70024d7aabb41381adbfb6d3b25",
     .modes = kModes<0, 1, 2, 3>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           std::int32_t& has_started = d.memory[0];
           const auto digit = [](int byte) { return blankable(byte & 15); };
           set_score(d, 100 * read_digits(ram, {0x86, 0x85, 0x84, 0x83}, digit));
           if (ram[0x87] == 5) has_started = true;
           d.lives = has_started ? ram[0x87] & 15 : 5;
           d.terminal = ram[0x87] == 0;
         },
     .set_mode = select_mode_at<0xF4, 15>},
    {.name = "superman",
     .md5 = "a9531c763077464307086ec9a1fd057d",
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const bool won = (ram[0x9F] & 0x40) != 0 && ram[0x81] == 0xF2 && ram[0x80] == 0xAC;
           const int seconds = 60 * ram.bcd(0xE3) + ram.bcd(0xE2);
           d.reward = won ? 5999 - seconds : 0;
           d.terminal = won;
         }},
    {.name = "surround",
     .md5 = "4d7517ae69f95cfbc053be01312b7dba",
     .rom_size = 2048,
     .scheme = k2K,
     .wiring = {.swaps_ports = true},
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown>,
     .modes = kModes<0, 2>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const int player = ram.bcd(0xF7);
           const int opponent = ram.bcd(0xF6);
           set_score(d, player - opponent);
           d.terminal = player == 10 || opponent == 10;
         },
     .set_mode = [](const ModeRequest& request) { select_and_start(request, 2, 0xF9, request.mode + 1); }},
    {.name = "tennis",
     .md5 = "42cdd6a9e42a3639e190722b8ea3fc51",
     .rom_size = 2048,
     .scheme = k2K,
     .modes = kModes<0, 2>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           // The reward is the change of the games' difference or else of the points', not both in one frame.
           std::int32_t& last_games_ahead = d.memory[0];
           std::int32_t& last_points_ahead = d.memory[1];
           const int player = ram[0xC7];
           const int opponent = ram[0xC8];
           const int games_ahead = player - opponent;
           const int points_ahead = ram[0xC5] - ram[0xC6];
           d.reward =
               games_ahead != last_games_ahead ? games_ahead - last_games_ahead : points_ahead - last_points_ahead;
           last_games_ahead = games_ahead;
           last_points_ahead = points_ahead;
           d.terminal = (player >= 6 && games_ahead >= 2) || (opponent >= 6 && games_ahead <= -2) || player == 7 ||
                        opponent == 7;
         },
     .set_mode = select_mode_at<0x80, 2>},
    {.name = "tetris",
     .md5 = "b0e1ee07fbc73493eac5651a52f90f00",
     .rom_size = 2048,
     .scheme = k2K,
     .minimal_actions = kActions<kNoop, kFire, kRight, kLeft, kDown>,
     .lives_rule = LivesRule::kZero,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xF2, 0xF1}));
           d.reward = std::max(d.reward, 0);
           d.terminal = (ram[0xF3] & 0x80) != 0;
           if (d.terminal) d.score = 0;
         }},
    {.name = "tic_tac_toe_3d",
     .md5 = "0db4f4150fecf77e4ce72ca4d04c052f",
     .rom_size = 2048,
     .scheme = k2K,
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft>,
     .modes = kModes<range(0, 8)>,
     .difficulties = kDifficulties<0, 2>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const bool has_winner = ram[0xFF] == 0xF3 && ram[0xFE] == 0x10;
           d.reward = !has_winner ? 0 : ram[0xE1] == 8 ? 1 : -1;
           bool is_board_full = true;
           for (int address = 0x9A; address <= 0xD9; ++address) is_board_full = is_board_full && ram[address] != 0;
           if (has_winner || is_board_full) d.terminal = true;
         },
     .set_mode = select_mode_at<0x88, 2>},
    {.name = "time_pilot",
     .md5 = "fc2104dd2dadf9a6176c1c1c8f87ced9",
     .rom_size = 8192,
     .scheme = kF8,
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpFire, kRightFire, kLeftFire, kDownFire>,
     .difficulties = kDifficulties<0, 1, 2>,
     .initial = {.lives = 5},
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 100 * ram.bcd({0x8F, 0x8D}));
           if ((ram[0x80] & 15) == 2) d.lives = (ram[0x8B] & 7) + 1;
           d.terminal = ram[0xA0] != 0;
         }},
    {.name = "trondead",
     .md5 = "fb27afe896e7c928089307b32e5642ee",
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xBD, 0xBE, 0xBF}));
           d.lives = 5 - ram[0xC8];
           d.terminal = d.lives == 0;
         }},
    {.name = "turmoil",
     .md5 = "7a5463545dfb2dcfdafa6074b2f2c15e",
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft,
                                 kRightFire, kLeftFire>,
     .modes = kModes<range(0, 8)>,
     .start_actions = kActions<kFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 10 * (ram.bcd({0x8A, 0x89}) + ram[0xD3]));
           d.lives = ram[0xB9];
           d.terminal = d.lives == 0 && ram[0xC5] == 1;
         },
     .set_mode = select_mode_at<0xEA, 2>},
    {.name = "tutankham",
     .md5 = "085322bae40d904f53bdcc56df0593fc",
     .rom_size = 8192,
     .scheme = kE0,
     .minimal_actions = kActions<kNoop, kUp, kRight, kLeft, kDown, kUpFire, kRightFire, kLeftFire>,
     .modes = kModes<0, 4, 8, 12>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x9A, 0x9C}));
           d.lives = ram[0x9E] & 3;
           d.terminal = ram[0x9E] == 0 && ram[0x81] != 0x84;
         },
     .set_mode = select_mode_at<0xAB, 2>},
    {.name = "up_n_down",
     .md5 = "a499d720e7ee35c62424de882a3351b6",
     .rom_size = 8192,
     .scheme = kF8,
     .first_line = 30,
     .minimal_actions = kActions<kNoop, kFire, kUp, kDown, kUpFire, kDownFire>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .start_actions = kActions<kFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0x80, 0x81, 0x82}));
           d.lives = (ram[0x86] & 15) + 1;
           d.terminal = d.lives == 1 && ram[0x94] > 0x40;
         }},
    {.name = "venture",
     .md5 = "3e899eba0ca8cd2972da1ae5479b4f0d",
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 100 * ram.bcd({0xC7, 0xC8}));
           d.lives = (ram[0xC6] & 7) + 1;
           d.terminal = ram[0xC6] == 0 && ram[0xCD] == 0xFF && (ram[0xBF] & 0x80) != 0;
         }},
    {.name = "video_checkers",
     .md5 = "539d26b6e9df0da8e7465f0f5ad863b7",
     .minimal_actions = kActions<kFire, kUpRight, kUpLeft, kDownRight, kDownLeft>,
     .modes = kModes<range(1, 9), range(11, 19)>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           // The reward stays: it is 0 until a side has no men left, which ends the game.
           const bool loser_wins = d.memory[0] != 0;
           bool has_player = false;
           bool has_opponent = false;
           for (const int row_pair : {0x80, 0x89, 0x92, 0x9B}) {
             for (int address = row_pair; address < row_pair + 8; ++address) {
               if (ram[address] == 0x10 || ram[address] == 0x20) has_player = true;
               if (ram[address] == 0x90 || ram[address] == 0xA0) has_opponent = true;
             }
           }
           if (has_player && has_opponent) return;
           d.reward = has_player == loser_wins ? -1 : 1;
           d.terminal = true;
         },
     .set_mode =
         [](const ModeRequest& request) {
           std::int32_t& loser_wins = request.decoder.memory[0];
           loser_wins = request.mode >= 11;
           select_and_start(request, 1, 0xF6, loser_wins ? request.mode + 6 : request.mode);
         }},
    {.name = "video_chess",
     .md5 = "f0b7db930ca0e548c41a97160b9f6275",
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpRight, kUpLeft, kDownRight, kDownLeft>,
     .modes = kModes<0, 1, 2, 3, 4>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const bool is_over = ram[0xE1] == 0x82 && ram[0xEE] < 2;
           d.reward = !is_over ? 0 : ram[0xEE] == 0 ? 1 : -1;
           if (is_over) d.terminal = true;
         },
     .set_mode = select_mode_at<0xEA, 1>},
    {.name = "video_cube",
     .md5 = "3f540a30fdee0b20aed7288e4a5ea528",
     .modes = kVideoCubeModes,
     .difficulties = kDifficulties<0, 1>,
     .start_actions = kActions<repeat(kNoop, 61), kFire, repeat(kNoop, 2)>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           std::int32_t& last_faces = d.memory[0];
           std::int32_t& last_clock = d.memory[1];
           int faces = 0;  // number of faces that have one colour
           for (int face = 0xA0; face < 0xA0 + 6 * 9; face += 9) {
             bool has_one_colour = true;
             for (int tile = 1; tile < 9; ++tile) has_one_colour = has_one_colour && ram[face + tile] == ram[face];
             if (has_one_colour) ++faces;
           }
           const bool time_is_up = last_clock == 0xFF && ram[0xDB] == 0;
           last_clock = ram[0xDB];
           d.reward = time_is_up ? -1 : faces - last_faces;
           last_faces = faces;
           d.terminal = time_is_up || faces == 6;
         },
     .set_mode =
         [](const ModeRequest& request) {
           // A mode of cube 0 is that of cube 1.
           constexpr int kShownByVariant[] = {0, 2, 8};
           const int shown = kShownByVariant[request.mode % 100];
           const int cube = std::max(request.mode / 100, 1);
           select_and_start(request, 2, [&](const GameMemory& ram) { return (ram[0xFB] & 0x1F) == shown; });
           const auto shows_cube = [&](const GameMemory& ram) { return ram.bcd(0x9F) == cube; };
           repeat_until(request, shows_cube, [&] { request.controls.act(kRight); });
         }},
    {.name = "video_pinball",
     .md5 = "107cc025334211e6d29da0b6be46aec7",
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpFire, kRightFire, kLeftFire>,
     .modes = kModes<0, 2>,
     .difficulties = kDifficulties<0, 1>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xB4, 0xB2, 0xB0}));
           d.lives = 4 + (ram[0xA8] & 1) -
                     (ram[0x99] & 7);  // bit 0 of 0xA8 is an extra ball; 0x99 has the present ball's number
           d.terminal = (ram[0xAF] & 1) != 0;
         },
     .set_mode = select_mode_at<0xC1, 2>},
    {.name = "wizard_of_wor",
     .md5 = "7e8aa18bc9502eb57daaf5e7c1e94da7",
     .wiring = {.swaps_ports = true},
     .minimal_actions = kActions<kNoop, kFire, kUp, kRight, kLeft, kDown, kUpFire, kRightFire, kLeftFire, kDownFire>,
     .difficulties = kDifficulties<0, 1>,
     .initial = {.lives = 3},
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           const int hundreds = ram.bcd({0x88, 0x86});
           set_score(d, 100 * (hundreds >= 8000 ? hundreds - 8000 : hundreds));
           const int lives = ram[0x8D] & 15;
           if ((ram[0xD7] & 1) == 0) d.lives = lives;
           d.terminal = lives == 0 && ram[0xF4] == 0xF8;
         }},
    {.name = "word_zapper",
     .md5 = "ec3beb6d8b5689e867bafb5d5f507491",
     .modes = kModes<range(0, 23)>,
     .difficulties = kDifficulties<0, 1, 2, 3>,
     .start_actions = kActions<repeat(kNoop, 486), kFire, repeat(kNoop, 2)>,
     .lives_rule = LivesRule::kOneUntilEnd,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           // While the clock stands at 0 nothing is decoded: ale-py gives the previous frame's reward again.
           if (ram[0xCF] == 0) return;
           set_score(d, 2 - signed_byte(ram[0xDC]));
           d.terminal = d.score == 3 || ram[0xDE] == 0;
         },
     .set_mode = select_mode_at<0xDB, 2>},
    {.name = "yars_revenge",
     .md5 = "c5930d0e8cdae3e037349bfa08e871be",
     .modes = kModes<0, 32, 64, 96>,
     .difficulties = kDifficulties<0, 1>,
     .start_actions = kActions<kFire>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, ram.bcd({0xE0, 0xE1, 0xE2}));
           d.lives = ram[0x9E] >> 4;
           d.terminal = d.lives == 0;
         },
     .set_mode =
         [](const ModeRequest& request) {
           request.controls.press_select(2);
           select_and_start(request, 1, 0xE3, request.mode);
         }},
    {.name = "zaxxon",
     .md5 = "eea0da9b987d661264cce69a7c13c3bd",
     .rom_size = 8192,
     .scheme = kF8,
     .modes = kModes<0, 8, 16, 24>,
     .decode =
         [](Decoder& d, const GameMemory& ram) {
           set_score(d, 100 * ram.bcd({0xE8, 0xE9}));
           d.lives = ram[0xEA] & 7;
           d.terminal = d.lives == 0;
         },
     .set_mode = select_mode_at<0x82, 10>},
};

}  // namespace

std::span<const Game> all_games() { return kGames; }

const Game* find_game(std::string_view name) {
  const Game* game = std::ranges::lower_bound(kGames, name, {}, &Game::name);
  return game != std::end(kGames) && game->name == name ? game : nullptr;
}

}  // namespace rndfast

// SPDX-License-Identifier: MIT
#include "rndfast/console/cartridge.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

#include "rndfast/common/valid_state.hpp"

namespace rndfast {
namespace {

constexpr unsigned kRomAddress = 0x1000;
constexpr unsigned kBankBytes = 4096;
constexpr unsigned kSuperchipBytes = 0x100;  // of each bank's addresses: 128 to write to, 128 to read from
constexpr unsigned kDpcDisplayOffset = 8192;
constexpr unsigned kDpcDisplayBytes = 2048;
constexpr double kCyclesPerSecond = 1193191.66666667;
constexpr double kDpcMusicHertz = 15750.0;

/// Where the plain ROM of each scheme begins and ends within its 4 KiB of addresses, and the image's smallest size.
struct Layout {
  unsigned plain_begin;
  unsigned plain_end;
  unsigned image_bytes;
};

constexpr Layout layout_of(CartridgeScheme scheme) {
  switch (scheme) {
    case CartridgeScheme::k2K:
      return {0, 0x1000, 2048};
    case CartridgeScheme::k4K:
      return {0, 0x1000, 4096};
    case CartridgeScheme::kF8:
      return {0, 0xFF8, 8192};
    case CartridgeScheme::kF6:
      return {0, 0xFF6, 16384};
    case CartridgeScheme::kF8SC:
      return {kSuperchipBytes, 0xFF8, 8192};
    case CartridgeScheme::kF6SC:
      return {kSuperchipBytes, 0xFF6, 16384};
    case CartridgeScheme::kE0:
      return {0, 0xFE0, 8192};
    case CartridgeScheme::kFE:
      return {0, 0x1000, 8192};
    case CartridgeScheme::kDPC:
      return {0x80, 0xFC0, kDpcDisplayOffset + kDpcDisplayBytes};
  }
  throw std::invalid_argument("unknown cartridge scheme");
}

/// The bank of an FE cartridge follows from address bit 13.
constexpr unsigned fe_bank_offset(unsigned address) { return (address & 0x2000) != 0 ? 0 : kBankBytes; }

}  // namespace

Cartridge::Cartridge(CartridgeScheme scheme, std::span<const std::uint8_t> image) : scheme_(scheme) {
  const Layout layout = layout_of(scheme);
  const bool fits =
      scheme == CartridgeScheme::kDPC ? image.size() >= layout.image_bytes : image.size() == layout.image_bytes;
  if (!fits) {
    throw std::invalid_argument("the ROM image must have " + std::to_string(layout.image_bytes) + " bytes, got " +
                                std::to_string(image.size()));
  }
  plain_ = {kRomAddress + layout.plain_begin, layout.plain_end - layout.plain_begin};
  image_.assign(image.begin(), image.end());
}

std::span<const std::uint8_t> Cartridge::rom() const {
  return std::span(image_).first(scheme_ == CartridgeScheme::kDPC ? kDpcDisplayOffset : image_.size());
}

unsigned Cartridge::slice_bytes() const {
  switch (scheme_) {
    case CartridgeScheme::k2K:
      return 2048;
    case CartridgeScheme::kE0:
      return 1024;
    default:
      return kBankBytes;
  }
}

bool Cartridge::is_always_plain(unsigned offset) const {
  // E0's hot spots are at the end of its last segment, which always shows the last slice; other slices are never there
  if (scheme_ == CartridgeScheme::kE0 && offset < 7 * slice_bytes()) return true;
  return plain_.contains(kRomAddress + offset % kBankBytes);
}

std::optional<unsigned> Cartridge::certain_offset(unsigned address, unsigned from) const {
  if ((address & kRomAddress) == 0) return std::nullopt;
  switch (scheme_) {
    case CartridgeScheme::kE0: {
      const unsigned last = kBankBytes - slice_bytes();  // its last segment always shows the last slice
      if ((address & last) != last) return std::nullopt;
      return kBankBytes + address % kBankBytes;
    }
    case CartridgeScheme::kFE:
      return fe_bank_offset(address) + address % kBankBytes;
    default:  // an instruction that is being run is in the bank that is selected
      return from / kBankBytes * kBankBytes + address % slice_bytes();
  }
}

void Cartridge::power_on(CartridgeState& state) const {
  state = {};
  state.dpc.random = 1;
  reset(state);
}

void Cartridge::reset(CartridgeState& state) const {
  switch (scheme_) {
    case CartridgeScheme::k2K:
    case CartridgeScheme::k4K:
    case CartridgeScheme::kF6:
    case CartridgeScheme::kF6SC:
      select_bank(state, 0);
      break;
    case CartridgeScheme::kF8:
    case CartridgeScheme::kF8SC:
      select_bank(state, 1);
      break;
    case CartridgeScheme::kE0:
      for (unsigned segment = 0; segment < 4; ++segment) select_slice(state, segment, 4 + segment);
      break;
    case CartridgeScheme::kFE:
      for (unsigned i = 0; i < 16; ++i) {
        state.bank_offset[i] = static_cast<std::uint16_t>(fe_bank_offset(i * 1024) + (i & 3) * 1024);
      }
      break;
    case CartridgeScheme::kDPC:
      select_bank(state, 1);
      state.dpc.music_cycle = 0;
      state.dpc.music_fraction = 0;
      break;
  }
}

void Cartridge::select_bank(CartridgeState& state, unsigned bank) const {
  const unsigned mirror = scheme_ == CartridgeScheme::k2K ? 1 : 3;
  for (unsigned i = 0; i < 16; ++i) {
    state.bank_offset[i] = static_cast<std::uint16_t>(bank * kBankBytes + (i & mirror) * 1024);
  }
}

void Cartridge::select_slice(CartridgeState& state, unsigned segment, unsigned slice) {
  for (unsigned i = segment; i < 16; i += 4) state.bank_offset[i] = static_cast<std::uint16_t>(slice * 1024);
}

void Cartridge::touch_hot_spot(CartridgeState& state, unsigned address) const {
  const unsigned a = address & 0xFFF;
  switch (scheme_) {
    case CartridgeScheme::kF8:
    case CartridgeScheme::kF8SC:
    case CartridgeScheme::kDPC:
      if (a == 0xFF8 || a == 0xFF9) select_bank(state, a - 0xFF8);
      break;
    case CartridgeScheme::kF6:
    case CartridgeScheme::kF6SC:
      if (a >= 0xFF6 && a <= 0xFF9) select_bank(state, a - 0xFF6);
      break;
    case CartridgeScheme::kE0:
      if (a >= 0xFE0 && a <= 0xFF7) select_slice(state, (a - 0xFE0) / 8, a & 7);
      break;
    case CartridgeScheme::k2K:
    case CartridgeScheme::k4K:
    case CartridgeScheme::kFE:
      break;
  }
}

void Cartridge::validate(const CartridgeState& state) const {
  static_assert(sizeof(CartridgeState) == 224, "validate() must know every member");
  CartridgeState expected;
  if (scheme_ == CartridgeScheme::kE0) {
    for (unsigned segment = 0; segment < 4; ++segment) {
      const unsigned slice = state.bank_offset[segment] / slice_bytes();
      require_state_between("the cartridge's slice", slice, segment == 3 ? 7 : 0, 7);  // the last one is fixed
      select_slice(expected, segment, slice);
    }
  } else if (scheme_ == CartridgeScheme::kFE) {
    reset(expected);
  } else {
    const unsigned bank = state.bank_offset[0] / kBankBytes;
    require_state_between("the cartridge's bank", bank, 0,
                          std::max(1U, static_cast<unsigned>(rom().size()) / kBankBytes) - 1);
    select_bank(expected, bank);
  }
  require_state(std::ranges::equal(state.bank_offset, expected.bank_offset),
                "cartridge.bank_offset must be that of a bank");
  const auto& dpc = state.dpc;
  for (const unsigned counter : dpc.counter) require_state_between("dpc.counter", counter, 0, kDpcDisplayBytes - 1);
  for (const bool& is_music : dpc.is_music) require_state_flag("dpc.is_music", is_music);
  require_state_between("dpc.music_fraction", dpc.music_fraction, -1, 1);
}

std::uint8_t Cartridge::read(CartridgeState& state, unsigned address, std::int32_t cycle) const {
  if (scheme_ == CartridgeScheme::kDPC) return read_dpc(state, address, cycle);
  const unsigned a = address & 0xFFF;
  if (has_ram() && a >= 0x80 && a < kSuperchipBytes) return state.ram[a & 0x7F];
  touch_hot_spot(state, address);
  return image_[offset(state, address)];
}

void Cartridge::write(CartridgeState& state, unsigned address, std::uint8_t value) const {
  const unsigned a = address & 0xFFF;
  if (scheme_ == CartridgeScheme::kDPC) write_dpc(state, address, value);
  if (has_ram() && a < 0x80) state.ram[a] = value;
  touch_hot_spot(state, address);
}

namespace {

void clock_dpc_random(CartridgeState& state) {
  const unsigned r = state.dpc.random;
  const unsigned bit = ~((r >> 7) ^ (r >> 5) ^ (r >> 4) ^ (r >> 3)) & 1U;
  state.dpc.random = static_cast<std::uint8_t>((r << 1) | bit);
}

/// Lets the square waves of fetchers 5 .. 7 catch up with the time, and mixes them.
std::uint8_t play_dpc_music(CartridgeState& state, std::int32_t cycle) {
  auto& dpc = state.dpc;
  const double clocks = kDpcMusicHertz * (cycle - dpc.music_cycle) / kCyclesPerSecond + dpc.music_fraction;
  const auto whole = static_cast<std::int32_t>(clocks);
  dpc.music_cycle = cycle;
  dpc.music_fraction = clocks - whole;
  unsigned voices = 0;
  for (unsigned i = 5; i < 8; ++i) {
    if (!dpc.is_music[i]) continue;
    if (whole > 0) {
      const std::int32_t top = dpc.top[i];
      std::int32_t low = 0;
      if (top != 0) {
        low = (dpc.counter[i] & 0xFF) - whole % (top + 1);
        if (low < 0) low += top + 1;
      }
      if (low <= dpc.bottom[i]) {
        dpc.flag[i] = 0;
      } else if (low <= top) {
        dpc.flag[i] = 0xFF;
      }
      dpc.counter[i] = static_cast<std::uint16_t>((dpc.counter[i] & 0x700) | low);
    }
    if (dpc.flag[i] != 0) voices |= 1U << (i - 5);
  }
  static constexpr std::array<std::uint8_t, 8> kAmplitude = {0, 4, 5, 9, 6, 10, 11, 15};
  return kAmplitude[voices];
}

}  // namespace

std::uint8_t Cartridge::read_dpc(CartridgeState& state, unsigned address, std::int32_t cycle) const {
  const unsigned a = address & 0xFFF;
  auto& dpc = state.dpc;
  if (a < 0x80 || a >= 0xFC0) clock_dpc_random(state);
  if (a >= 0x40) {
    touch_hot_spot(state, address);
    return image_[offset(state, address)];
  }
  const unsigned i = a & 7;
  const unsigned function = (a >> 3) & 7;
  const unsigned low = dpc.counter[i] & 0xFF;
  if (low == dpc.top[i]) {
    dpc.flag[i] = 0xFF;
  } else if (low == dpc.bottom[i]) {
    dpc.flag[i] = 0;
  }
  const auto display = image_[kDpcDisplayOffset + kDpcDisplayBytes - 1 - dpc.counter[i]];
  std::uint8_t value = 0;
  if (function == 0) {
    value = i < 4 ? dpc.random : play_dpc_music(state, cycle);
  } else if (function == 1) {
    value = display;
  } else if (function == 2) {
    value = display & dpc.flag[i];
  } else if (function == 7) {
    value = dpc.flag[i];
  }
  if (i < 5 || !dpc.is_music[i]) dpc.counter[i] = (dpc.counter[i] - 1) & 0x7FF;
  return value;
}

void Cartridge::write_dpc(CartridgeState& state, unsigned address, std::uint8_t value) {
  const unsigned a = address & 0xFFF;
  auto& dpc = state.dpc;
  clock_dpc_random(state);
  if (a < 0x40 || a >= 0x80) return;
  const unsigned i = a & 7;
  switch ((a >> 3) & 7) {
    case 0:
      dpc.top[i] = value;
      dpc.flag[i] = 0;
      break;
    case 1:
      dpc.bottom[i] = value;
      break;
    case 2:
      dpc.counter[i] =
          static_cast<std::uint16_t>((dpc.counter[i] & 0x700) | (i >= 5 && dpc.is_music[i] ? dpc.top[i] : value));
      break;
    case 3:
      dpc.counter[i] = static_cast<std::uint16_t>((dpc.counter[i] & 0xFF) | ((value & 7U) << 8));
      if (i >= 5) dpc.is_music[i] = (value & 0x10) != 0;
      break;
    case 6:
      dpc.random = 1;
      break;
    default:
      break;
  }
}

}  // namespace rndfast

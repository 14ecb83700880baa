// SPDX-License-Identifier: MIT
// Cartridges: how more than 4 KiB of ROM, and sometimes RAM or a chip, hide behind 4 KiB of addresses.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rndfast/console/machine_state.hpp"

namespace rndfast {

/// How a cartridge switches its banks, by the customary names.
enum class CartridgeScheme : std::uint8_t { k2K, k4K, kF8, kF6, kF8SC, kF6SC, kE0, kFE, kDPC };

/// The addresses at which a read does nothing but return a byte of ROM, whatever bank is selected.
struct PlainRange {
  unsigned begin;  // of the 8 KiB that have mirrors
  unsigned size;

  bool contains(unsigned address) const { return (address & 0x1FFF) - begin < size; }
};

/// A ROM image and the wiring around it. Constant and shared by all consoles that run it; what changes is in
/// CartridgeState.
class Cartridge {
 public:
  /// Throws std::invalid_argument if the image is not as large as the scheme wants.
  Cartridge(CartridgeScheme scheme, std::span<const std::uint8_t> image);

  CartridgeScheme scheme() const { return scheme_; }
  bool has_ram() const { return scheme_ == CartridgeScheme::kF8SC || scheme_ == CartridgeScheme::kF6SC; }

  /// Puts the banks, and a DPC's music, into their state at a reset of the console. `cartridge.ram` is the caller's.
  void reset(CartridgeState& state) const;

  /// What the DPC is before its first reset.
  void power_on(CartridgeState& state) const;

  /// See valid_state.hpp.
  void validate(const CartridgeState& state) const;

  PlainRange plain() const { return plain_; }

  /// The ROM offset that `address` selects.
  static unsigned offset(const CartridgeState& state, unsigned address) {
    return state.bank_offset[(address >> 10) & 15] + (address & 0x3FF);
  }

  /// What the banks are made of, by ROM offset.
  std::span<const std::uint8_t> rom() const;

  /// Bytes of ROM that appear together, one after the other, wherever they do: a bank, or a part of one.
  unsigned slice_bytes() const;

  /// Whether the byte at this ROM offset is plain at every address at which it can appear.
  bool is_always_plain(unsigned offset) const;

  /// The ROM offset that `address` selects while an instruction at ROM offset `from` is run, if that is certain.
  std::optional<unsigned> certain_offset(unsigned address, unsigned from) const;

  /// Any read or write in the cartridge's addresses, at a time in cycles.
  std::uint8_t read(CartridgeState& state, unsigned address, std::int32_t cycle) const;
  void write(CartridgeState& state, unsigned address, std::uint8_t value) const;

 private:
  void touch_hot_spot(CartridgeState& state, unsigned address) const;
  void select_bank(CartridgeState& state, unsigned bank) const;
  static void select_slice(CartridgeState& state, unsigned segment, unsigned slice);
  std::uint8_t read_dpc(CartridgeState& state, unsigned address, std::int32_t cycle) const;
  static void write_dpc(CartridgeState& state, unsigned address, std::uint8_t value);

  CartridgeScheme scheme_;
  PlainRange plain_;
  std::vector<std::uint8_t> image_;
};

}  // namespace rndfast

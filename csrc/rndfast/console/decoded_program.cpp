// SPDX-License-Identifier: MIT
#include "rndfast/console/decoded_program.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "rndfast/console/handlers.hpp"
#include "rndfast/console/riot.hpp"
#include "rndfast/console/tia.hpp"

namespace rndfast {
namespace {

/// The addressing modes of opcodes.py.
enum class Mode : std::uint8_t { imp, acc, imm, zp, zpx, zpy, abs, abx, aby, ind, izx, izy, rel, own };

struct DecodeRule {
  std::uint8_t length;
  Mode mode;
  std::uint8_t num_handlers;
  Handler first_handler;
  Handler anywhere;  // the handler that finds the next instruction wherever it is
};

constexpr std::array<DecodeRule, 256> kDecodeRules = {{
#define RNDFAST_DECODE(length, mode, num_handlers, first_handler, anywhere) \
  {length, Mode::mode, num_handlers, kHandler_##first_handler, kHandler_##anywhere},
#include "decoder_tables.inc"
#undef RNDFAST_DECODE
}};

struct FusedPair {
  Handler first, second, both;
};

constexpr FusedPair kFusedPairs[] = {
#define RNDFAST_FUSED(first, second) {kHandler_##first, kHandler_##second, kHandler_##first##_then_##second},
#include "decoder_tables.inc"
#undef RNDFAST_FUSED
};

class Decoder {
 public:
  explicit Decoder(const Cartridge& cartridge) : cartridge_(cartridge), rom_(cartridge.rom()) {}

  /// With the next instruction, if one handler runs both.
  DecodedInstruction decode(unsigned offset) const {
    DecodedInstruction instruction = decode_single(offset);
    const unsigned next = offset + kDecodeRules[rom_[offset]].length;
    if (instruction.handler == kHandler_bus || next == rom_.size()) return instruction;
    const unsigned next_handler = decode_single(next).handler;
    for (const FusedPair& pair : kFusedPairs) {
      if (pair.first == instruction.handler && pair.second == next_handler) instruction.handler = pair.both;
    }
    return instruction;
  }

 private:
  /// Whether these bytes are ordinary ROM that is always shown as a whole.
  bool is_decodable(unsigned offset, unsigned length) const {
    const unsigned slice = cartridge_.slice_bytes();
    if (offset % slice + length > slice) return false;
    for (unsigned i = 0; i < length; ++i) {
      if (!cartridge_.is_always_plain(offset + i)) return false;
    }
    return true;
  }

  DecodedInstruction decode_single(unsigned offset) const {
    const DecodeRule& rule = kDecodeRules[rom_[offset]];
    if (rule.num_handlers == 0 || !is_decodable(offset, rule.length)) return {kHandler_bus, 0};
    unsigned operand = 0;
    if (rule.length > 1) operand = rom_[offset + 1];
    if (rule.length > 2) operand |= unsigned{rom_[offset + 2]} << 8;
    const bool ends_slice = (offset + rule.length) % cartridge_.slice_bytes() == 0;
    unsigned handler = ends_slice ? rule.anywhere : rule.first_handler;
    switch (rule.mode) {
      case Mode::rel:
        return ends_slice ? DecodedInstruction{kHandler_bus, 0} : decode_branch(rule, offset, operand);
      case Mode::zp:
        if (ends_slice) break;
        if ((operand & 0x80) != 0) {
          operand &= 0x7F;
        } else {
          ++handler;
          operand &= 0x3F;
          if (rule.num_handlers > 2 && operand == tia::WSYNC) ++handler;
        }
        break;
      case Mode::izy:
        if (operand < 0x80 || operand == 0xFF) return {kHandler_bus, 0};
        operand &= 0x7F;
        break;
      case Mode::abs:
      case Mode::abx:
      case Mode::aby: {
        if (ends_slice || rule.num_handlers < 3) break;
        const unsigned table_bytes = rule.mode == Mode::abs ? 1 : 256;
        const std::optional<unsigned> table = cartridge_.certain_offset(operand, offset);
        if (!table.has_value() || !is_decodable(*table, table_bytes)) break;
        handler += 2;
        operand = *table;
        break;
      }
      default:
        break;
    }
    return {static_cast<std::uint16_t>(handler), static_cast<std::uint16_t>(operand)};
  }

  DecodedInstruction decode_branch(const DecodeRule& rule, unsigned offset, unsigned operand) const {
    const unsigned next = offset + rule.length;
    const unsigned target = next + operand - ((operand & 0x80) != 0 ? 0x100U : 0U);
    const auto [begin, end] = std::minmax(offset, target);
    unsigned handler = rule.first_handler;
    if (target >= rom_.size() || !is_decodable(begin, end - begin + 1)) {
      handler += 2;  // perhaps into another bank
    } else {
      const Handler waiting = waiting_handler(rule.first_handler, offset, target);
      if (waiting != kHandler_bus) handler = waiting;
      if ((next ^ target) >= 0x100) ++handler;  // into another page
    }
    return {static_cast<std::uint16_t>(handler), static_cast<std::uint16_t>(target - next)};
  }

  /// The handler of a branch that is its loop's last instruction, if the loop does nothing but wait.
  Handler waiting_handler(Handler branch, unsigned offset, unsigned target) const {
    const bool is_bne = branch == kHandler_BNE_rel_near;
    const bool is_bpl = branch == kHandler_BPL_rel_near;
    const bool is_bmi = branch == kHandler_BMI_rel_near;
    if (target + 3 != offset && target + 1 != offset) return kHandler_bus;
    const auto [first, operand] = decode_single(target);
    if (target + 3 == offset) {
      const bool loads = first == kHandler_LDA_abs || first == kHandler_LDX_abs || first == kHandler_LDY_abs;
      if (!loads && (first != kHandler_BIT_abs || is_bne)) return kHandler_bus;  // BIT's Z depends on A
      if (riot::is_timer(operand) && is_bne) return kHandler_wait_timer_BNE_near;
      if (riot::is_timer(operand) && is_bpl) return kHandler_wait_timer_BPL_near;
      if (riot::is_timer(operand) && is_bmi) return kHandler_wait_timer_BMI_near;
      if (riot::is_timer_flag(operand) && is_bpl) return kHandler_wait_flag_BPL_near;
    }
    if (target + 1 == offset && first == kHandler_DEX_imp) {
      if (is_bne) return kHandler_wait_x_BNE_near;
      if (is_bpl) return kHandler_wait_x_BPL_near;
    }
    if (target + 1 == offset && first == kHandler_DEY_imp) {
      if (is_bne) return kHandler_wait_y_BNE_near;
      if (is_bpl) return kHandler_wait_y_BPL_near;
    }
    return kHandler_bus;
  }

  const Cartridge& cartridge_;
  std::span<const std::uint8_t> rom_;
};

}  // namespace

DecodedProgram decode_program(const Cartridge& cartridge) {
  const Decoder decoder(cartridge);
  DecodedProgram program(cartridge.rom().size());
  for (unsigned offset = 0; offset < program.size(); ++offset) program[offset] = decoder.decode(offset);
  return program;
}

}  // namespace rndfast

// SPDX-License-Identifier: MIT
#include "rndfast/console/decoded_program.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "doctest/doctest.h"
#include "rndfast/console/handlers.hpp"

namespace rndfast {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// A ROM with `code` at an offset, and NOP elsewhere.
DecodedProgram decode(CartridgeScheme scheme, std::size_t rom_bytes, std::size_t offset, const Bytes& code) {
  Bytes rom(rom_bytes, 0xEA);
  std::ranges::copy(code, rom.begin() + static_cast<std::ptrdiff_t>(offset));
  return decode_program(Cartridge(scheme, rom));
}

DecodedInstruction decode_one(const Bytes& code) { return decode(CartridgeScheme::k4K, 4096, 0x200, code)[0x200]; }

unsigned handler_of(const Bytes& code) { return decode_one(code).handler; }

}  // namespace

TEST_CASE("a handler is chosen by what is at the operand's address") {
  CHECK(handler_of({0xA5, 0x80}) == kHandler_LDA_zp_ram);
  CHECK(handler_of({0xA5, 0x30}) == kHandler_LDA_zp_tia);
  CHECK(handler_of({0x85, 0x1B}) == kHandler_STA_zp_tia);
  CHECK(handler_of({0x85, 0x02}) == kHandler_STA_zp_wsync);
  CHECK(handler_of({0x85, 0x42}) == kHandler_STA_zp_wsync);  // a mirror
  CHECK(handler_of({0xE6, 0x80}) == kHandler_INC_zp_ram);
  CHECK(handler_of({0xE6, 0x1B}) == kHandler_INC_zp_tia);
  CHECK(handler_of({0x02}) == kHandler_bus);  // stops the processor
  const DecodedInstruction absolute = decode_one({0xBD, 0x84, 0x02});
  CHECK(absolute.handler == kHandler_LDA_abx);
  CHECK(absolute.operand == 0x0284);
}

TEST_CASE("pairs that are frequent have one handler") {
  CHECK(handler_of({0xA9, 0x01, 0x85, 0x1B}) == kHandler_LDA_imm_then_STA_zp_tia);
  CHECK(handler_of({0xA9, 0x01, 0x85, 0x80}) == kHandler_LDA_imm_then_STA_zp_ram);
  CHECK(handler_of({0xA9, 0x01, 0xE8}) == kHandler_LDA_imm);
}

TEST_CASE("a branch's operand is the distance, and its handler tells what it crosses") {
  const DecodedInstruction back = decode_one({0xF0, 0xFE});  // to itself
  CHECK(back.handler == kHandler_BEQ_rel_near);
  CHECK(back.operand == 0xFFFE);
  const DecodedInstruction forth = decode_one({0x30, 0x7F});
  CHECK(forth.handler == kHandler_BMI_rel_near);
  CHECK(forth.operand == 0x7F);
  CHECK(handler_of({0x30, 0xFD}) == kHandler_BMI_rel_far);  // to the page before
}

TEST_CASE("loops that only wait are recognised") {
  const auto branch_after = [](Bytes loop, std::size_t start = 0x240) {
    return decode(CartridgeScheme::k4K, 4096, start, loop)[start + loop.size() - 2].handler;
  };
  CHECK(branch_after({0xAD, 0x84, 0x02, 0xD0, 0xFB}) == kHandler_wait_timer_BNE_near);
  CHECK(branch_after({0xAE, 0x84, 0x02, 0x10, 0xFB}) == kHandler_wait_timer_BPL_near);
  CHECK(branch_after({0xAC, 0x84, 0x02, 0x30, 0xFB}) == kHandler_wait_timer_BMI_near);
  CHECK(branch_after({0x2C, 0x84, 0x02, 0x30, 0xFB}) == kHandler_wait_timer_BMI_near);
  CHECK(branch_after({0x2C, 0x84, 0x02, 0xD0, 0xFB}) == kHandler_BNE_rel_near);  // depends on A
  CHECK(branch_after({0x2C, 0x85, 0x02, 0x10, 0xFB}) == kHandler_wait_flag_BPL_near);
  CHECK(branch_after({0xAD, 0x85, 0x02, 0xD0, 0xFB}) == kHandler_BNE_rel_near);
  CHECK(branch_after({0xAD, 0x82, 0x02, 0xD0, 0xFB}) == kHandler_BNE_rel_near);  // SWCHB
  CHECK(branch_after({0xAD, 0x84, 0x02, 0xF0, 0xFB}) == kHandler_BEQ_rel_near);
  CHECK(branch_after({0xAD, 0x84, 0x02, 0xD0, 0xFB}, 0x2FC) == kHandler_wait_timer_BNE_far);
  CHECK(branch_after({0xCA, 0xD0, 0xFD}) == kHandler_wait_x_BNE_near);
  CHECK(branch_after({0x88, 0xD0, 0xFD}) == kHandler_wait_y_BNE_near);
  CHECK(branch_after({0xCA, 0x10, 0xFD}) == kHandler_wait_x_BPL_near);
  CHECK(branch_after({0x88, 0x10, 0xFD}, 0x2FE) == kHandler_wait_y_BPL_far);
  CHECK(branch_after({0xE8, 0xD0, 0xFD}) == kHandler_BNE_rel_near);
}

TEST_CASE("a table in ROM is found beforehand where its bank is certain") {
  const auto load = [](CartridgeScheme scheme, std::size_t rom_bytes, std::size_t offset, unsigned table) {
    const Bytes code = {0xBD, static_cast<std::uint8_t>(table & 0xFF), static_cast<std::uint8_t>(table >> 8)};
    return decode(scheme, rom_bytes, offset, code)[offset];
  };
  const auto found = [&](CartridgeScheme scheme, std::size_t rom_bytes, std::size_t offset, unsigned table) {
    const DecodedInstruction instruction = load(scheme, rom_bytes, offset, table);
    return instruction.handler == kHandler_LDA_abx_rom ? int{instruction.operand} : -1;
  };
  CHECK(found(CartridgeScheme::k4K, 4096, 0x200, 0xF434) == 0x434);
  CHECK(found(CartridgeScheme::k4K, 4096, 0x200, 0xFF00) == 0xF00);
  CHECK(found(CartridgeScheme::k4K, 4096, 0x200, 0xFF01) == -1);  // X may lead out of the ROM
  CHECK(found(CartridgeScheme::k4K, 4096, 0x200, 0x0080) == -1);  // RAM
  CHECK(found(CartridgeScheme::k2K, 2048, 0x200, 0xF934) == 0x134);
  CHECK(found(CartridgeScheme::kF8, 8192, 0x1200, 0xF434) == 0x1434);  // the bank that is being run
  CHECK(found(CartridgeScheme::kF8, 8192, 0x1200, 0xFEF8) == 0x1EF8);
  CHECK(found(CartridgeScheme::kF8, 8192, 0x1200, 0xFEF9) == -1);    // hot spots
  CHECK(found(CartridgeScheme::kF8SC, 8192, 0x1200, 0xF0FF) == -1);  // RAM on the cartridge
  CHECK(found(CartridgeScheme::kE0, 8192, 0x200, 0xF434) == -1);
  CHECK(found(CartridgeScheme::kE0, 8192, 0x200, 0xFC34) == 0x1C34);  // the last slice is always there
  CHECK(found(CartridgeScheme::kFE, 8192, 0x200, 0xF434) == 0x434);
  CHECK(found(CartridgeScheme::kFE, 8192, 0x200, 0xD434) == 0x1434);
  CHECK(load(CartridgeScheme::k4K, 4096, 0x200, 0xFF01).operand == 0xFF01);
}

TEST_CASE("loads and stores that end a slice find the next instruction") {
  CHECK(decode(CartridgeScheme::kE0, 8192, 0x3FE, {0xB1, 0xA0})[0x3FE].handler == kHandler_LDA_izy_anywhere);
  CHECK(decode(CartridgeScheme::kE0, 8192, 0x3FD, {0xB1, 0xA0})[0x3FD].handler == kHandler_LDA_izy);
  CHECK(decode(CartridgeScheme::k4K, 4096, 0xFFD, {0x8D, 0x00, 0xF0})[0xFFD].handler == kHandler_STA_abs_anywhere);
  CHECK(decode(CartridgeScheme::k4K, 4096, 0xFFE, {0xA5, 0x80})[0xFFE].handler == kHandler_bus);
}

TEST_CASE("what may lie elsewhere at another time is left to the bus") {
  // most instructions are decoded only if the next one follows for certain
  const DecodedProgram k2 = decode(CartridgeScheme::k2K, 2048, 0, {});
  CHECK(k2[2046].handler == kHandler_NOP_imp);
  CHECK(k2[2047].handler == kHandler_bus);
  const DecodedProgram f8 = decode(CartridgeScheme::kF8, 8192, 0, {});
  for (const std::size_t bank : {0U, 4096U}) {
    CHECK(f8[bank + 0xFF7].handler == kHandler_NOP_imp);
    CHECK(f8[bank + 0xFF8].handler == kHandler_bus);  // hot spots
    CHECK(f8[bank + 0xFF9].handler == kHandler_bus);
  }
  const DecodedProgram superchip = decode(CartridgeScheme::kF8SC, 8192, 0, {});
  CHECK(superchip[0xFF].handler == kHandler_bus);  // RAM
  CHECK(superchip[0x100].handler != kHandler_bus);
  const DecodedProgram e0 = decode(CartridgeScheme::kE0, 8192, 0, {});
  CHECK(e0[0x3E0].handler != kHandler_bus);   // the first slice is never shown where the hot spots are
  CHECK(e0[0x3FF].handler == kHandler_bus);   // its last byte
  CHECK(e0[0x1FDE].handler != kHandler_bus);  // the last slice always is
  CHECK(e0[0x1FE0].handler == kHandler_bus);
  const DecodedProgram dpc = decode(CartridgeScheme::kDPC, 10240, 0, {});
  CHECK(dpc.size() == 8192);  // pictures are no program
}

TEST_CASE("no branch is decoded into what is not ordinary ROM") {
  // BNE +16 from 0xFE6, beyond which are F8's hot spots
  const DecodedProgram f8 = decode(CartridgeScheme::kF8, 8192, 0xFE6, {0xD0, 0x10});
  CHECK(f8[0xFE6].handler == kHandler_BNE_rel_away);
  const DecodedProgram near = decode(CartridgeScheme::kF8, 8192, 0xFE6, {0xD0, 0x0E});
  CHECK(near[0xFE6].handler == kHandler_BNE_rel_near);
  const DecodedProgram first = decode(CartridgeScheme::kF8, 8192, 0, {0xD0, 0x80});  // to before the ROM
  CHECK(first[0].handler == kHandler_BNE_rel_away);
}

}  // namespace rndfast

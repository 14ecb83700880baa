// SPDX-License-Identifier: MIT
// A game of our own, for what needs one: the ROMs of real ones are not part of this repository.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace rndfast::tests {

/// A program that shows something that depends on the joystick and on the random contents of RAM. As Pitfall, its games
/// end.
inline std::vector<std::uint8_t> sample_rom() {
  const std::vector<std::uint8_t> program = {
      0xA2, 0xFF, 0x9A,              // F000 start: LDX #$FF; TXS
      0xA9, 0x02, 0x85, 0x00,        // F003 frame: LDA #2; STA VSYNC
      0x85, 0x02, 0x85, 0x02,        //             STA WSYNC, twice
      0xA9, 0x00, 0x85, 0x00,        //             LDA #0; STA VSYNC
      0xAD, 0x80, 0x02, 0x85, 0x85,  //             LDA SWCHA; STA $85
      0xA5, 0x81, 0x85, 0x0D,        //             LDA $81; STA PF0
      0xA2, 0xF8,                    //             LDX #248
      0x86, 0x09, 0x86, 0x1B,        // F01A line:  STX COLUBK; STX GRP0
      0x85, 0x02, 0xA5, 0x85,        //             STA WSYNC; LDA $85
      0x85, 0x06, 0x85, 0x10,        //             STA COLUP0; STA RESP0
      0x05, 0x32, 0x65, 0x80,        //             ORA CXP0FB; ADC $80
      0x85, 0x80, 0xCA, 0xD0, 0xED,  //             STA $80; DEX; BNE line
      0xE6, 0x81, 0xE6, 0x9E,        //             INC $81; INC $9E
      0x4C, 0x03, 0xF0,              //             JMP frame
  };
  std::vector<std::uint8_t> rom(4096);
  std::memcpy(rom.data(), program.data(), program.size());
  rom[0xFFC] = 0x00;
  rom[0xFFD] = 0xF0;
  return rom;
}

}  // namespace rndfast::tests

// SPDX-License-Identifier: MIT
// What the operations in opcodes.py mean in C++, for the two interpreters that are written from them: include it in
// these alone, its macros have short names.
#pragma once

#include <cstdint>

#include "rndfast/console/machine_state.hpp"

namespace rndfast {

constexpr unsigned from_bcd(unsigned byte) { return 10 * (byte >> 4) + (byte & 15); }
constexpr unsigned to_bcd(unsigned value) { return value % 100 / 10 << 4 | value % 10; }

struct Sum {
  unsigned value, carry, overflow;
};

inline Sum add_binary(unsigned a, unsigned m, unsigned carry) {
  const unsigned sum = a + m + carry;
  return {sum & 0xFF, sum >> 8, (~(a ^ m) & (a ^ sum)) >> 7 & 1};
}

inline Sum add_decimal(unsigned a, unsigned m, unsigned carry) {
  const unsigned sum = from_bcd(a) + from_bcd(m) + carry;
  const unsigned value = to_bcd(sum & 0xFF);
  return {value, sum > 99 ? 1U : 0U, ((a ^ value) & (value ^ m)) >> 7 & 1};
}

inline Sum subtract_decimal(unsigned a, unsigned m, unsigned carry) {
  const unsigned borrow = 1 - carry;
  int difference = static_cast<int>(from_bcd(a)) - static_cast<int>(from_bcd(m) + borrow);
  if (difference < 0) difference += 100;
  // operands that are not decimal can leave it negative; the original then reads its table below the start
  const unsigned value = difference >= 0 ? to_bcd(static_cast<unsigned>(difference))
                                         : from_bcd(static_cast<unsigned>(256 + difference)) & 0xFF;
  return {value, a >= m + borrow ? 1U : 0U, ((a ^ value) & (value ^ m)) >> 7 & 1};
}

/// What ARR leaves in A, C and V, given A & operand rotated right.
inline Sum arrange_binary(unsigned rotated) { return {rotated, rotated >> 6 & 1, (rotated >> 6 ^ rotated >> 5) & 1}; }

/// The same in decimal mode, given A & operand and C.
inline Sum arrange_decimal(unsigned t, unsigned carry) {
  unsigned value = t >> 1 | carry << 7;
  const unsigned overflow = (t ^ value) >> 6 & 1;
  if ((t & 0x0F) + (t & 0x01) > 0x05) value = (value & 0xF0) | ((value + 6) & 0x0F);
  unsigned carry_out = 0;
  if ((t & 0xF0) + (t & 0x10) > 0x50) {
    value = (value + 0x60) & 0xFF;
    carry_out = 1;
  }
  return {value, carry_out, overflow};
}

constexpr bool is_same_page(unsigned a, unsigned b) { return (a ^ b) < 0x100; }

}  // namespace rndfast

// The registers as local variables, and the operations on them that opcodes.py names. Macros, because a lambda that the
// compiler does not inline would force the variables into memory.
#define RNDFAST_LOAD_REGISTERS                                                     \
  a = cpu.a, x = cpu.x, y = cpu.y, sp = cpu.sp, nz = cpu.nz, c = cpu.c, v = cpu.v; \
  d = cpu.d, i = cpu.i, cycle = state.cycle
#define RNDFAST_STORE_REGISTERS            \
  cpu.a = static_cast<std::uint8_t>(a);    \
  cpu.x = static_cast<std::uint8_t>(x);    \
  cpu.y = static_cast<std::uint8_t>(y);    \
  cpu.sp = static_cast<std::uint8_t>(sp);  \
  cpu.nz = static_cast<std::uint16_t>(nz); \
  cpu.c = static_cast<std::uint8_t>(c);    \
  cpu.v = static_cast<std::uint8_t>(v);    \
  cpu.d = static_cast<std::uint8_t>(d);    \
  cpu.i = static_cast<std::uint8_t>(i);    \
  state.cycle = cycle
#define N_IS_SET ((nz & 0x8080) != 0)
#define Z_IS_SET ((nz & 0xFF) == 0)
#define SET_NZ(value) nz = (value)
#define COMPARE(value) c = (value) >= m, nz = ((value) - m) & 0xFF
#define BIT(value) nz = (a & (value)) | ((value) & 0x80) << 8, v = (value) >> 6 & 1
#define SET_SUM(sum)                                              \
  {                                                               \
    const Sum result = (sum);                                     \
    nz = a = result.value, c = result.carry, v = result.overflow; \
  }
#define ADC(value) SET_SUM(d == 0 ? add_binary(a, (value), c) : add_decimal(a, (value), c))
#define SBC(value) SET_SUM(d == 0 ? add_binary(a, (value) ^ 0xFF, c) : subtract_decimal(a, (value), c))
#define ARR(mask)                                                              \
  {                                                                            \
    const unsigned both = a & (mask);                                          \
    nz = both >> 1 | c << 7;                                                   \
    const Sum result = d == 0 ? arrange_binary(nz) : arrange_decimal(both, c); \
    a = result.value, c = result.carry, v = result.overflow;                   \
  }
#define FLAGS ((N_IS_SET ? 0x80U : 0U) | v << 6 | 0x30U | d << 3 | i << 2 | (Z_IS_SET ? 2U : 0U) | c)
#define SET_FLAGS(value)                                                       \
  {                                                                            \
    const unsigned flags = (value);                                            \
    nz = (flags & 0x80) << 8 | (~flags & 2);                                   \
    v = flags >> 6 & 1, d = flags >> 3 & 1, i = flags >> 2 & 1, c = flags & 1; \
  }

#define BYTE(value) static_cast<std::uint8_t>(value)
#define CYCLES(number) cycle += (number)

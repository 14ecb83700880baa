// SPDX-License-Identifier: MIT
// The kinds of cartridge, by the number that inputs have for them; seeds.py has the same order.
#pragma once

#include <array>
#include <cstddef>

#include "rndfast/console/cartridge.hpp"

namespace rndfast::fuzz {

struct Scheme {
  CartridgeScheme scheme;
  std::size_t image_bytes;
};

inline constexpr std::array<Scheme, 9> kSchemes = {{{CartridgeScheme::k2K, 2048},
                                                    {CartridgeScheme::k4K, 4096},
                                                    {CartridgeScheme::kF8, 8192},
                                                    {CartridgeScheme::kF6, 16384},
                                                    {CartridgeScheme::kF8SC, 8192},
                                                    {CartridgeScheme::kF6SC, 16384},
                                                    {CartridgeScheme::kE0, 8192},
                                                    {CartridgeScheme::kFE, 8192},
                                                    {CartridgeScheme::kDPC, 10240}}};

}  // namespace rndfast::fuzz

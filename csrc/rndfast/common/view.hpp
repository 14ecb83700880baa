// SPDX-License-Identifier: MIT
// Non-owning views of C-contiguous arrays.
#pragma once

#include <cassert>
#include <cstddef>

namespace rndfast {

/// (rows, cols), row-major. Rollout arrays are (T, N): rows are time steps, columns environments.
template <typename T>
struct View2D {
  T* data;
  std::size_t rows;
  std::size_t cols;

  T& operator()(std::size_t row, std::size_t col) const {
    assert(row < rows && col < cols);
    return data[row * cols + col];
  }
  T* row(std::size_t index) const {
    assert(index < rows);
    return data + index * cols;
  }
};

}  // namespace rndfast

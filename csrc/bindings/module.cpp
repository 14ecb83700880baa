// SPDX-License-Identifier: MIT
#include "bindings.hpp"
#include "gil.hpp"

PYBIND11_MODULE(_core, m) {
  using namespace rndfast::bindings;
  m.doc() = "The compiled core of rndfast. Use it through the rndfast package.";
  prepare_for_interpreter_end();
  bind_thread_pool(m);
  bind_console(m);
  bind_atari_batch(m);
  bind_running_moments(m);
  bind_discounted_return_filter(m);
  bind_gae(m);
  bind_frame_gather(m);
  bind_area_resize(m);
}

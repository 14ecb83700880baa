// SPDX-License-Identifier: MIT
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "array.hpp"
#include "bindings.hpp"
#include "gil.hpp"
#include "rndfast/console/palette.hpp"
#include "rndfast/env/area_resize.hpp"

namespace rndfast::bindings {
using namespace py::literals;

namespace {

constexpr const char* kAreaResizeDoc = R"(Resize pictures to the byte as ale-py's vector environments do.

That is OpenCV's ``INTER_AREA``: means of the area that each pixel covers, or blends of two pixels where a picture grows.

Args:
    pictures: ``(N, H, W)`` grey or ``(N, H, W, 3)`` uint8.
    height: Rows of the results, 1 .. 32768.
    width: Their columns, 1 .. 32768.
    second: More pictures of the same shape: the larger of both at each byte is resized. None: ``pictures`` alone.
    simd: Instruction set, as in :class:`ThreadPool`. Results do not depend on it.

Returns:
    ``(N, height, width)`` or ``(N, height, width, 3)`` uint8.

Raises:
    TypeError: An argument is no array of its dtype.
    ValueError: A shape, layout or value is wrong.
)";

constexpr const char* kPaletteDoc = R"(The Arcade Learning Environment's colours, by the console's colour byte.

Args:
    tv_format: ``"ntsc"`` or ``"pal"``.

Returns:
    ``(256,)`` grey levels and ``(256, 3)`` RGB, both uint8. Odd bytes are PAL without colour; NTSC has none.

Raises:
    ValueError: ``tv_format`` is unknown.
)";

constexpr py::ssize_t kMaxLength = 32768;

std::size_t require_length(const char* name, py::ssize_t length) {
  require_in_range(name, static_cast<double>(length), 1.0, static_cast<double>(kMaxLength));
  return static_cast<std::size_t>(length);
}

py::array_t<std::uint8_t> area_resize(const ArrayArg<std::uint8_t>& pictures, py::ssize_t height, py::ssize_t width,
                                      const std::optional<ArrayArg<std::uint8_t>>& second, const std::string& simd) {
  const py::array first_array = require_array("pictures", pictures);
  const py::ssize_t num_axes = first_array.ndim();
  if (num_axes != 3 && !(num_axes == 4 && first_array.shape(3) == 3)) {
    throw py::value_error("pictures must have shape (N, H, W) or (N, H, W, 3), got " +
                          shape_text(shape_of(first_array)));
  }
  if (first_array.shape(1) == 0 || first_array.shape(2) == 0) {
    throw py::value_error("pictures must have pixels, got " + shape_text(shape_of(first_array)));
  }
  const py::array second_array = second.has_value() ? require_array("second", *second) : first_array;
  require_shape("second", second_array, shape_of(first_array), "pictures.shape");
  const PictureSize source{static_cast<std::size_t>(first_array.shape(1)),
                           static_cast<std::size_t>(first_array.shape(2))};
  const PictureSize destination{require_length("height", height), require_length("width", width)};
  const std::size_t channels = num_axes == 4 ? 3 : 1;
  const AreaResize resize(source, destination, channels, simd == "auto" ? detect_simd_level() : parse_simd_level(simd));

  Shape shape = shape_of(first_array);
  shape[1] = height;
  shape[2] = width;
  py::array_t<std::uint8_t> out(shape);
  const auto* first_pixels = static_cast<const std::uint8_t*>(first_array.data());
  const auto* second_pixels = static_cast<const std::uint8_t*>(second_array.data());
  std::uint8_t* out_pixels = out.mutable_data();
  std::vector<std::byte> scratch(resize.scratch_size());
  const GilRelease no_gil;  // only the pixels are touched
  for (py::ssize_t n = 0; n < shape[0]; ++n) {
    check_signals();
    resize.resize_max(first_pixels, second_pixels, out_pixels, scratch);
    first_pixels += source.height * source.width * channels;
    second_pixels += source.height * source.width * channels;
    out_pixels += destination.height * destination.width * channels;
  }
  return out;
}

std::pair<py::array_t<std::uint8_t>, py::array_t<std::uint8_t>> palette_arrays(const std::string& tv_format) {
  if (tv_format != "ntsc" && tv_format != "pal") {
    throw py::value_error("tv_format must be \"ntsc\" or \"pal\", got \"" + tv_format + "\"");
  }
  const Palette& colours = palette(tv_format == "pal" ? TvFormat::kPal : TvFormat::kNtsc);
  py::array_t<std::uint8_t> grey(Shape{256});
  py::array_t<std::uint8_t> rgb(Shape{256, 3});
  std::ranges::copy(colours.grey, grey.mutable_data());
  for (std::size_t i = 0; i < 256; ++i) std::ranges::copy(colours.rgb[i], rgb.mutable_data() + 3 * i);
  return {grey, rgb};
}

}  // namespace

void bind_area_resize(py::module_& m) {
  m.def("area_resize", &area_resize, "pictures"_a, "height"_a, "width"_a, py::kw_only(), "second"_a = py::none(),
        "simd"_a = "auto", kAreaResizeDoc);
  m.def("palette", &palette_arrays, "tv_format"_a, kPaletteDoc);
}

}  // namespace rndfast::bindings

/// LibTorch's CUDA on a machine without a GPU: memory and streams of a device are the host's.
#pragma once

#include <ATen/ops/from_blob.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>
#include <torch/torch.h>

#include <memory>
#include <optional>

namespace host_cuda {

/// The current stream of every device, by the number that the driver would know; 0 is the default one.
inline int64_t current_stream = 0;

inline c10::Stream stream(c10::Device device, int64_t number) {
  return c10::Stream(c10::Stream::UNSAFE, device, number);
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::DeviceType::CUDA; }
  c10::Device exchangeDevice(c10::Device device) const override { return device; }
  c10::Device getDevice() const override { return {type(), 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override { return stream(device, current_stream); }
  c10::Stream getDefaultStream(c10::Device device) const override { return stream(device, 0); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  void* getStreamNativeHandle(c10::Stream stream) const override { return reinterpret_cast<void*>(stream.id()); }
  c10::DeviceIndex deviceCount() const noexcept override { return 2; }
};

/// The same elements as a tensor of the host.
inline at::Tensor on_host(const at::Tensor& tensor) {
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), tensor.options().device(at::kCPU));
}

inline at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, std::optional<at::ScalarType> type,
                                std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  const c10::Device place(c10::DeviceType::CUDA, device && device->has_index() ? device->index() : 0);
  const auto memory = at::empty_strided(sizes, strides, at::dtype(type.value_or(at::kFloat)));
  return at::for_blob(memory.data_ptr(), sizes)
      .strides(strides)
      .deleter([memory](void*) {})
      .options(memory.options().device(place))
      .target_device(place)
      .make_tensor();
}

inline at::Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> type, std::optional<at::Layout> layout,
                        std::optional<at::Device> device, std::optional<bool> pinned, std::optional<at::MemoryFormat>) {
  const auto shape = at::empty(sizes, at::dtype(at::kByte));
  return empty_strided(sizes, shape.strides(), type, layout, device, pinned);
}

inline at::Tensor& zero(at::Tensor& tensor) {
  on_host(tensor).zero_();
  return tensor;
}

inline at::Tensor& copy(at::Tensor& to, const at::Tensor& from, bool) {
  on_host(to).copy_(on_host(from));
  return to;
}

/// Takes the place of LibTorch's own CUDA as long as it lives.
inline std::unique_ptr<torch::Library> replace() {
  static const c10::impl::DeviceGuardImplRegistrar registrar(c10::DeviceType::CUDA, new Guard);
  auto kernels = std::make_unique<torch::Library>(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  kernels->impl("empty.memory_format", empty);
  kernels->impl("empty_strided", empty_strided);
  kernels->impl("zero_", zero);
  kernels->impl("copy_", copy);
  return kernels;
}

}  // namespace host_cuda

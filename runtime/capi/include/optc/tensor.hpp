/// LibTorch tensors: what a step can use, and how the C interface sees it.
#pragma once

#include <optc/error.hpp>
#include <optc/optc.h>

#include <torch/types.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace optc::detail {

/// The number of an element type in the C interface; 0 if it has none.
inline int32_t dtype_number(torch::ScalarType type) {
  switch (type) {
    case torch::kDouble: return OPTC_F64;
    case torch::kFloat: return OPTC_F32;
    case torch::kBFloat16: return OPTC_BF16;
    case torch::kHalf: return OPTC_F16;
    case torch::kLong: return OPTC_I64;
    case torch::kByte: return OPTC_U8;
    default: return 0;
  }
}

inline torch::ScalarType torch_type(int32_t dtype) {
  switch (dtype) {
    case OPTC_F64: return torch::kDouble;
    case OPTC_F32: return torch::kFloat;
    case OPTC_BF16: return torch::kBFloat16;
    case OPTC_F16: return torch::kHalf;
    case OPTC_U8: return torch::kByte;
    default: return torch::kLong;
  }
}

[[noreturn]] inline void refuse(const char* code, const std::string& message, const char* help) {
  throw Error(std::string("opt::torch::") + code, message, help);
}

/// Refuses what has no place in memory for each element, or elements that no rule steps on.
inline void check_tensor(const torch::Tensor& tensor, const std::string& what) {
  if (!tensor.defined()) refuse("undefined", what + " is undefined", "make the module's parameters before its optimizer");
  if (tensor.layout() != torch::kStrided) {
    refuse("sparse", what + " is sparse", "build the embedding with `sparse(false)`");
  }
  if (!tensor.is_floating_point() || dtype_number(tensor.scalar_type()) == 0) {
    refuse("kind", what + " holds elements of type " + std::string(torch::toString(tensor.scalar_type())),
           "parameters and gradients are kDouble, kFloat, kBFloat16 or kHalf");
  }
  if (!tensor.device().is_cpu() && !tensor.device().is_cuda()) {
    refuse("device", what + " is on " + tensor.device().str(),
           "rules step on the cpu and on cuda: move the model there before the optimizer is made");
  }
}

inline void check_param(const torch::Tensor& tensor, const std::string& name) {
  const std::string what = "parameter `" + name + "`";
  check_tensor(tensor, what);
  if (!tensor.is_leaf()) {
    refuse("non_leaf", what + " is not a leaf: it is computed from other tensors",
           "give the tensors that it is computed from");
  }
}

/// Whether two indices may be one element: an axis steps less far than the axes inside of it reach.
inline bool overlaps(const torch::Tensor& tensor) {
  if (tensor.numel() == 0 || tensor.is_contiguous()) return false;
  std::vector<std::pair<int64_t, int64_t>> axes;
  for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
    if (tensor.size(axis) > 1) axes.emplace_back(tensor.stride(axis), tensor.size(axis));
  }
  std::sort(axes.begin(), axes.end());
  int64_t reach = 0;
  for (const auto& [stride, size] : axes) {
    if (stride <= reach) return true;
    reach += stride * (size - 1);
  }
  return false;
}

/// The gradient of a parameter as a step can read it; undefined if there is none.
inline torch::Tensor readable_grad(const torch::Tensor& param, const std::string& name) {
  const torch::Tensor& grad = param.grad();
  if (!grad.defined()) return grad;
  check_tensor(grad, "the gradient of `" + name + "`");
  return overlaps(grad) ? grad.contiguous() : grad;
}

/// A tensor as the C interface takes it; valid as long as the tensor is not resized.
inline optc_tensor view(const torch::Tensor& tensor) {
  optc_tensor view = {};
  view.struct_size = sizeof(view);
  view.data = tensor.data_ptr();
  view.dims = tensor.sizes().data();
  view.strides = tensor.strides().data();
  view.rank = static_cast<size_t>(tensor.dim());
  view.dtype = dtype_number(tensor.scalar_type());
  view.device_type = tensor.is_cuda() ? OPTC_CUDA : OPTC_CPU;
  view.device_index = tensor.is_cuda() ? tensor.device().index() : 0;
  return view;
}

}  // namespace optc::detail

// Names of the elementwise operations and which of them know their derivative from their output.
// Declared in kernels.h; the meaning of each is in elementwise_functions.h.
#include "tensor/kernels.h"

namespace asap {

const char* name(UnaryOp op) {
  switch (op) {
    case UnaryOp::relu: return "relu";
    case UnaryOp::leaky_relu: return "leaky_relu";
    case UnaryOp::tanh: return "tanh";
    case UnaryOp::sigmoid: return "sigmoid";
    case UnaryOp::exp: return "exp";
    case UnaryOp::log: return "log";
    case UnaryOp::sqrt: return "sqrt";
    case UnaryOp::abs: return "abs";
    case UnaryOp::softplus: return "softplus";
    case UnaryOp::square: return "square";
    case UnaryOp::sin: return "sin";
    case UnaryOp::cos: return "cos";
    case UnaryOp::affine: return "affine";
    case UnaryOp::clamp: return "clamp";
    case UnaryOp::pow: return "pow";
    case UnaryOp::sign: return "sign";
  }
  return "unknown unary operation";
}

const char* name(BinaryOp op) {
  switch (op) {
    case BinaryOp::add: return "add";
    case BinaryOp::sub: return "sub";
    case BinaryOp::mul: return "mul";
    case BinaryOp::div: return "div";
    case BinaryOp::maximum: return "maximum";
    case BinaryOp::minimum: return "minimum";
    case BinaryOp::equal: return "equal";
    case BinaryOp::less: return "less";
    case BinaryOp::greater: return "greater";
  }
  return "unknown binary operation";
}

bool saves_output(UnaryOp op) {
  switch (op) {
    case UnaryOp::relu:
    case UnaryOp::leaky_relu:
    case UnaryOp::tanh:
    case UnaryOp::sigmoid:
    case UnaryOp::exp:
    case UnaryOp::sqrt: return true;
    default: return false;
  }
}

}  // namespace asap

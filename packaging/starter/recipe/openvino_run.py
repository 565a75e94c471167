"""A module of torch run by OpenVINO on one thread: on a CPU several times as fast as torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

Features = Callable[[Tensor], Tensor]
"""From pixels uint8 [B, 3, H, W] to what a module makes of them."""


def by_openvino(module: nn.Module, side: int, precision: str = "bf16") -> Features:
    """Compile a module that takes pictures of one size.

    Parameters
    ----------
    module
        In evaluation mode, on the CPU, in float32; takes pixels float32 from 0 to 255.
    side
        Of the pictures.
    precision
        Of the computation: "bf16" or "f32". The output is float16.
    """
    import openvino

    example = torch.zeros(1, 3, side, side)
    with warnings.catch_warnings():
        # OpenVINO reads a traced module; torch would rather be asked for its newer export.
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")
        model = openvino.convert_model(module, example_input=example, input=[(-1, 3, side, side)])
    steps = openvino.preprocess.PrePostProcessor(model)
    steps.input(0).tensor().set_element_type(openvino.Type.u8)
    steps.input(0).preprocess().convert_element_type(openvino.Type.f32)
    steps.output(0).tensor().set_element_type(openvino.Type.f16)
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    compiled = openvino.Core().compile_model(steps.build(), "CPU", settings)
    request = compiled.create_infer_request()

    def features(pixels: Tensor) -> Tensor:
        found = request.infer([np.ascontiguousarray(pixels.numpy())])[0]
        return torch.from_numpy(np.array(found))

    return features

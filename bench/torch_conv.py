"""cuDNN's convolutions at the shapes of bench/cuda_conv.c, through PyTorch, channels last, bf16.

usage: python bench/torch_conv.py     (needs torch with CUDA); median of 11
"""
import torch
import torch.nn.functional as F

torch.backends.cudnn.benchmark = True
SHAPES = [(480, 832, 96, 96, 3, 3), (480, 832, 192, 96, 1, 3), (480, 832, 96, 3, 3, 3),
          (240, 416, 192, 192, 3, 3), (240, 416, 384, 192, 1, 3), (120, 208, 384, 384, 3, 3),
          (120, 208, 192, 384, 3, 3), (120, 208, 384, 768, 3, 1), (60, 104, 384, 384, 3, 3),
          (720, 1280, 96, 96, 3, 3)]


def median_ms(call, runs=11):
    for _ in range(3):
        call()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]
    for i in range(runs):
        events[i].record()
        call()
    events[runs].record()
    torch.cuda.synchronize()
    return sorted(events[i].elapsed_time(events[i + 1]) for i in range(runs))[runs // 2]


def tensor(*shape):
    t = torch.randn(*shape, device="cuda", dtype=torch.bfloat16)
    return t.contiguous(memory_format=torch.channels_last_3d) if t.dim() == 5 else t


for height, width, channels, outputs, kt, k in SHAPES:
    x, w = tensor(1, channels, kt, height, width), tensor(outputs, channels, kt, k, k)
    b = tensor(outputs)
    ms = median_ms(lambda: F.conv3d(x, w, b, padding=(0, k // 2, k // 2)))
    flops = 2 * height * width * channels * outputs * kt * k * k
    print(f"{height:4} x {width:4}, {channels:3} -> {outputs:3}, {kt} x {k} x {k}: {ms:.4f} ms, "
          f"{flops / ms * 1e-9:.0f} TFLOP/s", flush=True)

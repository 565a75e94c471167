"""The sound tower: log-mel, convolutions, the first layers of a speech encoder, a transformer, one vector."""

from __future__ import annotations

import torch
from open_clip.transformer import LayerNorm, Transformer
from torch import Tensor, nn
from torch.nn import functional

from mmviewer.core.models.sound.config import STRIDE as STRIDE
from mmviewer.core.models.sound.config import SoundConfig as SoundConfig


class SoundTower(nn.Module):
    """Turns log-mel spectrograms into unit vectors; its blocks are open_clip's own."""

    def __init__(self, config: SoundConfig) -> None:
        super().__init__()
        self.config = config
        ear, width = config.ear_width, config.width
        self.conv1 = nn.Conv1d(config.mels, ear, 3, padding=1)
        self.conv2 = nn.Conv1d(ear, ear, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.randn(config.places, ear) * 0.02)
        self.ears = Transformer(ear, config.ear_layers, config.ear_heads, 4.0)
        self.ln_ears = LayerNorm(ear)
        self.conv3 = nn.Conv1d(ear, width, 3, stride=2, padding=1)
        self.place = nn.Conv1d(width, width, config.reach, padding=config.reach // 2, groups=width)
        self.class_token = nn.Parameter(torch.randn(width) * width**-0.5)
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, config.layers, config.heads, 4.0)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, config.embed_dim) * width**-0.5)

    def hear(self, mel: Tensor) -> Tensor:
        """Output of the lower part [B, 2 P, ear width] for log-mels [B, mels, 4 P]."""
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        heard: Tensor = self.ears(x + self.positions[: x.shape[1]].to(x.dtype))
        return heard

    def begin(self, heard: Tensor) -> Tensor:
        """What enters the upper blocks [B, 1 + P, W], class token first, of the lower part's output."""
        x = functional.gelu(self.conv3(self.ln_ears(heard).transpose(1, 2)))  # [B, W, P]
        x = (x + functional.gelu(self.place(x))).transpose(1, 2)
        token = self.class_token.to(x.dtype).expand(len(x), 1, -1)
        hidden: Tensor = self.ln_pre(torch.cat([token, x], dim=1))
        return hidden

    def start(self, mel: Tensor) -> Tensor:
        """What enters the upper blocks [B, 1 + P, W] for log-mels [B, mels, 4 P]."""
        return self.begin(self.hear(mel))

    def vectors(self, hidden: Tensor) -> Tensor:
        """Unit vectors [..., D] of single hidden vectors [..., W]."""
        return functional.normalize((self.ln_post(hidden) @ self.proj).float(), dim=-1)

    def forward(self, mel: Tensor) -> Tensor:
        """Unit vectors [B, D] of log-mels [B, mels, 4 P]."""
        return self.vectors(self.transformer(self.start(mel))[:, 0])

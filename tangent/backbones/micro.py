"""The architectures of the two shipped backbones for 32 x 32 images.

Both are ordinary timm classes under names registered with timm, so `timm.create_model` knows them
too. `loading` imports this, after torchvision.
"""

from functools import partial
from typing import Any, cast

from timm.layers import HybridEmbed
from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from torch import nn


@register_model
def vit_micro_32(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """ViT with a convolutional stem: 64 tokens and a class token, width 128, 5 blocks."""
    stem = ConvStem(depth=3, channels=(48, 96, 128), stride=(2, 1, 2), kernel_size=3)
    defaults: dict[str, Any] = dict(
        img_size=32,
        patch_size=1,
        embed_dim=128,
        depth=5,
        num_heads=4,
        mlp_ratio=2.0,
        embed_layer=partial(HybridEmbed, backbone=stem, proj=False),
    )
    return VisionTransformer(**(defaults | _without_hub_arguments(kwargs)))


@register_model
def resnet_micro_32(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet-10 with a 3 x 3 stem of stride 1 and channels 64, 96, 160, 256."""
    kwargs = _without_hub_arguments(kwargs)
    block: Any = BasicBlock  # timm's annotation asks for an instance
    model: Any = ResNet(block, layers=(1, 1, 1, 1), channels=(64, 96, 160, 256), **kwargs)
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    return cast(ResNet, model)


def _without_hub_arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    hub = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    return {k: v for k, v in kwargs.items() if k not in hub}

"""Small networks of other libraries with random weights, named in files as `tests.shared.client_networks:NAME`."""

import torch


def clip():
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = sizes | {"vocab_size": 99, "bos_token_id": 97, "max_position_embeddings": 12, "eos_token_id": 98}
    vision = sizes | {"image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    return CLIPModel(config).eval()


def videomae():
    from transformers import VideoMAEConfig, VideoMAEModel

    torch.manual_seed(0)
    return VideoMAEModel(
        VideoMAEConfig(
            image_size=32,
            patch_size=8,
            num_frames=4,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
        )
    ).eval()


def segresnet():
    from monai.networks.nets import SegResNet

    torch.manual_seed(0)
    return SegResNet(
        spatial_dims=3, in_channels=2, out_channels=2, init_filters=8, blocks_down=(1, 2), blocks_up=(1,)
    ).eval()


def monai_unet():
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    return UNet(
        spatial_dims=3, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2), num_res_units=2
    ).eval()

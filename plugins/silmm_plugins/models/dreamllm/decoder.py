"""The frozen decoder: condition projector, Stable Diffusion 2.1's UNet and VAE, ancestral DDPM sampling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from silmm.checkpoint.networks import empty_network, fill, refuse_unknown
from silmm.checkpoint.weight_files import read_pickle
from silmm_plugins.models.dreamllm.checkpoint import DIFFUSION
from silmm_plugins.models.dreamllm.companions import REMEDY, Companions
from silmm_plugins.models.dreamllm.projector import projector

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME = re.compile(r"(attentions\.\d+)\.(query|key|value|proj_attn)\.")
_SCHEDULE = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
    *("prediction_type", "steps_offset", "clip_sample"),
)
"""What ancestral sampling needs of the scheduler's configuration, which may be of another scheduler."""


class DreamDecoder:
    """H in, images out; nothing in it is ever trained."""

    def __init__(
        self, condition: nn.Module, unet: nn.Module, vae: nn.Module, schedule: dict[str, Any]
    ) -> None:
        """Wrap the networks."""
        self.condition, self.unet, self.vae = condition, unet, vae
        self.schedule = schedule

    @classmethod
    def load(cls, folder: Path, companions: Companions, dtype: torch.dtype) -> DreamDecoder:
        """Load `stable_diffusion_head.bin` into main memory (docs/spec/base-models.md 1.2).

        Raises:
            DataError: the file is missing, damaged, or does not fit the configurations.
        """
        path = folder / f"{DIFFUSION}.bin"
        weights = read_pickle(path)
        networks: dict[str, nn.Module] = {}
        for part, kind, config in (
            ("unet", UNet2DConditionModel, companions.unet),
            ("vae", AutoencoderKL, companions.vae),
        ):
            network = empty_network(lambda kind=kind, config=config: kind.from_config(dict(config)))  # type: ignore[misc]
            own = {
                _new_name(name.removeprefix(f"{part}.")): tensor
                for name, tensor in weights.items()
                if name.startswith(f"{part}.")
            }
            unknown = fill(network, own, path, dtype=dtype, remedy=REMEDY)
            refuse_unknown(path, kind.__name__, unknown, REMEDY)
            networks[part] = network
        condition = projector(weights, path, dtype)
        schedule = {key: companions.schedule[key] for key in _SCHEDULE if key in companions.schedule}
        return cls(condition, networks["unet"], networks["vae"], schedule)

    def to(self, device: torch.device) -> None:
        """Move the weights."""
        for network in (self.condition, self.unet, self.vae):
            network.to(device)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents of an image."""
        config: Any = self.unet.config
        return (config.in_channels, config.sample_size, config.sample_size)

    @torch.inference_mode()
    def decode(
        self, features: Tensor, unconditional: Tensor, seeds: Sequence[int], *, steps: int, guidance: float
    ) -> Tensor:
        """Return images (batch, 3, height, width) in [0, 1], float32 on the CPU.

        Args:
            features: H, (batch, L, D).
            unconditional: H of the prompt to lead away from, (1, L, D).
            seeds: of each image: a generator on the CPU samples first its latents, then its noises, so that
                neither company nor device changes them.
            steps: denoising steps.
            guidance: scale; 1 is none.
        """
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        latents = torch.stack([torch.randn(self.latent_shape, generator=one) for one in generators])
        final = self.denoise(features, unconditional, latents, generators, steps=steps, guidance=guidance)
        return self.images(final)

    def denoise(
        self,
        features: Tensor,
        unconditional: Tensor,
        latents: Tensor,
        generators: Sequence[torch.Generator],
        *,
        steps: int,
        guidance: float,
    ) -> Tensor:
        """Return the final latents by ancestral sampling: eps = u + g (c - u) (docs/spec/base-models.md 1.4)."""
        scheduler = DDPMScheduler(**self.schedule)
        scheduler.set_timesteps(steps)
        condition = self.project(features)
        if guidance != 1.0:
            condition = torch.cat([self.project(unconditional).expand_as(condition), condition])
        latents = latents.to(condition.device, condition.dtype) * scheduler.init_noise_sigma
        for step in scheduler.timesteps:
            given = latents if guidance == 1.0 else torch.cat([latents, latents])
            noise = self.noise(given, step, condition)
            if guidance != 1.0:
                without, with_prompt = noise.chunk(2)
                noise = without + guidance * (with_prompt - without)
            latents = scheduler.step(noise, step, latents, generator=list(generators)).prev_sample
        return latents

    def project(self, features: Tensor) -> Tensor:
        """Return the UNet's condition (batch, L, cross_attention_dim) of H."""
        weight = next(self.condition.parameters())
        condition: Tensor = self.condition(features.to(weight.device, weight.dtype))
        return condition

    def noise(self, latents: Tensor, step: Tensor | int, condition: Tensor) -> Tensor:
        """Return the noise that the UNet sees in the latents."""
        found: Tensor = self.unet(latents, step, encoder_hidden_states=condition, return_dict=False)[0]
        return found

    def images(self, latents: Tensor) -> Tensor:
        """Return the images of latents, float32 (batch, 3, height, width) in [0, 1], on the CPU."""
        vae: Any = self.vae
        decoded: Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        return (decoded.float() / 2 + 0.5).clamp(0, 1).cpu()


def _new_name(name: str) -> str:
    """Return today's name of a weight; diffusers once called a VAE's attention otherwise."""
    return _OLD_NAME.sub(lambda found: f"{found[1]}.{_OLD_ATTENTION[found[2]]}.", name)

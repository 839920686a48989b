"""The de-tokenizer: Stable Diffusion 2.1 unCLIP, from CLIP image embeddings to images."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from silmm.checkpoint.folders import first_line, read_json
from silmm.contracts.models import Image
from silmm.errors import DataError


class Unclip:
    """The parts of a diffusers pipeline that decoding needs: neither text encoder nor image encoder."""

    def __init__(
        self,
        *,
        unet: Any,
        vae: Any,
        scheduler: Any,
        noising: Any,
        normal: tuple[Tensor, Tensor],
        empty: Tensor,
    ) -> None:
        """Take the parts, in eval mode.

        Args:
            unet: predicts the noise.
            vae: turns latents into pixels.
            scheduler: of the denoising.
            noising: the scheduler that adds noise to the embeddings.
            normal: mean and standard deviation of CLIP embeddings, each (1, embedding).
            empty: text states of "", (1, time, width).
        """
        self._unet, self._vae = unet.requires_grad_(False), vae.requires_grad_(False)
        self._scheduler, self._noising = scheduler, noising
        self._normal, self._empty = normal, empty

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype) -> Unclip:
        """Load a pipeline folder of StableUnCLIPImg2ImgPipeline.

        Raises:
            DataError: a part is missing or damaged.
        """
        import diffusers
        from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
        from transformers import CLIPTextModel, CLIPTokenizer

        index = read_json(folder / "model_index.json")
        part = ""

        def path(name: str) -> Path:
            nonlocal part
            part = name
            return folder / name

        def scheduler(name: str) -> Any:
            entry = index.get(name)
            kind = str(entry[-1]) if isinstance(entry, list) and entry else ""
            if not kind.endswith("Scheduler"):
                raise ValueError(f"model_index.json names {entry!r}, which is no scheduler")
            return getattr(diffusers, kind).from_pretrained(path(name))

        try:
            tokenizer = CLIPTokenizer.from_pretrained(path("tokenizer"), local_files_only=True)
            text = CLIPTextModel.from_pretrained(path("text_encoder"), dtype=dtype, local_files_only=True)
            with torch.no_grad():
                empty = _empty_text(tokenizer, text.eval())
            return cls(
                unet=diffusers.UNet2DConditionModel.from_pretrained(path("unet"), torch_dtype=dtype).eval(),
                vae=diffusers.AutoencoderKL.from_pretrained(path("vae"), torch_dtype=dtype).eval(),
                scheduler=scheduler("scheduler"),
                noising=scheduler("image_noising_scheduler"),
                normal=_normal(StableUnCLIPImageNormalizer.from_pretrained(path("image_normalizer")), dtype),
                empty=empty,
            )
        except Exception as error:  # diffusers and transformers raise many kinds for damaged folders
            raise DataError(
                f"the unCLIP pipeline {folder} cannot be loaded: {part or 'model_index.json'}: {first_line(error)}; "
                "copy it again"
            ) from error

    @property
    def embedding(self) -> int:
        """Width of the CLIP embeddings."""
        return int(self._unet.config.projection_class_embeddings_input_dim) // 2

    def to(self, device: torch.device) -> None:
        """Move the weights."""
        for module in (self._unet, self._vae):
            module.to(device)
        mean, std = self._normal
        self._normal, self._empty = (mean.to(device), std.to(device)), self._empty.to(device)

    @torch.inference_mode()
    def decode(self, embeddings: Tensor, seeds: Sequence[int], *, steps: int, guidance: float) -> list[Image]:
        """Return one image for each embedding (batch, embedding), with noise of its own seed.

        The text is empty, the noise level of the embedding 0, and the unconditional side of the guidance has a class
        label of zeros (docs/spec/base-models.md 2.3).
        """
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        embeddings = embeddings.to(self._empty)
        labels = self._labels(embeddings, _noise(generators, embeddings.shape[1:], embeddings))
        labels = torch.cat([torch.zeros_like(labels), labels])
        config = self._unet.config
        latents = _noise(generators, (config.in_channels, config.sample_size, config.sample_size), embeddings)
        self._scheduler.set_timesteps(steps, device=embeddings.device)
        latents = latents * self._scheduler.init_noise_sigma
        texts = self._empty.expand(2 * len(embeddings), -1, -1)
        parameters = inspect.signature(self._scheduler.step).parameters
        randomness = {"generator": generators} if "generator" in parameters else {}
        for time in self._scheduler.timesteps:
            both = self._scheduler.scale_model_input(torch.cat([latents, latents]), time)
            out = self._unet(both, time, encoder_hidden_states=texts, class_labels=labels).sample
            unconditional, conditional = out.chunk(2)
            guided = unconditional + guidance * (conditional - unconditional)
            latents = self._scheduler.step(guided, time, latents, **randomness).prev_sample
        images = self._vae.decode(latents / self._vae.config.scaling_factor).sample.float()
        levels = ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return list(levels.movedim(1, -1).cpu().numpy())

    def _labels(self, embeddings: Tensor, noise: Tensor) -> Tensor:
        """Return the class labels (batch, 2 * embedding): embeddings at noise level 0, and that level."""
        from diffusers.models.embeddings import get_timestep_embedding

        level = torch.zeros(len(embeddings), dtype=torch.long, device=embeddings.device)
        mean, std = self._normal
        noised = self._noising.add_noise((embeddings - mean) / std, noise, level) * std + mean
        times = get_timestep_embedding(level, noised.shape[-1], flip_sin_to_cos=True, downscale_freq_shift=0)
        return torch.cat([noised, times.to(noised)], 1)


def _normal(normalizer: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return normalizer.mean.detach().to(dtype), normalizer.std.detach().to(dtype)


def _empty_text(tokenizer: Any, text: Any) -> Tensor:
    length = tokenizer.model_max_length
    ids = tokenizer("", padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    mask = ids.attention_mask if getattr(text.config, "use_attention_mask", False) else None
    states: Tensor = text(ids.input_ids, attention_mask=mask)[0]
    return states


def _noise(generators: Sequence[torch.Generator], shape: Sequence[int], like: Tensor) -> Tensor:
    """Return standard normal noise (batch, *shape), sampled on the CPU so that all devices get the same."""
    rows = [torch.randn(tuple(shape), generator=generator, dtype=like.dtype) for generator in generators]
    return torch.stack(rows).to(like.device)

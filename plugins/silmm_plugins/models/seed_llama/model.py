"""`seed-llama` as a base model: strings and images in, strings, codes, images and answers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import LlamaForCausalLM

from silmm.checkpoint.devices import dtype_of
from silmm.checkpoint.folders import read_json
from silmm.checkpoint.networks import load_pretrained
from silmm.contracts.models import BaseModel, ChatRequest, Image, Latent, SamplingParams
from silmm.errors import DataError, UsageError
from silmm_plugins.models._shared.generation import reply
from silmm_plugins.models._shared.placement import Placement
from silmm_plugins.models._shared.representations import checked_codes
from silmm_plugins.models._shared.sequences import slices
from silmm_plugins.models._shared.spreading import Spread, check_devices
from silmm_plugins.models._shared.vqa import ImagePrefix
from silmm_plugins.models.seed_llama.image_sampling import code_log_probabilities, sample
from silmm_plugins.models.seed_llama.image_weights import load_image_tokenizer
from silmm_plugins.models.seed_llama.language_model import SeedLM
from silmm_plugins.models.seed_llama.locate import Folders, find
from silmm_plugins.models.seed_llama.options import CAPABILITIES
from silmm_plugins.models.seed_llama.prompts import TEMPLATES, Template, template_of
from silmm_plugins.models.seed_llama.tokenizer import SeedTokenizer
from silmm_plugins.models.seed_llama.unclip import Unclip

if TYPE_CHECKING:
    from silmm_plugins.models.seed_llama.image_tokenizer import SeedImageTokenizer
    from silmm_plugins.models.seed_llama.options import SeedLlamaOptions


class SeedLlama(BaseModel):
    """A Llama whose vocabulary holds the 8192 codes of SEED tokenizer 2; an image is 32 of them."""

    kind = "discrete"
    capabilities = frozenset(CAPABILITIES)
    lora_targets = r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"

    def __init__(
        self,
        backbone: Any,  # LlamaForCausalLM
        images: SeedImageTokenizer,
        text: SeedTokenizer,
        template: Template,
        folders: Folders,
        options: SeedLlamaOptions,
        unused: Sequence[str] = (),
    ) -> None:
        """Join the parts, which are frozen and in eval mode, and put them on their devices.

        Raises:
            DataError: the parts are not of one model.
            UsageError: torch cannot use a device.
        """
        self.backbone, self.language_model = backbone, SeedLM(backbone)
        self._vocabulary = int(backbone.config.vocab_size)
        self.text, self.template, self.images = text, template, images
        self._folders, self._options, self._unused = folders, options, tuple(unused)
        self._decoder: Unclip | None = None
        if images.codes != text.codes:
            raise DataError(
                f"{folders.tokenizer}: seed_quantizer.pt has {images.codes} codes and the tokenizer names "
                f"{text.codes}; they are of two models"
            )
        if len(text) > self._vocabulary:
            raise DataError(
                f"{folders.language_model} has {self._vocabulary} tokens and the tokenizer in "
                f"{folders.tokenizer} numbers {len(text)}; a Llama without image tokens is no SEED-LLaMA"
            )
        self._codes = slice(text.first_code, text.first_code + text.codes)
        devices = check_devices("seed-llama", options.device)
        Spread(backbone, backbone.model, devices).to(devices[0])
        self.placement = Placement(options.offload)
        self.placement.add("image tokenizer", images, device=devices[0])

    @classmethod
    def load(cls, options: SeedLlamaOptions) -> SeedLlama:
        """Load the parts that the options name, each from its own file; the decoder waits for the first image.

        Raises:
            UsageError: no path, or a device that torch cannot use.
            DataError: a part is missing, damaged or of another model.
        """
        check_devices("seed-llama", options.device)
        folders = find(options)
        text = SeedTokenizer.load(folders.tokenizer)
        config_path = folders.language_model / "config.json"
        config = read_json(config_path)
        heads = config.get("num_attention_heads")
        guess = heads if isinstance(heads, int) and heads > 0 else 1
        images, unused = load_image_tokenizer(folders.tokenizer, folders.vit, options.vit_heads, guess)
        dtype = dtype_of(options.dtype, config.get("dtype") or config.get("torch_dtype"), config_path)
        backbone = load_pretrained(LlamaForCausalLM, folders.language_model, dtype, attn_implementation="sdpa")
        if options.template == "auto":
            path = Path(options.path).expanduser().absolute()  # of a hub id, too, the last part is the name
            template = template_of(f"{path.name} {folders.language_model.name}", backbone.config.hidden_size)
        else:
            template = TEMPLATES[options.template]
        return cls(backbone, images, text, template, folders, options, unused)

    @property
    def device(self) -> torch.device:
        """Where the language model takes what it reads."""
        return self.language_model.device

    def probe(self) -> Mapping[str, object]:
        """Return what the checkpoint says, as JSON-able data (docs/spec/base-models.md 8)."""
        text, vision = self.text, self.images.visual_encoder
        return {
            "template": self.template.name,
            "vocabulary": self._vocabulary,
            "special ids": {"bos": text.bos, "eos": text.eos, "<img>": text.boi, "</img>": text.eoi},
            "codes": {"first id": text.first_code, "count": text.codes, "per image": self.images.length},
            "yes": dict(zip(text.shown(text.yes), text.yes, strict=True)),
            "no": dict(zip(text.shown(text.no), text.no, strict=True)),
            "sampling": self.template.sampling("a cat"),
            "image side": vision.side,
            "image encoder": {"blocks": len(vision.blocks), "heads": vision.heads},
            "weights without a place": list(self._unused),
            "unclip": str(self._folders.unclip or "none"),
        }

    # -- text ----------------------------------------------------------------------------------------

    @torch.inference_mode()
    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer with text alone: image tokens are never written.

        An answer is empty where the request holds a special token or leaves no room for an answer.
        """
        self.placement.need()
        answers = [""] * len(requests)
        fitting = [number for number, request in enumerate(requests) if self._fits(request)]
        replies = reply(
            self.language_model, [requests[number] for number in fitting], self._chat_ids, self.text.decode,
            owner="seed-llama", batch_size=self._options.chat_batch_size, stop=self.text.eos,
            logits=lambda states: self.language_model.logits_of(states, slice(0, self.text.first_code)),
        )  # fmt: skip
        for number, text in zip(fitting, replies, strict=True):
            answers[number] = text
        return answers

    def _chat_ids(self, request: ChatRequest) -> list[int]:
        return self.text.encode(self.template.chat(request))

    def _fits(self, request: ChatRequest) -> bool:
        """Say whether a request holds no special token and leaves room for an answer."""
        words = [request.instruction, request.input, *(part for pair in request.examples for part in pair)]
        return not any(map(self.text.special_in, words)) and len(self._chat_ids(request)) < self.language_model.longest

    def reads(self, prompt: str) -> bool:
        """Say whether a prompt holds no special token and leaves room for an image and its questions."""
        if not prompt.strip() or self.text.special_in(prompt) is not None:
            return False
        return 2 * len(self._encoded(prompt)) + self.images.length <= self.language_model.longest

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the ids in front of a sampling's codes, ``<img>`` included.

        Raises:
            DataError: the prompt holds a special token, or is too long.
        """
        self._check_words(prompt)
        ids = self._encoded(prompt)
        if len(ids) + self.images.length + 1 > self.language_model.longest:
            raise DataError(
                f"the prompt {prompt[:60]!r}… has {len(ids)} tokens; with an image seed-llama reads at most "
                f"{self.language_model.longest}. Make it shorter or leave it out."
            )
        return ids

    def _encoded(self, prompt: str) -> list[int]:
        return self.text.encode(self.template.sampling(prompt))

    def _check_words(self, text: str) -> None:
        special = self.text.special_in(text)
        if special is not None:
            raise DataError(f"{text!r} holds {special}, which is a sign of seed-llama's own; take it out")

    # -- sampling -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def represent(self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams) -> list[Latent]:
        """Sample image codes, int32 (32,), from 0, one candidate for each prompt and seed."""
        self.placement.need()
        rows: list[Latent] = []
        for part in slices(len(prompts), self._options.sampling_batch_size):
            codes = sample(
                self.language_model, [self.prompt_ids(p) for p in prompts[part]], seeds[part], sampling,
                self._codes, self.images.length,
            )
            rows += list(codes.cpu().numpy().astype(np.int32))
        return rows

    @torch.inference_mode()
    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:
        """Turn codes into images with unCLIP; `seeds` are those of its noise.

        Raises:
            UsageError: there is no decoder.
            DataError: codes are not this model's, or the decoder cannot be loaded.
        """
        codes = self._checked(latents, [f"image {i}" for i in range(len(latents))])
        decoder = self._loaded_decoder()
        self.placement.need("image tokenizer", "unCLIP")
        options = self._options
        images: list[Image] = []
        for part in slices(len(codes), options.decode_batch_size):
            embeddings = self.images.embed(codes[part])
            images += decoder.decode(embeddings, seeds[part], steps=options.steps, guidance=options.guidance)
        return images

    def token_log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
        """Return log pi of each code, (batch, tokens), float32; the softmax is over the codes alone.

        While gradients are asked for, decoder and image tokenizer wait in main memory.

        Raises:
            DataError: the model cannot read a prompt, or codes are not its own.
        """
        codes = self._checked(latents, [f"prompt {p!r}" for p in prompts])
        self.placement.need(training=torch.is_grad_enabled())
        ids = [self.prompt_ids(prompt) for prompt in prompts]
        return code_log_probabilities(self.language_model, ids, codes, self._codes)

    @torch.inference_mode(False)
    def _loaded_decoder(self) -> Unclip:
        folder = self._folders.unclip
        if folder is None:
            raise UsageError(
                f"seed-llama has no decoder: no unCLIP pipeline lies beside {self._folders.language_model}. "
                "Give the folder of stable-diffusion-2-1-unclip: --set model.unclip=DIR"
            )
        if self._decoder is None:
            dtype = torch.float32 if self.device.type == "cpu" else torch.float16
            decoder = Unclip.load(folder, dtype)
            width = self.images.distill_image_proj.out_features
            if decoder.embedding != width:
                raise DataError(
                    f"{folder} samples from embeddings of width {decoder.embedding} and SEED's have {width}; "
                    "take stable-diffusion-2-1-unclip"
                )
            self._decoder = decoder
            self.placement.add("unCLIP", decoder, device=self.device)
        return self._decoder

    def _checked(self, latents: Sequence[Latent], names: Sequence[str]) -> torch.Tensor:
        return checked_codes("seed-llama", latents, names, self.images.length, self.text.codes).to(self.device)

    # -- understanding -------------------------------------------------------------------------------

    @torch.inference_mode()
    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Read p(yes), p(no) at the first answer token; an image goes through the model once.

        Raises:
            DataError: a question holds a special token.
        """
        results: list[npt.NDArray[np.float64]] = []
        for part in slices(len(images), self._options.vqa_batch_size):
            for text in (text for group in questions[part] for text in group):
                self._check_words(text)
            if not any(questions[part]):
                results += [np.zeros((0, 2)) for _ in images[part]]
                continue
            asked = [
                # stripped as behind </img>
                [self.text.encode(self.template.question(text).lstrip()) for text in group] for group in questions[part]
            ]
            results += self.image_prefix(images[part]).answers(asked, self.text.yes, self.text.no)
        return results

    def image_codes(self, images: Sequence[Image]) -> torch.Tensor:
        """Return the codes of images of any size, int64 (batch, 32)."""
        self.placement.need("image tokenizer")
        return self.images.encode(self.images.pixels(images))

    def image_prefix(self, images: Sequence[Image]) -> ImagePrefix:
        """Read images behind the template's beginning; their keys and values serve all questions."""
        starts = [self.text.encode(self.template.image_turn(codes)) for codes in self.image_codes(images).tolist()]
        return ImagePrefix(self.language_model, self.language_model.embed(torch.tensor(starts, device=self.device)))

"""Sampling with vLLM, in the trainer's own process and without a socket, a file or a child process.

vLLM gets the base model and the adapter as folders in a :class:`~trainer.engines.scratch.Scratch`.
The adapter is loaded again whenever it has changed, with ``load_inplace``: under the same id vLLM
otherwise keeps the adapter that it has. Its prefix cache is emptied before each call, since that
knows adapters by id, too. So nothing is kept after a call, and completions depend on weights,
prompts and generator only.

vLLM is imported when an engine is started, not before. One process has one engine, since vLLM keeps
its state in globals; it must be started while the process may still read any file.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from strongroom.trainer.config import TrainingConfig, VllmEngine
from strongroom.trainer.engines.scratch import (
    ADAPTER,
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    BASE,
    Scratch,
    base_names,
)
from strongroom.trainer.errors import EngineMissing, EngineNotStarted, EngineUnfit
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.rollout import Rollouts

_SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine runs in this process
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # threads belong to torch, which the trainer has set up
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_PLUGINS": "",  # no code but vLLM's own
    "TORCHDYNAMO_DISABLE": "1",  # nothing is compiled
}
_RANKS = (1, 8, 16, 32, 64, 128, 256)
"""Adapter ranks for which vLLM makes room."""
_ID = 1
_WARM_UP_TOKENS = 256
"""Room for the prompts of :mod:`trainer.warmup`, however short those of the run are."""

_started: VllmSampler | None = None


def start(
    config: TrainingConfig,
    policy: Policy,
    files: Mapping[str, bytes | bytearray],
    scratch: Scratch,
) -> VllmSampler:
    """Start this process's engine on ``policy``, whose base was loaded from ``files``.

    Raises :class:`EngineMissing` without vLLM, and :class:`EngineUnfit` when vLLM refuses the model
    or the settings.
    """
    global _started
    if not isinstance(config.engine, VllmEngine):
        raise ValueError("the configuration names another engine")
    os.environ.update(_SETTINGS)
    try:
        vllm = importlib.import_module("vllm")
    except ImportError:
        raise EngineMissing(place="spec.training.engine", expected="the package vllm") from None
    names = base_names(files)
    for name, inside in names.items():
        scratch.put(inside, files[name])
    length = _longest(config, policy.base.max_positions)
    try:
        with _alone(), _torch_unchanged():
            llm = vllm.LLM(**_arguments(config.engine, policy, scratch, length))
    except Exception as error:
        raise EngineUnfit(place="spec.training.engine", actual=type(error).__name__) from None
    for inside in names.values():
        scratch.drop(inside)
    _started = VllmSampler(policy, llm, scratch)
    return _started


def build(policy: Policy) -> VllmSampler:
    """The engine that was started on ``policy``. Raises :class:`EngineNotStarted`."""
    if _started is None or not _started.samples_from(policy):
        raise EngineNotStarted(place="spec.training.engine")
    return _started


class VllmSampler:
    """An :class:`~trainer.rollouts.rollout.Engine`; made by :func:`start`."""

    def __init__(self, policy: Policy, llm: Any, scratch: Scratch) -> None:
        self._policy = policy
        self._llm = llm
        self._scratch = scratch
        self._loaded: Tensor | None = None

    def samples_from(self, policy: Policy) -> bool:
        """Whether this is the engine of ``policy``."""
        return self._policy is policy

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        samples: int,
        max_tokens: int,
        temperature: float,
        generator: torch.Generator | None,
    ) -> Rollouts:
        """See :meth:`trainer.rollouts.rollout.Engine.generate`.

        Each completion has a seed of its own from ``generator``, so that it does not depend on
        which others vLLM draws at the same time.
        """
        params = importlib.import_module("vllm").SamplingParams
        seeds: list[int | None] = [None] * (len(prompts) * samples)
        if temperature:
            seeds = torch.randint(2**62, (len(seeds),), generator=generator).tolist()
        self._llm.reset_prefix_cache()
        outputs = self._llm.generate(
            [{"prompt_token_ids": list(p)} for p in prompts for _ in range(samples)],
            [
                params(
                    max_tokens=max_tokens,
                    temperature=temperature,
                    seed=seed,
                    logprobs=0,  # of the sampled token alone
                    stop_token_ids=list(self._policy.base.end_tokens),
                    ignore_eos=True,  # the end tokens are those of the policy, no others
                    detokenize=False,
                )
                for seed in seeds
            ],
            use_tqdm=False,
            lora_request=self._adapter(),
        )
        return self._rollouts(prompts, [output.outputs[0] for output in outputs])

    def _adapter(self) -> Any:
        """The adapter as it is now, for vLLM's next call; ``None`` while the policy has it off."""
        if not self._policy.adapted:
            return None
        request = importlib.import_module("vllm.lora.request").LoRARequest
        path = str(self._scratch.path / ADAPTER)
        weights = self._policy.flat
        if self._loaded is None or not torch.equal(weights, self._loaded):
            self._put_adapter()
            # Here and not with the prompts, where it would be loaded again for every token.
            self._llm.llm_engine.add_lora(request("policy", _ID, path, load_inplace=True))
            self._loaded = weights.clone()
        return request("policy", _ID, path)

    def _put_adapter(self) -> None:
        named = {name: weight.detach() for name, weight in self._policy.named_weights().items()}
        self._scratch.put(ADAPTER_CONFIG, json.dumps(self._policy.lora.peft()).encode())
        self._scratch.put(ADAPTER_WEIGHTS, safetensors.torch.save(named))

    def _rollouts(self, prompts: Sequence[Sequence[int]], completions: list[Any]) -> Rollouts:
        end = self._policy.base.end_tokens
        drawn = [list(completion.token_ids) for completion in completions]
        longest = max(len(tokens) for tokens in drawn)
        tokens_BT = torch.full((len(drawn), longest), end[0])
        logprobs_BT = torch.zeros(len(drawn), longest)
        for row, (tokens, completion) in enumerate(zip(drawn, completions, strict=True)):
            found = [
                by_token[token].logprob
                for token, by_token in zip(tokens, completion.logprobs, strict=True)
            ]
            tokens_BT[row, : len(tokens)] = torch.tensor(tokens)
            logprobs_BT[row, : len(tokens)] = torch.tensor(found)
        finished = [tokens[-1] in end for tokens in drawn]
        decode = self._policy.base.tokenizer.decode
        return Rollouts(
            prompts=tuple(tuple(prompt) for prompt in prompts),
            tokens_BT=tokens_BT,
            logprobs_BT=logprobs_BT,
            lengths_B=torch.tensor([len(tokens) for tokens in drawn]),
            finished_B=torch.tensor(finished),
            texts=tuple(
                decode(tokens[:-1] if done else tokens)
                for tokens, done in zip(drawn, finished, strict=True)
            ),
        )


def _longest(config: TrainingConfig, max_positions: int) -> int:
    """The most tokens that one prompt has together with its completion."""
    if config.sampling.max_turns > 1:
        return config.context_tokens(max_positions)
    longest = config.max_prompt_tokens + config.sampling.max_tokens
    return min(max(longest, _WARM_UP_TOKENS), max_positions)


def _arguments(engine: VllmEngine, policy: Policy, scratch: Scratch, length: int) -> dict[str, Any]:
    architecture = type(policy.base.model).__name__
    registry = importlib.import_module("vllm").ModelRegistry
    # Otherwise vLLM inspects the class in a child process.
    registry.register_model(architecture, registry.models[architecture].load_model_cls())
    return {
        "model": str(scratch.path / BASE),
        "hf_overrides": {"architectures": [architecture]},
        "dtype": policy.decoder.dtype,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",  # none
        "max_model_len": length,
        "block_size": 32,  # what completions of one prompt share is found in whole blocks
        "max_num_seqs": engine.max_sequences,
        # On a CPU vLLM copies the adapter once for each of these tokens.
        "max_num_batched_tokens": max(512, length, engine.max_sequences),
        # A prompt computed in parts makes it turn a seeded generator back, which only a GPU's can.
        "enable_chunked_prefill": False,
        "kv_cache_memory_bytes": engine.kv_cache_mib << 20,
        "logprobs_mode": "processed_logprobs",  # of what is drawn from: after the temperature
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": min(rank for rank in _RANKS if rank >= policy.lora.rank),
        "enforce_eager": True,
        "use_tqdm_on_load": False,
        "distributed_executor_backend": _executor(),
    }


def _executor() -> type[Any]:
    """vLLM's executor for one process, without the socket that it opens for several."""
    executors = importlib.import_module("vllm.v1.executor.uniproc_executor")

    class OneProcess(executors.UniProcExecutor):  # type: ignore[name-defined,misc]
        def _distributed_args(self) -> tuple[str, int, int]:
            return "env://", 0, 0  # not used: _alone has made the group

    return OneProcess


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """While vLLM starts, replace what would need a socket, a file or a process.

    A process group of one instead of gloo's sockets; a lock between threads instead of one in a
    file; its own fallback for the list of processors instead of the program ``lscpu``.
    """
    from torch import distributed
    from torch.testing._internal.distributed import fake_pg

    cpus = importlib.import_module("vllm.utils.cpu_resource_utils")
    executors = importlib.import_module("vllm.v1.executor.uniproc_executor")
    new_group = distributed.new_group

    def new_fake_group(ranks: Any = None, **_: object) -> Any:
        return new_group(ranks, backend="fake")

    distributed.init_process_group("fake", store=fake_pg.FakeStore(), rank=0, world_size=1)
    with (
        _instead(distributed, "new_group", new_fake_group),
        _instead(executors, "Lock", threading.Lock),
        _instead(cpus, "_get_cpu_list", cpus._synthesize_cpu_list),
    ):
        yield


@contextlib.contextmanager
def _instead(module: Any, name: str, value: object) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)


@contextlib.contextmanager
def _torch_unchanged() -> Iterator[None]:
    """Leave torch as it was: vLLM replaces one of its functions and seeds its generator."""
    set_num_threads, generator = torch.set_num_threads, torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_num_threads = set_num_threads
        torch.set_rng_state(generator)

"""Errors of preparing the examples' inputs: codes ``SR-INPUT-NNN``."""

from __future__ import annotations

from strongroom.errors import Exit, Fault, StrongroomError


class InputError(StrongroomError):
    """Branch of all errors in preparing input; never raised itself."""

    fault = Fault.PLATFORM
    exit_code = Exit.FAILED


class PackageUnavailable(InputError):
    code = "SR-INPUT-001"
    title = "a package of the example's input cannot be downloaded"
    fault = Fault.ACCESS
    remedy = "Check that pip can reach its package index, then run the command again."


class PackageChanged(InputError):
    code = "SR-INPUT-002"
    title = "a downloaded package is not the one that was pinned"
    exit_code = Exit.INTEGRITY
    remedy = "Do not use it. Check the package index that pip is configured with."


class ConversionFailed(InputError):
    code = "SR-INPUT-003"
    title = "the base model could not be converted"
    remedy = "Free memory (3 GiB are needed) and disk space (1 GiB), then run the command again."


class CacheUnwritable(InputError):
    code = "SR-INPUT-004"
    title = "the input cache cannot be written"
    fault = Fault.ACCESS
    remedy = "Give a cache folder that you may write to, with 1 GiB free."


class ModelFolderEmpty(InputError):
    code = "SR-INPUT-005"
    title = "a base model folder has no files"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name a folder that holds config.json, tokenizer.json and *.safetensors."


class ExampleUnknown(InputError):
    code = "SR-INPUT-006"
    title = "there is no such example"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name one of the examples."


class GeneratorMissing(InputError):
    code = "SR-INPUT-007"
    title = "the package that generates the example's rows is not installed"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Install it with `pip install 'strongroom[examples]'`; in a checkout, '.[examples]'."


class RowsNotGenerated(InputError):
    code = "SR-INPUT-008"
    title = "the generator of the example's rows failed"
    remedy = "Install the pinned version: `pip install 'strongroom[examples]'`."

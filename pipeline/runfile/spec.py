"""The run file: one YAML document that says everything about a training run.

``RunSpec`` is the file as typed, frozen data with every default filled in. Unknown fields are
refused at every level. Field names in Python carry units (``ttl_s``); the file uses the short name
(``ttl``). What fields must hold together is checked in ``pipeline/runfile/checks.py``.

The trainer's part (``training``, ``model.lora``) is the trainer's own configuration, so there is
one definition of each hyperparameter.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from strongroom.pipeline.runfile.checks import problems_in
from strongroom.pipeline.runfile.fields import (
    BucketPrefix,
    Date,
    Digest,
    HttpUrl,
    KeyReference,
    LabelValue,
    LeaseLifetime,
    LocalPath,
    Memory,
    MetricName,
    Name,
    ObjectPrefix,
    OneLine,
    Role,
    RuleId,
    Timeout,
    UnixSocket,
)
from strongroom.pipeline.runfile.part import Part
from strongroom.pipeline.runfile.runners import AnyRunner, EmbeddedRunner
from strongroom.trainer.config import LoraConfig, TrainingConfig

API_VERSION = "strongroom/v1"


class Metadata(Part):
    """What the run is called."""

    name: Name = Field(
        description="Name of the run, a DNS label: 1 to 63 lower-case letters, digits and hyphens, "
        "starting with a letter. Required."
    )
    labels: dict[Name, LabelValue] = Field(
        default_factory=dict,
        max_length=32,
        description="Free labels for people and cost reports: at most 32 names with values of 1 to "
        "63 characters. Default: none.",
    )


class Data(Part):
    """The sealed datasets."""

    train: ObjectPrefix = Field(
        description="Prefix of the sealed dataset to train on; ends with '/'. Required."
    )
    held_out: ObjectPrefix = Field(
        description="Prefix of the sealed dataset for evaluation before and after training; never "
        "trained on. Ends with '/'. Required."
    )


class Model(Part):
    """The base model and the adapter that is trained on it."""

    base: ObjectPrefix = Field(
        description="Prefix of the base model's files (config.json, tokenizer.json, "
        "model.safetensors …); ends with '/'. Required."
    )
    digest: Digest = Field(
        description="Digest over the names, sizes and SHA-256 of the model's files, as "
        "`sha256:` and 64 hexadecimal digits. The run is refused when the bucket holds another "
        "model. Required."
    )
    lora: LoraConfig = Field(
        default_factory=LoraConfig, description="The low-rank adapter that is trained."
    )
    precision: Literal["auto", "bfloat16", "float32"] = Field(
        default="auto",
        description="Type in which the frozen base model computes; the adapter is float32 always. "
        "auto is bfloat16 where the processor that plans the run has instructions for it, and "
        "float32, which is faster there, where it has none; the plan says which. Default: auto.",
    )


class Evaluator(Part):
    """The reward function, run inside the enclave."""

    source: LocalPath | None = Field(
        default=None,
        description="Path of one Python file, at most 1 MiB, relative to the run file. Its SHA-256 "
        "becomes part of the plan. Either this or sealed is required.",
    )
    sealed: ObjectPrefix | None = Field(
        default=None,
        description="Prefix of an evaluator that was sealed with `strongroom evaluator seal`; ends "
        "with '/'. It is opened in the enclave and nowhere else. Either this or source is "
        "required.",
    )
    metrics: tuple[MetricName, ...] = Field(
        default=(),
        max_length=8,
        description="Names of the numbers that the evaluator may report beside the score: at most "
        "8 names of at most 32 lower-case characters. Others never leave the enclave. "
        "Default: none.",
    )
    timeout_s: Timeout = Field(
        default=10,
        json_schema_extra={"default": "10s"},
        alias="timeout",
        description="Longest time that one call may take, 1s to 10m. Default: 10s.",
    )
    score_range: tuple[float, float] | None = Field(
        default=None,
        alias="range",
        description="Lowest and highest score that the evaluator may return, such as [0, 1]; any "
        "other fails the run, with row and line. Default: every finite number.",
    )
    concurrency: int = Field(
        default=1,
        ge=1,
        le=64,
        description="How many calls of an asynchronous evaluator run at a time, 1 to 64; it "
        "shortens waits (asyncio.sleep) and makes no computation faster. Default: 1.",
    )


class Access(Part):
    """How one bucket is reached: which role, by which identity, for how long."""

    uri: BucketPrefix = Field(
        description="The bucket, or a prefix in it, that this entry is for; ends with '/'. The "
        "longest entry that holds an object's prefix applies. Leases are always narrower. Required."
    )
    role: Role = Field(
        description="Role that is assumed there: arn:aws:iam::<account>:role/<name>, or a GCP "
        "service account. Required."
    )
    via: Literal["web-identity"] = Field(
        default="web-identity",
        description="How the role is assumed: web-identity exchanges the broker's OIDC token at "
        "the STS; no long-lived credential exists. Default: web-identity.",
    )
    ttl_s: LeaseLifetime = Field(
        default=900,
        json_schema_extra={"default": "15m"},
        alias="ttl",
        description="Lifetime of each lease, 15m to 12h; policy may allow less. Default: 15m.",
    )
    endpoint: HttpUrl | None = Field(
        default=None,
        description="Where the bucket is: https://s3.<region>.amazonaws.com for AWS in that "
        "region, with the region's own STS; or the URL of another store that serves S3 and STS, "
        "https:// or http:// on loopback. Default: AWS in us-east-1.",
    )


class OpenBaoIdentity(Part):
    """Web identity tokens issued by OpenBao or Vault."""

    type: Literal["openbao"] = Field(description="Which issuer: openbao. Required.")
    addr: HttpUrl = Field(
        description="URL of the OpenBao or Vault server, which also holds vault:// keys. Required."
    )
    credentials: LocalPath = Field(
        description="Path of the AppRole file (role_id and secret_id). A run file names the "
        "broker's, which the broker alone reads and the controller never. Required."
    )
    oidc_role: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="Name of the identity/oidc/role that signs the token. Required.",
    )


class Keys(Part):
    """References to keys in the customer's key service, and where their releaser listens."""

    data: KeyReference = Field(
        description="Key that wraps the datasets' keysets: vault://<mount>/<key>, or "
        "local:///<keyring file>#<name>. Required."
    )
    outputs: KeyReference = Field(
        description="Key that wraps the keyset of what this run writes. Required."
    )
    audit: KeyReference = Field(description="Ed25519 key that signs the audit log. Required.")
    releaser: UnixSocket | None = Field(
        default=None,
        description="unix:// path of the socket where the key owner's releaser listens. Default: "
        "none, and a run cannot start until one is given.",
    )


class Enclave(Part):
    """The sandboxed worker."""

    assurance: Literal["A0", "A1", "A2", "A3"] = Field(
        default="A1",
        description="Isolation that the evidence must show: A0 none (debugging; refused by the "
        "default policy), A1 locked-down process, A2 and A3 confidential hardware. Default: A1.",
    )
    memory_bytes: Memory = Field(
        default=8 << 30,
        json_schema_extra={"default": "8GiB"},
        alias="memory",
        description="Largest memory of the worker, 1GiB to 4TiB. Default: 8GiB.",
    )
    threads: int = Field(
        default=2, ge=1, le=256, description="Compute threads of the worker, 1 to 256. Default: 2."
    )


class Waiver(Part):
    """An exception from one policy rule, which is logged and expires."""

    rule: RuleId = Field(description="Id of the rule, as a denial names it. Required.")
    owner: OneLine = Field(description="Who answers for the exception. Required.")
    reason: OneLine = Field(description="Why it is acceptable, in one line. Required.")
    expires: Date = Field(description="Last day on which it counts (UTC), YYYY-MM-DD. Required.")


class Policy(Part):
    """The customer's admission policy."""

    bundle: LocalPath = Field(
        description="Folder with the policy bundle, relative to the run file. Required."
    )
    waivers: tuple[Waiver, ...] = Field(
        default=(),
        max_length=16,
        description="Exceptions, at most 16; each counts only where the bundle lets its rule be "
        "waived. Default: none.",
    )


class TrainingRun(Part):
    """What the run does, with which data, access, keys and limits."""

    data: Data = Field(description="The sealed datasets.")
    model: Model = Field(description="The base model and its adapter.")
    evaluator: Evaluator = Field(description="The reward function.")
    training: TrainingConfig = Field(description="The algorithm and its hyperparameters.")
    outputs: ObjectPrefix = Field(
        description="Prefix under which the run's folder is created; ends with '/'. Required."
    )
    audit: ObjectPrefix = Field(
        description="Prefix of the audit log, outside the outputs; ends with '/'. Required."
    )
    access: tuple[Access, ...] = Field(
        default=(),
        max_length=32,
        description="One entry per bucket, at most 32. local:// folders need none. Default: none.",
    )
    identity: OpenBaoIdentity | None = Field(
        default=None,
        description="Who issues the broker's web identity tokens. Required when an access entry "
        "uses web-identity.",
    )
    keys: Keys = Field(description="Key references.")
    enclave: Enclave = Field(default_factory=Enclave, description="The sandboxed worker.")
    runner: AnyRunner = Field(
        default_factory=EmbeddedRunner, description="Which Beam runner drives the run."
    )
    policy: Policy = Field(description="The admission policy.")


class RunSpec(Part):
    """A run file. Build it with :func:`pipeline.runfile.load.load`."""

    api_version: Literal["strongroom/v1"] = Field(
        alias="apiVersion", description="Version of the run file's form: strongroom/v1. Required."
    )
    kind: Literal["TrainingRun"] = Field(description="What the file describes: TrainingRun.")
    metadata: Metadata = Field(description="Name and labels.")
    spec: TrainingRun = Field(description="The run.")

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        problems = problems_in(self.normalised())
        if problems:
            raise PydanticCustomError(
                "run_together", "fields that go together", {"problems": tuple(problems)}
            )
        return self

    def normalised(self) -> dict[str, Any]:
        """The run file as plain data with every default filled in, as a run file would spell it.

        Local paths are reduced to the file's name, so that the same run has the same plan on
        every machine.
        """
        return self.model_dump(mode="json", by_alias=True)
